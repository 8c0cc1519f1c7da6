"""Training goes from clips to a weights folder that loads, resumes, and begins from another."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from models.commands import train as command
from models.dataset.clips import list_clips
from models.dataset.frames import write_frames
from models.errors import LiveheadError
from models.mini.autoencoder import Autoencoder
from models.mini.checkpoint import BUNDLED, load_mini, load_mini_networks, read_manifest
from models.mini.config import MINI
from models.mini.motion import MOUTH_UNITS
from models.mini.unet import MiniUNet
from models.training import speech_features
from models.training.latents import encode_all
from server.cli import main
from tests.models.dataset.test_clips import write_sound

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
    write_frames(folder / "video.npz", video)
    mouth = np.zeros((HEARD, len(MOUTH_UNITS)), np.float32)
    mouth[:, 0] = jaw
    np.savez(
        folder / "track.npz",
        mouth=mouth,
        motion=np.zeros((HEARD, 7), np.float32),
        mouth_xy=np.full((SHOWN, 2), (128, 190), np.float32),
        eyes_xy=np.tile(np.array([90, 110, 166, 110], np.float32), (SHOWN, 1)),
        neutral=video[0],
        photo=video[0],
        cover=np.full((64, 64), 255, np.uint8),
        window=np.eye(2, 3),
    )
    write_sound(folder / "audio.wav", HEARD * 640)
    (folder / "meta.json").write_text(json.dumps({"split": split, "fps": 25, "complete": True}))


def livehead(*words: str | Path) -> None:
    """Run one command of the recipe, which must succeed."""
    assert main([str(word) for word in words]) == 0


def refused(*words: str | Path) -> str:
    """What a command says that must not succeed."""
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    with pytest.raises(LiveheadError) as caught:
        command.run(parser.parse_args([str(word) for word in words]))
    return str(caught.value)


def spread(a: nn.Module, b: nn.Module) -> float:
    """Root mean square difference of two networks' weights, as a share of the first's size."""
    pairs = list(zip(a.parameters(), b.parameters(), strict=True))
    moved = sum(float(((p - q).detach() ** 2).sum()) for p, q in pairs)
    return math.sqrt(moved / sum(float((p.detach() ** 2).sum()) for p, _ in pairs))


@pytest.fixture(scope="module", autouse=True)
def short() -> Iterator[None]:
    """Little of what takes most of the time otherwise."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(speech_features, "STEPS", 2)
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    for name, split in (("000", "train"), ("001", "train"), ("900", "held_out")):
        make_clip(folder / "clips" / name, split)
    return folder


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a training, and of the weights that it gave without a decoder of its own."""
    out = tmp_path_factory.mktemp("run")
    for what in ("codec", "mini"):
        few = () if what == "mini" else ()
        livehead("train", what, "--data", data, "--out", out, "--minutes", MINUTES, *few)
    livehead("train", "export", "--out", out, "--weights", out / "weights", "--plan", "4:0,2")
    return out


def test_training_gives_weights_that_load(trained: Path) -> None:
    _, plan = load_mini(trained / "weights")
    assert plan.steps == 4 and plan.keys == (0, 2)
    networks = load_mini_networks(trained / "weights")
    assert all(bool(p.isfinite().all()) for part in networks for p in part.parameters())
    record = read_manifest(trained / "weights")["training"]
    assert record["denoiser"]["steps"] >= 1 and "began_with" not in record["denoiser"]


def test_training_goes_on_where_it_stopped(data: Path, trained: Path) -> None:
    before = torch.load(trained / "mini" / "last.pt", weights_only=True)
    minutes = str(before["spent"] / 60 + float(MINUTES))
    more = ("--minutes", minutes)
    livehead("train", "mini", "--data", data, "--out", trained, *more)
    assert torch.load(trained / "mini" / "last.pt", weights_only=True)["step"] > before["step"]


def test_training_begins_with_the_weights_of_another(data: Path, tmp_path: Path) -> None:
    """A few steps lead nowhere: what comes out is near the start, and random weights are not."""
    start = ("--start", BUNDLED, "--minutes", MINUTES)
    few = ()
    for what in ("codec", "mini"):
        more = few if what == "mini" else ()
        livehead("train", what, "--data", data, "--out", tmp_path, *start, *more)
    livehead("train", "export", "--out", tmp_path, "--weights", tmp_path / "weights")
    bundled, made = load_mini_networks(BUNDLED), load_mini_networks(tmp_path / "weights")
    cases: list[tuple[nn.Module, nn.Module, nn.Module]] = [
        (bundled.codec, made.codec, Autoencoder()),
        (bundled.unet, made.unet, MiniUNet(MINI)),
    ]
    for start_of, end_of, random in cases:
        assert 0 < spread(start_of, end_of) < 0.3
        assert spread(start_of, random) > 0.9
    record = read_manifest(tmp_path / "weights")["training"]["denoiser"]
    assert record["began_with"]["sha256"] == read_manifest(BUNDLED)["sha256"]["unet"]

    livehead("train", "mini", "--data", data, "--out", tmp_path, "--minutes", "0.06")
    last = torch.load(tmp_path / "mini" / "last.pt", weights_only=True)
    assert last["origin"] == record["began_with"]  # going on needs no --start


def test_a_decoder_trained_alone_leaves_latents_as_they_are(data: Path, tmp_path: Path) -> None:
    start = ("--start", BUNDLED, "--minutes", MINUTES)
    livehead("train", "codec", "--data", data, "--out", tmp_path, *start, "--decoder-only")
    made, bundled = Autoencoder(), load_mini_networks(BUNDLED).codec
    made.load_state_dict(torch.load(tmp_path / "codec" / "ema.pt", weights_only=True))
    assert spread(bundled.encoder, made.encoder) == 0
    assert torch.equal(made.mean, bundled.mean) and torch.equal(made.std, bundled.std)
    assert 0 < spread(bundled.decoder, made.decoder) < 0.3


def test_a_training_that_began_with_other_weights_is_not_gone_on_with(
    data: Path, trained: Path
) -> None:
    said = refused("mini", "--data", data, "--out", trained, "--start", BUNDLED)
    assert "did not begin with these weights" in said


def test_another_codec_encodes_the_clips_anew(data: Path, trained: Path, tmp_path: Path) -> None:
    clips, cache = list_clips(data, "held_out"), tmp_path / "latents"

    def latents(codec: Autoencoder) -> torch.Tensor:
        return encode_all(codec, clips, cache)[0].latents

    mine, bundled = (load_mini_networks(w).codec.eval() for w in (trained / "weights", BUNDLED))
    first = latents(mine)
    stored = next(cache.iterdir())
    written = stored.stat().st_mtime_ns
    assert torch.equal(latents(mine), first) and stored.stat().st_mtime_ns == written
    assert not torch.equal(latents(bundled), first)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("mini", "--data", "DATA", "--out", "EMPTY"), "livehead train codec"),
        (("export", "--weights", "EMPTY", "--out", "EMPTY"), "livehead train mini"),
        (("codec", "--data", "DATA", "--out", "EMPTY", "--threads", "0"), "thread"),
        (("codec", "--data", "DATA", "--out", "EMPTY", "--minutes", "nan"), "minutes"),
        (("codec", "--data", "EMPTY", "--out", "EMPTY"), "livehead data photos"),
        (("codec", "--data", "DATA", "--out", "EMPTY", "--decoder-only"), "--start WEIGHTS"),
        (("mini", "--data", "DATA", "--out", "HALF"), "was stopped"),
    ],
)
def test_refusals_say_what_to_do(
    data: Path, tmp_path: Path, words: tuple[str, ...], says: str
) -> None:
    half = tmp_path / "half"
    (half / "codec").mkdir(parents=True)
    torch.save(Autoencoder().state_dict(), half / "codec" / "ema.pt")
    places = {"DATA": data, "EMPTY": tmp_path, "HALF": half}
    assert says in refused(*(places.get(word, word) for word in words))
