"""The whole command: from a video to weights that load, with the person's consent beside them."""

from __future__ import annotations

import argparse
import json
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import pytest
import torch

from models.commands import finetune as command
from models.dataset.clips import list_clips
from models.errors import LiveheadError
from models.finetune.consent import FILE, STATEMENT
from models.io.video import Mp4Writer
from models.lightning.plan import parse
from models.mini.autoencoder import Autoencoder
from models.mini.checkpoint import load_mini_networks, read_manifest, save_mini
from models.mini.config import MINI
from models.mini.mouth import BlendshapeRegressor
from models.mini.unet import MiniUNet
from tests.support.speaking import syllables

pytestmark = pytest.mark.e2e

FRAMES = 225
NOON = datetime(2030, 1, 2, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("video") / "me.mp4"
    speaking = syllables(FRAMES)
    with Mp4Writer(path, (512, 512), 25, speaking.sound()[:, None], 16000) as writer:
        for frame in speaking.frames():
            writer.write(frame)
    return path


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights to begin with: random ones."""
    folder = tmp_path_factory.mktemp("start")
    torch.manual_seed(0)
    states = {
        "codec": Autoencoder().state_dict(),
        "unet": MiniUNet(MINI).state_dict(),
        "reader": BlendshapeRegressor().state_dict(),
    }
    save_mini(folder, states, parse("4:0,2"), {"denoiser": {"steps": 7}})
    return folder


def options(*words: str | Path) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return parser.parse_args([str(word) for word in words])


def test_a_video_gives_weights_of_a_person(
    video: Path, start: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "me"
    given = ("--video", video, "--out", out, "--weights", start, "--minutes", "0.03", "--threads")
    status = command.run(options(*given, "1", "--json"), now=lambda: NOON, answer=lambda _: "yes")
    assert status == 0
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert said["frames"] == FRAMES and said["frames_used"] > 200
    assert said["held_out_loss"]["after"] <= said["held_out_loss"]["before"]
    consent = json.loads((out / FILE).read_text("utf-8"))
    assert consent["statement"] == STATEMENT and consent["given"] == "typed"
    assert consent["at"] == NOON.isoformat()

    begun, made = load_mini_networks(start), load_mini_networks(out)
    for part in ("codec", "reader"):
        pairs = zip(
            getattr(begun, part).parameters(), getattr(made, part).parameters(), strict=True
        )
        assert all(torch.equal(a, b) for a, b in pairs)
    record = read_manifest(out)
    assert record["mouth_gain"] == said["mouth_gain"]
    assert record["plan"] == read_manifest(start)["plan"]
    person = record["training"]["person"]
    assert person["video_sha256"] == sha256(video.read_bytes()).hexdigest()
    assert person["consent"] == consent
    began = record["training"]["denoiser"]["began_with"]
    assert began["sha256"] == read_manifest(start)["sha256"]["unet"]
    assert list_clips(out, "train") and list_clips(out, "held_out")


@pytest.mark.parametrize(
    ("more", "typed", "code"),
    [
        ((), "no", "no_consent"),
        (("--yes", "--minutes", "0"), "", "bad_option"),
        (("--yes", "--threads", "0"), "", "bad_option"),
        (("--yes", "--video", "ABSENT"), "", "bad_option"),
        (("--yes", "--out", "FULL"), "", "bad_option"),
        (("--yes", "--weights", "ABSENT"), "", "missing_weights"),
    ],
)
def test_refusals_leave_nothing_behind(
    video: Path, start: Path, tmp_path: Path, more: tuple[str, ...], typed: str, code: str
) -> None:
    full = tmp_path / "full"
    full.mkdir()
    (full / "kept").touch()
    out = tmp_path / "me"
    places = {"ABSENT": tmp_path / "absent", "FULL": full}
    words: list[str | Path] = ["--video", video, "--out", out, "--weights", start]
    words += [places.get(word, word) for word in more]
    with pytest.raises(LiveheadError) as caught:
        command.run(options(*words), now=lambda: NOON, answer=lambda _: typed)
    assert caught.value.code == code and "\n" not in str(caught.value)
    assert not out.exists() and list(full.iterdir()) == [full / "kept"]
