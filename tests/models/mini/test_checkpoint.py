"""The folder of ``mini``'s weights: read whole or refused with what is wrong."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from models.errors import LiveheadError, WeightsError
from models.mini.checkpoint import BUNDLED, load_mini, load_mini_networks
from models.mini.config import MINI
from models.options import ModelOptions
from models.registry import load_generator

pytestmark = pytest.mark.unit


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the bundled weights to damage."""
    return Path(shutil.copytree(BUNDLED, tmp_path / "mini"))


def rewrite(folder: Path, record: Any) -> None:
    """Another record."""
    (folder / "mini.json").write_text(json.dumps(record))


def test_networks_are_stored_in_full_precision() -> None:
    for network in load_mini_networks(BUNDLED):
        assert {str(p.dtype) for p in network.parameters()} == {"torch.float32"}


@pytest.mark.parametrize(
    "damage", ["list", "other model", "no sums", "no plan", "a sum missing", "no gain"]
)
def test_a_record_that_is_not_one_is_refused(folder: Path, damage: str) -> None:
    record = json.loads((folder / "mini.json").read_text())
    if damage == "list":
        record = [record]
    elif damage == "other model":
        record["model"] = "maxi"
    elif damage == "no sums":
        del record["sha256"]
    elif damage == "no plan":
        del record["plan"]
    elif damage == "no gain":
        record["mouth_gain"] = None
    else:
        del record["sha256"]["unet"]
    rewrite(folder, record)
    with pytest.raises(WeightsError) as caught:
        load_mini_networks(folder)
    assert caught.value.code == "bad_weights"


def test_a_persons_gain_is_taken(folder: Path) -> None:
    record = json.loads((folder / "mini.json").read_text())
    assert load_mini(folder)[0].spec.mouth_gain == MINI.mouth_gain
    rewrite(folder, {**record, "mouth_gain": 1.3})
    assert load_mini(folder)[0].spec.mouth_gain == 1.3


def test_a_truncated_file_is_refused(folder: Path) -> None:
    path = folder / "codec.safetensors"
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(WeightsError, match=r"codec\.safetensors.*truncated"):
        load_mini_networks(folder)


def test_a_missing_file_is_named(folder: Path) -> None:
    (folder / "reader.safetensors").unlink()
    with pytest.raises(WeightsError, match="reader") as caught:
        load_mini_networks(folder)
    assert caught.value.code == "missing_weights"


def test_options_of_published_models_are_refused() -> None:
    with pytest.raises(LiveheadError, match="another model only"):
        load_generator(ModelOptions(devices=("cuda:0",)))
