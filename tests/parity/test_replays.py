"""Every published model: names as published; stored values replayed where they are at hand."""

from __future__ import annotations

import pytest
import torch

from tests.parity.command import replays_of
from tests.parity.directory import MODELS, Directory
from tests.parity.names import compare_names
from tests.parity.report import collect
from tests.support.reference import reference

pytestmark = pytest.mark.unit

# No fewer items than the reference holds: a replay that forgets a file cannot pass.
ITEMS = {"hallo": 582, "echomimic": 294, "memo": 170}


@pytest.mark.parametrize("model", MODELS)
def test_names_and_shapes_are_the_published_ones(model: str) -> None:
    report = collect(model, compare_names(model, replays_of(model).networks()))
    assert report.ok, [item.name for item in report.items if not item.ok]
    assert len(report.items) >= 5


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_every_stored_value_is_reproduced(model: str) -> None:
    folder = reference(model)
    with torch.inference_mode():
        report = collect(model, replays_of(model).items(Directory(folder, model)))
    assert not [item for item in report.items if not item.ok]
    assert len(report.items) >= ITEMS[model]
