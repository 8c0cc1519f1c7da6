"""Prepared portraits on disk: the same when read back, never used when damaged, and only data."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models.fake import FakeGenerator
from models.generator import chunk_samples
from models.io.image import load_image
from models.lightning.plan import parse
from models.options import ModelOptions
from models.registry import load_generator
from server.assets import BundledAssets, draw_portrait
from server.worker.prepared_store import DIGEST, PreparedStore, maker_of
from tests.support.random_mini import random_mini

pytestmark = pytest.mark.unit


def folder(tmp_path: Path) -> Path:
    """The workers' folder beside avatars that exist."""
    return tmp_path / "prepared"


def test_a_prepared_portrait_makes_the_same_frames_when_it_is_read_back(tmp_path: Path) -> None:
    weights = random_mini(tmp_path / "weights", parse("2:0"))
    generator = load_generator(ModelOptions(weights=str(weights), size=(256, 256)))
    ada = BundledAssets.read().avatars[0].picture
    identity = generator.prepare(load_image(ada))
    store: PreparedStore[Any] = PreparedStore(folder(tmp_path), "mini")
    assert store.load("ada") is None
    store.save("ada", identity)
    again = store.load("ada")
    assert again is not None
    silence = np.zeros(chunk_samples(generator), np.float32)
    frames = [
        generator.generate([generator.open(one, seed=1)], [silence])[0] for one in (identity, again)
    ]
    assert np.array_equal(frames[0], frames[1])


@dataclass
class Foreign:
    """Runs code where it is read without care."""

    command: str

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (self.command,)


@pytest.mark.parametrize("damage", ["cut", "changed", "empty", "foreign"])
def test_a_damaged_one_is_prepared_again(tmp_path: Path, damage: str) -> None:
    store: PreparedStore[object] = PreparedStore(folder(tmp_path), "fake")
    if damage == "foreign":
        store.save("ada", Foreign(f"touch {tmp_path}/ran"))
    else:
        store.save("ada", FakeGenerator().prepare(load_image(draw_portrait())))
    path = folder(tmp_path) / "fake" / "ada"
    data = path.read_bytes()
    if damage == "cut":
        path.write_bytes(data[:-10])
    elif damage == "changed":
        path.write_bytes(data[: DIGEST + 100] + b"?" + data[DIGEST + 101 :])
    elif damage == "empty":
        path.write_bytes(b"")
    assert store.load("ada") is None
    assert not path.exists() and not (tmp_path / "ran").exists()


def test_nothing_is_kept_where_no_avatar_was_added(tmp_path: Path) -> None:
    store: PreparedStore[torch.Tensor] = PreparedStore(tmp_path / "none" / "prepared", "fake")
    store.save("ada", torch.zeros(1))
    assert not (tmp_path / "none").exists()


def test_another_model_weights_or_size_prepare_for_themselves(tmp_path: Path) -> None:
    (tmp_path / "unet.bin").write_bytes(b"1")
    makers = {
        maker_of(options)
        for options in (
            ModelOptions(),
            ModelOptions(model="fake"),
            ModelOptions(size=(256, 256)),
            ModelOptions(weights=str(tmp_path)),
        )
    }
    assert len(makers) == 4
    (tmp_path / "unet.bin").write_bytes(b"12")
    assert maker_of(ModelOptions(weights=str(tmp_path))) not in makers
