"""Reads the sound of any common audio or video file: for the model, and as it was for muxing."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import numpy as np
import soxr
from numpy.typing import NDArray

from models.audio import SAMPLE_RATE
from models.errors import AudioError

MAX_SECONDS = 1800.0
"""Longest file that is read unless the caller says otherwise; bounds memory."""
_DEMUXERS = "wav,w64,aiff,au,caf,mp3,aac,mov,ogg,flac,matroska"
"""Containers that hold their own sound; playlists, which name other files, are not among them."""

_log = logging.getLogger(__name__)


def read_speech(
    path: Path | str, rate: int = SAMPLE_RATE, *, max_seconds: float = MAX_SECONDS
) -> NDArray[np.float32]:
    """The first sound track of a file, mixed to mono and resampled.

    Args:
        path: wav, mp3, m4a, ogg, flac, webm, mov ...; any sample rate and channel count.
        rate: wanted sample rate, Hz.
        max_seconds: refuse what is longer.

    Returns:
        float32 [N] in [-1, 1].

    Raises:
        AudioError: ``bad_audio`` (unreadable), ``empty_audio`` or ``audio_too_long``.
    """
    sound, original_rate = read_original(path, max_seconds=max_seconds)
    mono = sound.mean(1, dtype=np.float32)
    if original_rate != rate:
        mono = np.asarray(soxr.resample(mono, original_rate, rate), np.float32)
    if mono.size == 0:
        raise _empty(Path(path))
    limited: NDArray[np.float32] = np.clip(mono, -1, 1)
    return limited


def read_original(
    path: Path | str, *, max_seconds: float = MAX_SECONDS
) -> tuple[NDArray[np.float32], int]:
    """The first sound track of a file, untouched: float32 [N, C] and its sample rate in Hz.

    Raises:
        AudioError: ``bad_audio`` (unreadable), ``empty_audio`` or ``audio_too_long``.
    """
    path = Path(path)
    parts: list[NDArray[np.float32]] = []
    rate, seconds = 0, 0.0
    with _opened(path) as container:
        for rate, part in _decoded(container, path):
            parts.append(part)
            seconds += len(part) / rate
            if seconds > max_seconds:
                raise AudioError(
                    f"expected at most {max_seconds:g} s of sound, got more in {path.name};"
                    " cut the file",
                    code="audio_too_long",
                )
    sound = np.concatenate(parts) if parts else np.zeros((0, 1), np.float32)
    if sound.size == 0:
        raise _empty(path)
    if not np.isfinite(sound).all():
        raise _bad(path, "samples that are not finite")
    return sound, rate


@contextmanager
def _opened(path: Path) -> Iterator[av.container.InputContainer]:
    try:
        with (
            path.open("rb") as file,
            av.open(file, mode="r", options={"format_whitelist": _DEMUXERS}) as container,
        ):
            if not container.streams.audio:
                raise _bad(path, "a file without a sound track")
            yield container
    except (OSError, av.FFmpegError, ValueError) as error:  # FFmpeg's own may be of either kind
        # Their texts hold numbers and whole paths; what a person needs is the reason alone.
        raise _bad(path, getattr(error, "strerror", None) or type(error).__name__) from error


def _decoded(
    container: av.container.InputContainer, path: Path
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Pairs of rate and float32 [n, C]; damaged packets are left out and counted in the log."""
    damaged = 0
    planar: av.AudioResampler | None = None
    layout = ""
    for packet in container.demux(container.streams.audio[0]):
        try:
            frames = packet.decode()
        except av.error.InvalidDataError:
            damaged += 1
            continue
        for frame in frames:
            if planar is None:
                layout = frame.layout.name
                planar = av.AudioResampler(format="fltp", layout=layout, rate=frame.sample_rate)
            elif frame.layout.name != layout or frame.sample_rate != planar.rate:
                raise _bad(path, "a sample rate or channel count that changes inside the file")
            for converted in planar.resample(frame):
                yield frame.sample_rate, converted.to_ndarray().astype(np.float32).T
    if damaged:
        _log.warning("left out %d damaged packets of a sound file", damaged)


def _bad(path: Path, got: str) -> AudioError:
    return AudioError(
        f"expected a readable sound file (wav, mp3, m4a, ogg, flac, webm), got {got}"
        f" from {path.name}; convert it to wav and try again",
        code="bad_audio",
    )


def _empty(path: Path) -> AudioError:
    return AudioError(
        f"expected sound, got no samples from {path.name}; send a file with speech in it",
        code="empty_audio",
    )
