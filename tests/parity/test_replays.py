"""Names are the published ones, and stored values are reproduced where a reference is at hand."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch

from tests.parity.__main__ import sections_of
from tests.parity.directory import MODELS, Directory
from tests.parity.items import Item, guarded
from tests.parity.names import compare_names
from tests.parity.networks import Networks, load, published
from tests.support.reference import reference

pytestmark = pytest.mark.unit

# No fewer items than the reference holds: a replay that forgets a file cannot pass.
ITEMS = {
    "hallo": {"submodules": 5, "reference_unet": 17, "unet": 507, "pipeline": 27, "inputs": 26},
    "echomimic": {"submodules": 31, "unet_forward": 99, "loops": 65, "inputs": 99},
    "memo": {
        "subnets": 5,
        "reference features": 21,
        "unit modules": 9,
        "unet calls": 78,
        "pipeline": 44,
        "audio_emb": 13,
    },
}
RUNS = ("pipeline", "loops")  # many steps, seconds each: tested in test_runs.py


@cache
def loaded(model: str) -> tuple[Directory, Networks[Any, Any]]:
    """A model's directory and its tiny networks; skips the test if there is none."""
    directory = Directory(reference(model), model)
    return directory, load(directory)


def check_section(model: str, section: str, subtests: pytest.Subtests) -> None:
    """One subtest for each stored value of a section."""
    directory, networks = loaded(model)
    with torch.inference_mode():
        items = list(guarded(section, sections_of(model)[section](directory, networks)))
    check(items, ITEMS[model][section], subtests)


def check(items: list[Item], at_least: int, subtests: pytest.Subtests) -> None:
    for item in items:
        with subtests.test(item.name):
            assert item.ok, item.mismatch or item.note or "absent"
    assert len(items) >= at_least


def sections(*, runs: bool) -> list[tuple[str, str]]:
    return [(m, name) for m in MODELS for name in ITEMS[m] if (name in RUNS) is runs]


@pytest.mark.parametrize("model", MODELS)
def test_names_and_shapes_are_the_published_ones(model: str, subtests: pytest.Subtests) -> None:
    check(list(compare_names(model, published(model))), 5, subtests)


@pytest.mark.parametrize("model", MODELS)
def test_every_section_is_tested(model: str) -> None:
    assert list(ITEMS[model]) == list(sections_of(model))


@pytest.mark.slow
@pytest.mark.parametrize(("model", "section"), sections(runs=False))
def test_stored_values_are_reproduced(model: str, section: str, subtests: pytest.Subtests) -> None:
    check_section(model, section, subtests)
