"""Writes the files of a clip that ``models.dataset.clips`` reads."""

from __future__ import annotations

import json
import wave
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from models.audio import SAMPLE_RATE
from models.dataset.clips import FPS

PORTRAIT_QUALITY = 97


def write_audio(path: Path, audio: NDArray[np.float32]) -> None:
    """Write mono float32 [S] in [-1, 1] as 16 kHz, 16 bit."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes(np.round(np.clip(audio, -1, 1) * 32767).astype("<i2").tobytes())


def write_portrait(folder: Path, picture: NDArray[np.uint8]) -> None:
    """Write the whole portrait, RGB uint8 [H, W, 3], into a clip's folder."""
    options = [cv2.IMWRITE_JPEG_QUALITY, PORTRAIT_QUALITY]
    coded = cv2.imencode(".jpg", picture[..., ::-1], options)[1]
    (folder / "portrait.jpg").write_bytes(coded.tobytes())


def to_cover(share: NDArray[np.float32]) -> NDArray[np.uint8]:
    """A cover in [0, 1] (``models.face.window.face_cover``) as a clip keeps it, uint8."""
    return (share * 255 + 0.5).astype(np.uint8)


def finish_clip(folder: Path, record: Mapping[str, Any]) -> None:
    """Write ``meta.json``, which says that the clip is complete: the last step."""
    content = {**record, "fps": FPS, "complete": True}
    scratch = folder / "meta.part"
    scratch.write_text(json.dumps(content, indent=1), encoding="utf-8")
    scratch.rename(folder / "meta.json")
