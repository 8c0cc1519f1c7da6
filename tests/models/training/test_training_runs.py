"""Training goes from clips to a weights folder that loads, resumes, and begins from another."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from models.motion import MOUTH_UNITS
from models.training import speech
from models.weights.mini_files import load_mini, load_networks, read_manifest
from server.cli import main
from tests.models.training.test_clips import write_sound

pytestmark = pytest.mark.e2e

SHOWN, HEARD = 40, 60  # frames of video and of sound
MINUTES = "0.03"  # a few steps on any machine


def make_clip(folder: Path, split: str) -> None:
    """A bright square whose dark middle grows and shrinks with the jaw."""
    folder.mkdir(parents=True)
    jaw = np.maximum(0, np.sin(np.arange(HEARD) / 3)).astype(np.float32)
    video = np.full((SHOWN, 256, 256, 3), 180, np.uint8)
    for frame, opening in zip(video, (20 * jaw[:SHOWN]).astype(int), strict=True):
        frame[180 : 180 + opening, 108:148] = 20
    np.save(folder / "video.npy", video)
    np.save(folder / "mask.npy", np.full((SHOWN, 64, 64), 255, np.uint8))
    mouth = np.zeros((HEARD, len(MOUTH_UNITS)), np.float32)
    mouth[:, 0] = jaw
    np.savez(
        folder / "track.npz",
        mouth=mouth,
        motion=np.zeros((HEARD, 7), np.float32),
        mouth_xy=np.full((SHOWN, 2), (128, 190), np.float32),
        eyes_xy=np.tile(np.array([90, 110, 166, 110], np.float32), (SHOWN, 1)),
        neutral=video[0],
    )
    write_sound(folder / "audio.wav", HEARD * 640)
    (folder / "meta.json").write_text(json.dumps({"split": split, "fps": 25, "complete": True}))


def livehead(*words: str | Path) -> None:
    """Run one command of the recipe, which must succeed."""
    assert main([str(word) for word in words]) == 0


def distance(a: nn.Module, b: nn.Module) -> float:
    """Root mean square difference of two networks' weights."""
    pairs = zip(a.parameters(), b.parameters(), strict=True)
    squares = [((p - q).detach() ** 2).flatten() for p, q in pairs]
    return float(torch.cat(squares).mean().sqrt())


@pytest.fixture(scope="module", autouse=True)
def short_reader() -> Iterator[None]:
    """A reader of little training, which takes most of the time otherwise."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(speech, "STEPS", 10)
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    for name, split in (("000", "train"), ("001", "train"), ("900", "held_out")):
        make_clip(folder / "clips" / name, split)
    return folder


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a training and of the weights that it gave."""
    out = tmp_path_factory.mktemp("run")
    for what in ("codec", "mini"):
        livehead("train", what, "--data", data, "--out", out, "--minutes", MINUTES)
    livehead("train", "export", "--out", out, "--weights", out / "weights", "--plan", "4:0,2")
    return out


def test_training_gives_weights_that_load(trained: Path) -> None:
    _, plan = load_mini(trained / "weights")
    assert plan.steps == 4 and plan.keys == (0, 2)
    networks = load_networks(trained / "weights")
    assert all(bool(p.isfinite().all()) for part in networks for p in part.parameters())
    record = read_manifest(trained / "weights")["training"]
    assert record["denoiser_steps"] >= 1 and record["before"] is None
    curve = [json.loads(line) for line in (trained / "codec" / "curve.jsonl").open()]
    assert all(math.isfinite(line.get("loss", 0)) for line in curve)


def test_training_goes_on_where_it_stopped(data: Path, trained: Path) -> None:
    before = torch.load(trained / "mini" / "last.pt", weights_only=True)["step"]
    livehead("train", "mini", "--data", data, "--out", trained, "--minutes", "0.06")
    assert torch.load(trained / "mini" / "last.pt", weights_only=True)["step"] > before


def test_training_begins_with_the_weights_of_another(
    data: Path, trained: Path, tmp_path: Path
) -> None:
    """Not with random ones, from which a few steps would lead elsewhere."""
    start = ("--start", trained / "weights", "--minutes", MINUTES)
    for what in ("codec", "mini"):
        livehead("train", what, "--data", data, "--out", tmp_path, *start)
    livehead("train", "export", "--out", tmp_path, "--weights", tmp_path / "weights")
    first, second = load_networks(trained / "weights"), load_networks(tmp_path / "weights")
    for a, b in ((first.codec, second.codec), (first.unet, second.unet)):
        size = math.sqrt(sum(float((p**2).sum()) for p in a.parameters()))
        count = sum(p.numel() for p in a.parameters())
        assert 0 < distance(a, b) < 0.2 * size / math.sqrt(count)
    first_record = read_manifest(trained / "weights")["training"]
    assert read_manifest(tmp_path / "weights")["training"]["before"] == first_record
