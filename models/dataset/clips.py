"""Reads finished clips from disk and checks their shapes."""

from __future__ import annotations

import json
import wave
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from models.audio import SAMPLE_RATE
from models.dataset.frames import Frames
from models.errors import LiveheadError
from models.face.window import COVER_SIDE, SIDE
from models.io.image import load_image
from models.mini.motion import MOTION, MOUTH_UNITS

FPS = 25
FRAME_SAMPLES = SAMPLE_RATE // FPS
Split = Literal["train", "held_out"]
PHONEME_DELAY = 0.065
"""Seconds by which the phoneme times in ``speech.json`` are late."""
BILABIALS = "pbm"
"""Phonemes that close the lips."""
TRACKS = ("mouth", "motion", "mouth_xy", "eyes_xy", "neutral", "photo", "cover", "window")
"""Arrays of ``track.npz``, which may hold more."""


class ClipError(LiveheadError):
    """Raised when a clip is missing, unfinished or misshapen (``bad_clip``)."""

    def __init__(self, message: str) -> None:
        super().__init__(message, code="bad_clip")


@dataclass(frozen=True)
class Clip:
    """One speaking identity: T pictures of its face window; audio and tracks may be longer (N).

    The head keeps the pose of the portrait; only the face moves.

    Attributes:
        path: the clip's folder.
        video: RGB uint8 [T, 256, 256, 3], decoded when read.
        cover: where skin may move (``models.face.window.face_cover``), uint8 [64, 64].
        audio: mono float32 in [-1, 1] at 16 kHz; frame f is samples [640 f, 640 (f + 1)).
        mouth: float32 [N, 13], columns ``models.mini.motion.MOUTH_UNITS``.
        motion: float32 [N, 7], columns ``models.mini.motion.MOTION``.
        mouth_xy: centre of the mouth, float32 [T, 2], window pixels (x, y).
        eyes_xy: centres of the picture's left and right eye, float32 [T, 4], window pixels.
        neutral: lips closed and eyes open, RGB uint8 [256, 256, 3].
        photo: the portrait as a session sees it, in the window, RGB uint8 [256, 256, 3].
        window: from pixels of ``portrait`` to window pixels, float64 [2, 3].
        meta: the content of ``meta.json``: split, identity_seed, voice, speed, fps, ...
    """

    path: Path
    video: Frames
    cover: NDArray[np.uint8]
    audio: NDArray[np.float32]
    mouth: NDArray[np.float32]
    motion: NDArray[np.float32]
    mouth_xy: NDArray[np.float32]
    eyes_xy: NDArray[np.float32]
    neutral: NDArray[np.uint8]
    photo: NDArray[np.uint8]
    window: NDArray[np.float64]
    meta: dict[str, Any]

    @property
    def name(self) -> str:
        """The name of the clip's folder, which is its number."""
        return self.path.name

    @property
    def frames(self) -> int:
        """T, the number of video frames."""
        return len(self.video)

    @cached_property
    def portrait(self) -> NDArray[np.uint8]:
        """The whole portrait, RGB uint8 [H, W, 3].

        Raises:
            LiveheadError: its file is missing or damaged.
        """
        return load_image((self.path / "portrait.jpg").read_bytes())


def list_clips(data_dir: Path, split: Split | None = None) -> list[Path]:
    """Folders of finished clips in order of their numbers, of one split or of both.

    Raises:
        ClipError: the folder holds no ``clips``.
    """
    root = Path(data_dir) / "clips"
    if not root.is_dir():
        raise ClipError(
            f"expected a data folder with clips/ inside, got {data_dir}; "
            "make one with `livehead data photos` or `livehead data synth`"
        )
    finished = [folder for folder in sorted(root.iterdir()) if is_finished(folder)]
    if split is None:
        return finished
    return [folder for folder in finished if read_meta(folder).get("split") == split]


def is_finished(folder: Path) -> bool:
    """Whether ``meta.json``, the file written last, exists and says complete."""
    try:
        return read_meta(folder).get("complete") is True
    except ClipError:
        return False


def read_meta(folder: Path) -> dict[str, Any]:
    """Read a clip's ``meta.json``.

    Raises:
        ClipError: the file is missing or unreadable, so the clip is not finished.
    """
    path = Path(folder) / "meta.json"
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ClipError(
            f"{folder}: expected a finished clip, got none or a broken meta.json; "
            "run `livehead data` again, it resumes"
        ) from error
    if not isinstance(record, dict):
        raise ClipError(f"{path}: expected a JSON object, got {type(record).__name__}")
    return record


def fingerprint(folder: Path) -> str:
    """Hash of a clip's content: equal for copies, different once a clip is written again."""
    digest = sha256()
    for name in ("meta.json", "track.npz", "audio.wav"):
        digest.update((folder / name).read_bytes())
    digest.update(str((folder / "video.npz").stat().st_size).encode())
    return digest.hexdigest()


def load_clip(path: Path) -> Clip:
    """Open one finished clip; pictures are decoded when they are read.

    Raises:
        ClipError: the clip is unfinished, a file is missing, or shapes disagree.
    """
    path = Path(path)
    meta = read_meta(path)
    if meta.get("complete") is not True:
        raise ClipError(f"{path}: expected a finished clip, got complete={meta.get('complete')!r}")
    try:
        video = Frames(path / "video.npz")
        with np.load(path / "track.npz") as archive:
            track = {name: archive[name] for name in TRACKS}
        audio = read_audio(path / "audio.wav")
    except (OSError, ValueError, KeyError, EOFError, wave.Error) as error:
        raise ClipError(f"{path}: a file is missing or unreadable ({error})") from error
    clip = Clip(path=path, video=video, audio=audio, meta=meta, **track)
    _check(clip)
    return clip


def read_audio(path: Path) -> NDArray[np.float32]:
    """Read mono sound of 16 kHz and 16 bit as float32 [S] in [-1, 1].

    Raises:
        ClipError: it has another format.
        OSError, EOFError, wave.Error: the file is missing or damaged.
    """
    with wave.open(str(path), "rb") as file:
        audio_format = (file.getframerate(), file.getnchannels(), file.getsampwidth())
        if audio_format != (SAMPLE_RATE, 1, 2):
            raise ClipError(f"{path}: expected 16 kHz, mono, 16 bit; got {audio_format}")
        data = file.readframes(file.getnframes())
    return np.frombuffer(data, "<i2").astype(np.float32) / 32768.0


def _check(clip: Clip) -> None:
    frames = clip.frames
    count = clip.mouth.shape[0] if clip.mouth.ndim else 0
    expected: dict[str, tuple[tuple[int, ...], type[np.generic]]] = {
        "cover": ((COVER_SIDE, COVER_SIDE), np.uint8),
        "mouth": ((count, len(MOUTH_UNITS)), np.float32),
        "motion": ((count, len(MOTION)), np.float32),
        "mouth_xy": ((frames, 2), np.float32),
        "eyes_xy": ((frames, 4), np.float32),
        "neutral": ((SIDE, SIDE, 3), np.uint8),
        "photo": ((SIDE, SIDE, 3), np.uint8),
        "window": ((2, 3), np.float64),
    }
    for name, (shape, dtype) in expected.items():
        array = getattr(clip, name)
        if array.shape != shape or array.dtype != dtype:
            raise ClipError(
                f"{clip.path}: expected {name} {np.dtype(dtype).name} {list(shape)}, "
                f"got {array.dtype} {list(array.shape)}"
            )
    if clip.video.shape[1:] != (SIDE, SIDE, 3):
        raise ClipError(f"{clip.path}: expected pictures of {SIDE}x{SIDE}, got {clip.video.shape}")
    if not 0 < frames <= count:
        raise ClipError(f"{clip.path}: expected a track for all {frames} frames, got {count}")
    if clip.audio.shape[0] != count * FRAME_SAMPLES:
        raise ClipError(
            f"{clip.path}: expected {count * FRAME_SAMPLES} audio samples for {count} track "
            f"frames, got {clip.audio.shape[0]}"
        )
