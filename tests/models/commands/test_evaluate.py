"""The command end to end on a miniature dataset with the fake generator, and its refusals."""

from __future__ import annotations

import argparse
import json
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from models.commands import evaluate as command
from models.errors import LiveheadError, PortraitError
from models.evaluation.mouth_metric import MouthMetric, load_mouth_metric, save_mouth_metric
from models.evaluation.tasks import find_mouth_metric
from models.fake import FakeGenerator
from tests.support.puppet import PHOTO, PuppetGenerator, babble, write_clip

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One training clip, one held-out clip of two seconds, and an untrained mouth metric."""
    folder = tmp_path_factory.mktemp("data")
    write_clip(folder, "000", "train", frames=8)
    write_clip(folder, "900", "held_out", frames=50, seed=2)
    torch.manual_seed(1)
    save_mouth_metric(MouthMetric(), folder / "ruler.pt", ["000"])
    return folder


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Two seconds of babble as a wav file."""
    path = tmp_path / "hello.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes((babble(50, 6) * 32767).astype("<i2").tobytes())
    return path


def evaluate(*words: str) -> int:
    """Run the command with the fake generator."""
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.run(parser.parse_args(["--model", "fake", *words]))


def last_line(capsys: pytest.CaptureFixture[str]) -> Any:
    """The JSON that a command ended with."""
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def test_held_out_clip_end_to_end(
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(command, "make_generator", lambda _: PuppetGenerator(late=1))
    out = tmp_path / "report"
    assert evaluate("--data", str(data), "--out", str(out), "--json") == 0
    record = last_line(capsys)
    assert list(record["clips"]) == ["900"]
    assert record["passed"] is False
    metrics = record["clips"]["900"]
    for name in (
        "mouth_correlation.landmarks",
        "frame_change",
        "psnr_mouth",
        "border_excess",
        "flicker",
    ):
        assert isinstance(metrics[name], float), name
    assert metrics["ms_per_frame"] > 0
    truth = record["truth"]["mean"]
    assert truth["mouth_correlation.landmarks"] == pytest.approx(1)
    assert truth["sharpness_mouth_percent"] == 100
    assert truth["sharpness_rest_percent"] is None  # there are no whole true frames
    assert set(record["bars"]) >= {"mouth_correlation.ruler", "flicker", "blinks_per_minute"}
    assert json.loads((out / "report.json").read_text()) == record
    for kind in ("long", "second", "curves"):
        with Image.open(out / f"clip_900_{kind}.png") as picture:
            assert picture.width > 800


def test_table_for_people(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evaluate("--data", str(data), "--clips", "000", "--seconds", "1")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["metric", "000", "mean", "truth", "bar", "verdict"]
    assert any(line.startswith("frame_change") for line in lines)


def test_other_weights_beside(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    late = {"": 0, "older": 3}
    monkeypatch.setattr(
        command, "make_generator", lambda args: PuppetGenerator(late=late[args.weights])
    )
    evaluate("--data", str(data), "--against", "older", "--json")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["metric", "900", "mean", "against", "truth", "bar", "verdict"]
    record = json.loads(lines[-1])
    assert record["against_weights"] == "older"
    name = "sync_offset_frames.landmarks"
    assert record["mean"][name] == pytest.approx(0, abs=0.4)
    assert record["against"]["mean"][name] == pytest.approx(3, abs=0.6)


def test_portraits_without_truth(
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(command, "make_generator", lambda _: PuppetGenerator())
    (tmp_path / "face.jpg").write_bytes(PHOTO.read_bytes())
    (tmp_path / "broken.png").write_bytes(b"")
    evaluate("--data", str(data), "--portraits", str(tmp_path), "--seconds", "1", "--json")
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("broken.png: refused (bad_image)") for line in lines)
    found = json.loads(lines[-1])["portraits"]
    assert list(found["clips"]) == ["face.jpg"]
    assert found["refused"]["broken.png"]["code"] == "bad_image"
    assert found["bars"]["head_yaw_slope_percent"]["passed"] is None


def test_minutes_of_one_portrait(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("models.evaluation.drift.SPAN_SECONDS", 0.4)
    monkeypatch.setattr(command, "make_generator", lambda _: PuppetGenerator())
    evaluate("--data", str(data), "--minutes", "1", "--seconds", "1", "--json")
    found = last_line(capsys)["drift"]
    assert len(found["spans"]["generated"]) == 150
    assert found["bars"]["colour_drift"]["passed"] is True


@pytest.mark.slow
def test_recordings_without_truth(
    data: Path,
    recording: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(command, "make_generator", lambda _: PuppetGenerator())
    out, path = tmp_path / "speech", str(data / "ruler.pt")
    words = ("--speech", str(recording), "--portrait", str(PHOTO), "--ruler", path)
    evaluate(*words, "--out", str(out), "--seconds", "1.3", "--json")
    channels = last_line(capsys)["speech"]["hello.wav"]
    assert list(channels) == ["clean", "microphone", "telephone"]
    assert all(metrics["frame_change_levels"] > 0 for metrics in channels.values())
    names = ("hello", "hello_microphone", "hello_telephone")
    kinds = ("long", "second", "curves")
    pictures = {f"speech_{name}_{kind}.png" for name in names for kind in kinds}
    assert {path.name for path in out.iterdir()} == {"report.json", *pictures}


@pytest.mark.slow
def test_other_devices_are_held_against_the_recording_itself(
    recording: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    late = {"telephone": 2}
    passed_on: dict[str, Any] = {
        "clean": lambda sound, _: sound,
        "telephone": lambda sound, _: np.roll(sound, late["telephone"] * 640),
    }
    monkeypatch.setattr("models.evaluation.recordings.CHANNELS", passed_on)
    monkeypatch.setattr(command, "make_generator", lambda _: PuppetGenerator())
    evaluate("--speech", str(recording), "--portrait", str(PHOTO), "--json")
    channels = last_line(capsys)["speech"]["hello.wav"]
    assert "clean_correlation.landmarks" not in channels["clean"]
    assert abs(channels["clean"]["loudness_offset_frames.landmarks"]) < 1
    assert channels["clean"]["loudness_correlation.landmarks"] > 0.6
    for name in ("clean_offset_frames", "loudness_offset_frames"):
        assert channels["telephone"][f"{name}.landmarks"] == pytest.approx(2, abs=0.6)


def test_clips_of_another_frame_rate_are_refused(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "make_generator", lambda _: FakeGenerator(fps=30.0))
    with pytest.raises(LiveheadError, match="25 frames per second"):
        evaluate("--data", str(data))


def test_recordings_have_any_frame_rate(
    recording: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    puppet = PuppetGenerator()
    puppet.fps = 30.0
    monkeypatch.setattr(command, "make_generator", lambda _: puppet)
    evaluate("--speech", str(recording), "--portrait", str(PHOTO), "--json", "--seconds", "1")
    assert last_line(capsys)["speech"]["hello.wav"]["telephone"]["frame_change_levels"] > 0


def test_the_mouth_metric_is_kept_until_its_clips_change(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = []

    def train(clips: list[Any]) -> MouthMetric:
        trained.append([clip.name for clip in clips])
        return MouthMetric()

    monkeypatch.setattr("models.evaluation.tasks.train_mouth_metric", train)
    assert find_mouth_metric(data) is not None and not trained
    for name in ("000", "001"):
        write_clip(tmp_path, name, "train", frames=4)
        assert find_mouth_metric(tmp_path) is not None
    find_mouth_metric(tmp_path)
    assert trained == [["000"], ["000", "001"]]
    assert load_mouth_metric(tmp_path / "ruler.pt")[1] == ["000", "001"]


def test_without_training_clips_there_is_no_mouth_metric(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_clip(tmp_path, "900", "held_out", frames=4)
    assert find_mouth_metric(tmp_path) is None
    assert "landmarks" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "--data"),
        (("--compare", "10:0"), "--data"),
        (("--data", "DATA", "--compare", "10:0"), "got fake"),
        (("--data", "DATA", "--compare", "10:0", "--model", "hallo"), "got hallo"),
        (("--data", "DATA", "--clips", "777"), "777"),
        (("--data", "DATA", "--size", "640x480"), "faces are measured in squares"),
        (("--data", "DATA", "--seconds", "0"), "--seconds"),
        (("--data", "DATA", "--seconds", "nan"), "--seconds"),
        (("--data", "DATA", "--seconds", "inf"), "--seconds"),
        (("--speech", __file__, __file__), "different names"),
        (("--data", "DATA", "--out", __file__), "expected a folder"),
        (("--speech", "nothing.wav"), "no file at"),
        (("--data", "nowhere"), "livehead data synth"),
        (("--portraits", "."), "--data DIR with --portraits"),
        (("--minutes", "3"), "--data DIR with --minutes"),
        (("--speech", __file__, "--against", "DATA"), "--data DIR with --against"),
        (("--data", "DATA", "--minutes", "0.5"), "--minutes >= 1"),
        (("--data", "DATA", "--portraits", "nowhere"), "folder of pictures"),
        (
            ("--data", "DATA", "--model", "mini", "--compare", "10:0", "--against", "DATA"),
            "without --against",
        ),
    ],
)
def test_refusals_say_what_to_do(data: Path, words: tuple[str, ...], says: str) -> None:
    with pytest.raises(LiveheadError, match=says):
        evaluate(*(str(data) if word == "DATA" else word for word in words))


def test_faces_are_needed_for_speech(recording: Path, tmp_path: Path) -> None:
    Image.fromarray(np.zeros((20, 20, 3), np.uint8)).save(tmp_path / "small.png")
    with pytest.raises(PortraitError):
        evaluate("--speech", str(recording), "--portrait", str(tmp_path / "small.png"))
