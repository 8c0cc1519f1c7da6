"""Reads a person's video: upright frames at 25 per second, and the sound that belongs to them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from models.audio import SAMPLE_RATE
from models.dataset.clips import FPS, FRAME_SAMPLES
from models.errors import AudioError, LiveheadError
from models.io.audio import read_speech

MIN_SECONDS = 8.0
MAX_SECONDS = 1800.0
MAX_SIDE = 1280
"""Larger frames are shrunk; a face window has 256 pixels."""
SILENCE = 10 ** (-55 / 20)
"""Root mean square of a sound in which nobody speaks."""


class FootageError(LiveheadError):
    """Raised when a video cannot teach a person.

    Codes: ``bad_video``, ``no_sound``, ``too_short``, ``no_face``, ``several_faces``,
    ``too_few_frames``.
    """


@dataclass(frozen=True)
class Footage:
    """A video of T frames.

    Attributes:
        path: the file.
        sound: mono float32 [T * 640] at 16 kHz; frame f is samples [640 f, 640 (f + 1)).
    """

    path: Path
    sound: NDArray[np.float32]

    @property
    def length(self) -> int:
        """T, the number of frames."""
        return len(self.sound) // FRAME_SAMPLES

    def frames(self) -> Iterator[NDArray[np.uint8]]:
        """Decode the frames one after the other, RGB uint8 [H, W, 3]; the last may be repeated."""
        count = 0
        last: NDArray[np.uint8] | None = None
        for last in _evenly(self.path):
            if count == self.length:
                return
            yield last
            count += 1
        while last is not None and count < self.length:
            yield last
            count += 1


def read_footage(path: Path) -> Footage:
    """Open a video and read its sound.

    Raises:
        FootageError: ``bad_video``, ``no_sound`` or ``too_short``.
    """
    seconds, delay = _measure(path)
    if seconds < MIN_SECONDS:
        raise FootageError(
            f"expected at least {MIN_SECONDS:g} s of video, got {seconds:.1f} s of {path.name};"
            " a minute or more of speech is better",
            code="too_short",
        )
    if seconds > MAX_SECONDS:
        raise FootageError(
            f"expected at most {MAX_SECONDS:g} s of video, got {seconds:.0f} s of {path.name};"
            " cut it",
            code="bad_video",
        )
    try:
        sound = read_speech(path, max_seconds=MAX_SECONDS + 60)
    except AudioError as error:
        raise _without_sound(path, "no sound track that can be read") from error
    lead = round(delay * SAMPLE_RATE)
    sound = np.pad(sound, (lead, 0)) if lead > 0 else sound[-lead:]
    samples = int(seconds * FPS) * FRAME_SAMPLES
    sound = np.pad(sound[:samples], (0, max(0, samples - len(sound)))).astype(np.float32)
    if float(np.sqrt((sound.astype(np.float64) ** 2).mean())) < SILENCE:
        raise _without_sound(path, "silence")
    return Footage(path, sound)


def _without_sound(path: Path, got: str) -> FootageError:
    return FootageError(
        f"expected a video in which the person is heard, got {got} in {path.name};"
        " film again with the microphone on",
        code="no_sound",
    )


def _measure(path: Path) -> tuple[float, float]:
    """Length of the video, and by how much its sound begins later, seconds."""
    with _Opened(path) as container:
        video = container.streams.video[0]
        first, end = None, 0.0
        for packet in container.demux(video):
            if packet.pts is not None:
                at = float(packet.pts * video.time_base)
                first = at if first is None else min(first, at)
                end = max(end, at + float((packet.duration or 0) * video.time_base))
        if first is None:
            raise _unreadable(path, "no frames")
        delay = 0.0
        if container.streams.audio:
            audio = container.streams.audio[0]
            delay = float((audio.start_time or 0) * audio.time_base) - first
        return end - first, delay


def _evenly(path: Path) -> Iterator[NDArray[np.uint8]]:
    """The frame nearest to every 25th of a second."""
    with _Opened(path) as container:
        stream = container.streams.video[0]
        stream.thread_type = "SLICE"
        start: Fraction | None = None
        previous: Any = None
        next_at, previous_at = 0.0, 0.0
        for frame in container.decode(stream):
            if frame.pts is None:
                continue
            start = start if start is not None else frame.pts * stream.time_base
            at = float(frame.pts * stream.time_base - start)
            picture: NDArray[np.uint8] | None = None
            while previous is not None and next_at < (previous_at + at) / 2:
                picture = _upright(previous) if picture is None else picture
                yield picture
                next_at += 1 / FPS
            previous, previous_at = frame, at
        if previous is not None:
            yield _upright(previous)


def _upright(frame: Any) -> NDArray[np.uint8]:
    """RGB, turned as the camera was held, at most ``MAX_SIDE`` long."""
    shrink = min(1.0, MAX_SIDE / max(frame.width, frame.height))
    size = (round(frame.width * shrink), round(frame.height * shrink))
    picture = frame.to_ndarray(format="rgb24", width=size[0], height=size[1])
    turned = np.rot90(picture, round((frame.rotation or 0) / 90) % 4)
    return np.ascontiguousarray(turned)


class _Opened:
    """A container with a video track, or one line on why not."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> Any:
        try:
            self._container = av.open(str(self.path))
        except (OSError, av.FFmpegError, ValueError) as error:
            raise _unreadable(
                self.path, getattr(error, "strerror", None) or type(error).__name__
            ) from error
        if not self._container.streams.video:
            self._container.close()
            raise _unreadable(self.path, "no video track")
        return self._container

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._container.close()
        if isinstance(error, av.FFmpegError):
            raise _unreadable(self.path, error.strerror or type(error).__name__) from error


def _unreadable(path: Path, got: str) -> FootageError:
    return FootageError(
        f"expected a readable video (mp4, mov, webm, mkv), got {got} from {path.name};"
        " convert it to mp4 and try again",
        code="bad_video",
    )
