"""Rendering end to end with the fake generator: what comes out is decoded and held to the input."""

from __future__ import annotations

import argparse
import json
import math
import os
import threading
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from models.commands import render
from models.errors import AudioError, LiveheadError, PortraitError
from models.face.report import PortraitLimit
from models.fake import read_counter
from models.io.video import AAC_RATES, to_aac_format
from tests.models.face.test_report import PERFECT
from tests.models.io.test_audio import write

pytestmark = pytest.mark.unit

FPS = 25
BEEPS = (0.4, 1.16, 2.2)
BEEP_SECONDS = 0.2
SECONDS = 2.63
FORMATS = [
    ("wav", "pcm_s16le", 8_000, 1),
    ("wav", "pcm_s16le", 44_100, 2),
    ("wav", "pcm_f32le", 96_000, 1),
    ("mp3", "libmp3lame", 44_100, 2),
    ("ogg", "libopus", 48_000, 1),
    ("flac", "flac", 22_050, 2),
]


def beeps(rate: int, seconds: float = SECONDS) -> NDArray[np.float32]:
    """Silence with loud tones at ``BEEPS``."""
    sound = np.zeros(round(seconds * rate), np.float32)
    tone = 0.5 * np.sin(2 * np.pi * 500 * np.arange(round(BEEP_SECONDS * rate)) / rate)
    for begin in BEEPS:
        sound[round(begin * rate) :][: tone.size] = tone
    return sound


def options(*words: str) -> argparse.Namespace:
    """Parsed options of the command."""
    parser = argparse.ArgumentParser()
    render.add_arguments(parser)
    return parser.parse_args(["--model", "fake", *words])


@pytest.fixture
def portrait(tmp_path: Path) -> Path:
    """A dark picture; the fake generator needs no face."""
    path = tmp_path / "dark.png"
    Image.new("RGB", (80, 100), (20, 20, 60)).save(path)
    return path


@pytest.fixture
def speech(tmp_path: Path) -> Path:
    """Beeps, wav, 16 kHz."""
    return write(tmp_path / "beeps.wav", "pcm_s16le", 16_000, beeps(16_000)[None])


def decode(path: Path) -> tuple[list[NDArray[np.uint8]], list[float], NDArray[np.float32], int]:
    """Frames with their times in seconds, and the sound [N, C] with its rate."""
    with av.open(str(path)) as container:
        pictures = list(container.decode(video=0))
        frames = [np.asarray(p.to_ndarray(format="rgb24"), np.uint8) for p in pictures]
        times = [float(picture.time or 0) for picture in pictures]
    with av.open(str(path)) as container:
        sounds = list(container.decode(audio=0))
        assert sounds[0].pts == 0
        sound = np.concatenate([piece.to_ndarray() for piece in sounds], 1).T.astype(np.float32)
    return frames, times, sound, sounds[0].sample_rate


@pytest.mark.parametrize(("suffix", "codec", "rate", "channels"), FORMATS)
def test_picture_and_sound_stay_together(
    tmp_path: Path, portrait: Path, suffix: str, codec: str, rate: int, channels: int
) -> None:
    sound = np.stack([beeps(rate)] * channels)
    audio = write(tmp_path / f"beeps.{suffix}", codec, rate, sound)
    out = tmp_path / "out.mp4"
    assert (
        render.run(options("--portrait", str(portrait), "--audio", str(audio), "--out", str(out)))
        == 0
    )

    frames, times, decoded, decoded_rate = decode(out)
    # Lossy containers may add a packet's padding to the sound.
    assert math.ceil(SECONDS * FPS) <= len(frames) <= math.ceil((SECONDS + 0.06) * FPS)
    assert [read_counter(frame) for frame in frames] == list(range(len(frames)))
    assert times == pytest.approx([n / FPS for n in range(len(frames))], abs=1e-3)
    assert decoded.shape[1] == channels
    assert decoded_rate == (rate if rate in AAC_RATES else 48_000)
    flash = np.array([frame[-20:].mean() > 128 for frame in frames])
    loud = np.abs(decoded[:, 0]) > 0.15
    for begin in BEEPS:
        lit = times[int(np.flatnonzero(flash & (np.array(times) > begin - 0.2))[0])]
        after = np.flatnonzero(loud & (np.arange(len(loud)) / decoded_rate > begin - 0.2))
        assert lit == pytest.approx(after[0] / decoded_rate, abs=1 / FPS)


def test_lengths_are_exact(tmp_path: Path, portrait: Path, speech: Path) -> None:
    out = tmp_path / "out.mp4"
    render.run(options("--portrait", str(portrait), "--audio", str(speech), "--out", str(out)))
    with av.open(str(out)) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        assert video.frames == math.ceil(SECONDS * FPS)
        assert video.duration is not None and video.time_base is not None
        assert float(video.duration * video.time_base) == pytest.approx(video.frames / FPS)
        assert audio.duration is not None and audio.time_base is not None
        assert float(audio.duration * audio.time_base) == pytest.approx(SECONDS, abs=1e-3)
        assert (video.codec_context.name, audio.codec_context.name) == ("h264", "aac")
        assert video.codec_context.pix_fmt == "yuv420p"


def test_shortest_sound_makes_one_frame(tmp_path: Path, portrait: Path) -> None:
    audio = write(tmp_path / "tick.wav", "pcm_s16le", 16_000, np.full((1, 100), 0.5, np.float32))
    out = tmp_path / "out.mp4"
    render.run(options("--portrait", str(portrait), "--audio", str(audio), "--out", str(out)))
    assert len(decode(out)[0]) == 1


def test_gif_and_strip(
    tmp_path: Path, portrait: Path, speech: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, strip = tmp_path / "out.gif", tmp_path / "strip.png"
    words = ("--portrait", str(portrait), "--audio", str(speech), "--out", str(out))
    render.run(options(*words, "--gif-width", "96", "--strip", str(strip), "--json"))
    with Image.open(out) as gif:
        assert gif.size == (96, 96)
        assert gif.info["duration"] == 80
        played = 0
        for k in range(gif.n_frames):  # type: ignore[attr-defined]
            gif.seek(k)
            played += gif.info["duration"]
        assert played == math.ceil(math.ceil(SECONDS * FPS) / 2) * 80
    with Image.open(strip) as picture:
        assert picture.width > picture.height > 400
    record = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert record["frames"] == math.ceil(SECONDS * FPS)
    assert record["computing_per_second"] >= 0


def test_same_seed_same_video(tmp_path: Path, portrait: Path, speech: Path) -> None:
    words = ("--portrait", str(portrait), "--audio", str(speech))
    for name, seed in (("a", "7"), ("b", "7"), ("c", "8")):
        render.run(options(*words, "--out", str(tmp_path / f"{name}.mp4"), "--seed", seed))
    a, b, c = ((tmp_path / f"{name}.mp4").read_bytes() for name in "abc")
    assert a == b != c


@pytest.mark.parametrize(
    ("changed", "error", "says"),
    [
        ({"--out": "video.avi"}, LiveheadError, ".mp4"),
        ({"--out": "nowhere/video.mp4"}, LiveheadError, "create it first"),
        ({"--audio": "missing.wav"}, AudioError, "no file at"),
        ({"--audio": "noise.wav"}, AudioError, "readable sound file"),
        ({"--portrait": "missing.png"}, PortraitError, "no file at"),
        ({"--portrait": "noise.wav"}, PortraitError, "PNG, JPEG, WebP, AVIF or HEIC"),
        ({"--portrait": "small.png"}, PortraitError, "64x64"),
        ({"--strip": "strip.txt"}, LiveheadError, "--strip"),
        ({"--gif-width": "2"}, LiveheadError, "--gif-width"),
        ({"--strip-every": "0"}, LiveheadError, "--strip-every"),
        ({"--threads": "0"}, LiveheadError, "thread"),
        ({"--seed": "-1"}, LiveheadError, "--seed"),
    ],
)
def test_errors_say_what_to_do(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    portrait: Path,
    speech: Path,
    changed: dict[str, str],
    error: type[LiveheadError],
    says: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("noise.wav").write_bytes(b"not a sound" * 50)
    Image.new("RGB", (20, 20)).save("small.png")
    words = {"--portrait": str(portrait), "--audio": str(speech), "--out": "out.mp4", **changed}
    with pytest.raises(error, match=says):
        render.run(options(*(word for pair in words.items() for word in pair)))
    assert not list(tmp_path.glob("**/*.mp4*"))


@pytest.mark.parametrize("box", ["1,2,3", "here", "0,0,0,1", "900,0,10,10"])
def test_a_bad_box(tmp_path: Path, portrait: Path, speech: Path, box: str) -> None:
    words = ("--portrait", str(portrait), "--audio", str(speech), "--out", str(tmp_path / "a.mp4"))
    with pytest.raises(PortraitError) as caught:
        render.run(options(*words, "--box", box))
    assert caught.value.code == "bad_box"
    assert str(caught.value).startswith("expected a box") and "\n" not in str(caught.value)


def test_the_report_is_said_and_in_the_json(
    tmp_path: Path,
    portrait: Path,
    speech: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    limit = PortraitLimit("blurred", "The face is blurred.", "Use a sharper picture of it.")
    report = replace(PERFECT, yaw=12.3, mouth="smile_with_teeth", glasses=True, limits=(limit,))
    monkeypatch.setattr(render, "report_of", lambda *_: report)
    words = ("--portrait", str(portrait), "--audio", str(speech), "--out", str(tmp_path / "a.mp4"))
    render.run(options(*words, "--box", "0,0,0.5,1", "--json"))
    *lines, record = capsys.readouterr().out.splitlines()
    assert lines[0] == (
        "portrait: face of 200x200 in 600x600 pixels, smile with teeth, glasses,"
        " yaw +12, pitch +0, roll +0 degrees"
    )
    assert lines[1] == "  The face is blurred. Use a sharper picture of it."
    assert json.loads(record)["report"]["limits"][0]["code"] == "blurred"


def test_unknown_avatar(tmp_path: Path, speech: Path) -> None:
    words = ("--avatar", "nobody", "--audio", str(speech), "--out", str(tmp_path / "out.mp4"))
    with pytest.raises(PortraitError) as caught:
        render.run(options(*words))
    assert caught.value.code == "unknown_avatar"


@pytest.mark.parametrize(("rate", "wanted"), [(8000, 8000), (11_000, 11_025), (192_000, 48_000)])
def test_sound_becomes_playable(rate: int, wanted: int) -> None:
    sound = np.full((rate, 6), 2.0, np.float32)
    pieces, got = to_aac_format(np.array_split(sound, 7), rate)
    playable = np.concatenate(list(pieces))
    assert (playable.shape[1], got) == (1, wanted)
    assert playable.max() <= 1
    assert len(playable) == pytest.approx(wanted, abs=2)


def test_sound_comes_from_a_pipe(tmp_path: Path, portrait: Path, speech: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    feeder = threading.Thread(target=lambda: pipe.write_bytes(speech.read_bytes()))
    feeder.start()
    for name, source in (("pipe", pipe), ("file", speech)):
        words = ("--portrait", str(portrait), "--audio", str(source))
        render.run(options(*words, "--out", str(tmp_path / f"{name}.mp4")))
    feeder.join()
    assert (tmp_path / "pipe.mp4").read_bytes() == (tmp_path / "file.mp4").read_bytes()
