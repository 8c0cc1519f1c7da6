"""`scripts/gpu-train`: refusals come before work, and a rehearsal ends with weights that load."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from models.commands import gpu_train
from models.dataset.clip_files import write_audio
from models.dataset.recordings import FIRST_HELD_OUT
from models.mini.checkpoint import load_mini_networks
from models.mini.motion import MOUTH_UNITS
from tests.support.puppet import babble, openings
from tests.support.tracked import ROOT

pytest.importorskip("moderngl", reason="photo puppets need the extra `synth`")
pytest.importorskip("efficientnet_lite_pytorch", reason="training needs the extra `train`")

from models.puppets.draw import shared_painter  # noqa: E402
from models.puppets.portraits import PortraitFile  # noqa: E402
from models.puppets.speech_pool import SECONDS  # noqa: E402
from models.synth import headless  # noqa: E402
from models.training.pack import pack_perceptual, pack_portraits, pack_recordings  # noqa: E402

AVATARS = ("ada", "ben", "claire", "pia")


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three avatars to train on, one held out; two recordings and one held out."""
    folder = tmp_path_factory.mktemp("pack")
    pack_portraits(
        [
            PortraitFile(
                k,
                ROOT / "models" / "weights" / "avatars" / f"{name}.jpg",
                "held_out" if k == 3 else "train",
            )
            for k, name in enumerate(AVATARS)
        ],
        folder,
    )
    pool = tmp_path_factory.mktemp("pool")
    for number in (0, 1, FIRST_HELD_OUT):
        recording = pool / f"{number:03d}"
        recording.mkdir()
        audio = babble(round(25 * SECONDS), number)
        write_audio(recording / "audio.wav", audio)
        mouth = np.zeros((round(25 * SECONDS), len(MOUTH_UNITS)), np.float32)
        mouth[:, MOUTH_UNITS.index("jawOpen")] = openings(audio)
        np.save(recording / "mouth.npy", mouth)
        (recording / "speech.json").write_text(json.dumps({"sentences": [], "phonemes": []}))
    pack_recordings(pool, folder)
    pack_perceptual(folder)
    return folder


def refusal(capsys: pytest.CaptureFixture[str], *words: str | Path) -> str:
    """What is said by a call that must be refused."""
    assert gpu_train.main([str(word) for word in words]) == 3
    return capsys.readouterr().err


def no_context() -> None:
    """A machine without OpenGL."""
    raise RuntimeError("no EGL")


@pytest.mark.unit
def test_refuses_before_it_works(
    pack: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    folders = ("--work", tmp_path / "work", "--out", tmp_path / "out")
    assert "expected a pack" in refusal(capsys, "--pack", tmp_path / "none", *folders)
    options = ("--pack", pack, *folders)
    assert "--minutes" in refusal(capsys, *options, "--minutes", "0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert "expected an NVIDIA GPU" in refusal(capsys, *options)
    monkeypatch.setattr(headless, "create_headless_context", no_context)
    assert "no clip can be drawn: no EGL" in refusal(capsys, *options, "--tiny")
    monkeypatch.setattr(gpu_train, "NEEDED", ("torch", "no_such_package"))
    assert "lacks no_such_package" in refusal(capsys, *options, "--tiny")
    assert not (tmp_path / "work").exists() and not (tmp_path / "out").exists()


@pytest.mark.unit
def test_packages_of_a_pack_are_found_after_installed_ones(
    pack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = list(sys.path)
    monkeypatch.setattr(sys, "path", list(before))
    gpu_train.add_packages(pack, tmp_path)
    assert sys.path == [*before, str(tmp_path)]
    assert (tmp_path / "efficientnet_lite_pytorch" / "model.py").is_file()


@pytest.mark.e2e
def test_a_rehearsal_gives_weights_and_a_curve(pack: Path, tmp_path: Path) -> None:
    try:
        shared_painter()
    except RuntimeError as error:
        pytest.skip(str(error))
    out, work = tmp_path / "out", tmp_path / "work"
    folders = ("--pack", pack, "--work", work, "--out", out)
    command: list[str | Path] = [
        ROOT / "scripts" / "gpu-train",
        "--tiny",
        "--workers",
        "1",
        *folders,
    ]
    environment = {"PATH": "/usr/bin:/bin", "LIVEHEAD_VENV": sys.prefix}
    subprocess.run(command, check=True, env=environment)
    load_mini_networks(out / "weights")
    report = json.loads((out / "report.json").read_text())
    assert report["clips"] == {"train": 3, "held_out": 1} and report["machine"]["gpu"] is None
    assert {"check", "draw", "encode and train", "export"} == set(report["seconds"])
    curve = [json.loads(line) for line in (out / "curve-mini.jsonl").read_text().splitlines()]
    assert curve[-1]["step"] >= 1 and curve[-1]["held_out"] > 0
    drawn = work / "data" / "clips" / "0000" / "video.npz"
    before = drawn.stat().st_mtime_ns
    subprocess.run(command, check=True, env=environment)  # goes on with what is there
    assert drawn.stat().st_mtime_ns == before
