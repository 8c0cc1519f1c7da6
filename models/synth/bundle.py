"""Makes the bundled avatars and speech clips from identities and voices of the data set.

The avatars are training identities at rest, framed exactly as in the data, so that the bundled
model knows them. The clips speak our own text with training voices.
"""

from __future__ import annotations

import argparse
import json
import wave
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from models.errors import LiveheadError
from models.io import console
from models.mini.motion import MOTION, MOUTH_UNITS
from models.synth.appearance import draw_look
from models.synth.assets import Assets, open_assets
from models.synth.renderer import Renderer
from models.synth.text_to_speech import RATE, Speaker

AVATAR_SIZE = 512
_LEAD_SECONDS = 0.15


@dataclass(frozen=True)
class Avatar:
    """A bundled portrait: which identity it shows."""

    id: str
    name: str
    identity: int


@dataclass(frozen=True)
class SpeechClip:
    """A bundled recording: what is said, and by which voice."""

    id: str
    name: str
    text: str
    voice: str


AVATARS = (Avatar("ada", "Ada", 20), Avatar("ben", "Ben", 15), Avatar("mira", "Mira", 16))
CLIPS = (
    SpeechClip(
        "hello",
        "Hello",
        "Hello, and welcome! I am a picture that learned to speak. "
        "Send me a voice, and I will move my lips to every word of it.",
        "af_heart",
    ),
    SpeechClip(
        "story",
        "Story",
        "Far above the village, behind a broken bridge, lived a man who mended clocks. "
        "One morning, all of them began to whisper.",
        "bm_george",
    ),
)


def write_avatars(assets: Assets, folder: Path) -> None:
    """Write ``ID.png``, RGB 512x512, and ``avatars.json``, rows of {id, name}."""
    renderer = Renderer(assets, AVATAR_SIZE)
    mouth, motion = np.zeros(len(MOUTH_UNITS), np.float32), np.zeros(len(MOTION), np.float32)
    folder.mkdir(parents=True, exist_ok=True)
    for avatar in console.progress(AVATARS, "avatars"):
        model = renderer.model(draw_look(avatar.identity, assets.lights))
        picture = model.frame(mouth, motion).rgb
        model.release()
        cv2.imwrite(str(folder / f"{avatar.id}.png"), picture[..., ::-1])
    _write_rows(folder / "avatars.json", [{"id": a.id, "name": a.name} for a in AVATARS])


def write_clips(assets: Assets, folder: Path) -> None:
    """Write ``ID.wav``, mono 16 bit 24 kHz, and ``clips.json``, rows of {id, name, text}."""
    speaker = Speaker(assets)
    folder.mkdir(parents=True, exist_ok=True)
    for clip in console.progress(CLIPS, "speech clips"):
        _write_wave(folder / f"{clip.id}.wav", speaker.say(clip.text, clip.voice).audio)
    rows = [{"id": clip.id, "name": clip.name, "text": clip.text} for clip in CLIPS]
    _write_rows(folder / "clips.json", rows)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    parser.add_argument("--assets", type=Path, required=True, help="folder of source files")
    parser.add_argument("--out", type=Path, required=True, help="holds avatars/ and clips/")


def run(args: argparse.Namespace) -> int:
    """Make avatars and clips anew; their licences are kept by hand beside them."""
    try:
        assets = open_assets(args.assets)
    except LiveheadError as error:
        console.warn(str(error))
        return 2
    write_avatars(assets, args.out / "avatars")
    write_clips(assets, args.out / "clips")
    return 0


def _write_wave(path: Path, audio: NDArray[np.float32]) -> None:
    loud = audio * (0.7 / max(float(np.abs(audio).max()), 1e-3))
    heard = np.flatnonzero(np.abs(loud) > 0.01)
    margin = round(_LEAD_SECONDS * RATE)
    cut = loud[max(0, int(heard[0]) - margin) : int(heard[-1]) + margin]
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(np.round(np.clip(cut, -1, 1) * 32767).astype("<i2").tobytes())


def _write_rows(path: Path, rows: list[dict[str, str]]) -> None:
    path.write_text(json.dumps(rows, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    _parser = argparse.ArgumentParser(description="Make the bundled avatars and speech clips.")
    add_arguments(_parser)
    raise SystemExit(run(_parser.parse_args()))
