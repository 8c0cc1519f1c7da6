"""Writes received AV frames to an MP4: the H.264 as it came, the sound as AAC, on one clock."""

from __future__ import annotations

from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import av
import numpy as np
from numpy.typing import NDArray

from client_demo.frames import ReceivedFrame
from client_demo.rest import Format
from models.io.output import AtomicFile, OutputError, told

LAYOUT = "mono"


class SavedRecording:
    """An MP4 being written; frame ``index`` of the session stands at ``index / fps``.

    The first keyframe is time zero. Frames that never came leave the picture standing and the
    sound silent for as long, so that what follows stays in sync. Use as a context manager.
    """

    def __init__(self, path: Path, format: Format) -> None:
        """Open the file; ``format`` is the session's.

        Raises:
            OutputError: the file cannot be written; so do ``add`` and ``close``.
        """
        self.frames = 0
        self._format = format
        self._per_frame = round(format.sample_rate / format.fps)
        self._first: int | None = None
        self._next = 0
        self._whole = AtomicFile(path)
        with told(path):
            self._file = av.open(
                self._whole.url, "w", format="mp4", options={"movflags": "faststart"}
            )
        self._tick = Fraction(1) / Fraction(format.fps).limit_denominator(1001)
        self._picture = self._file.add_mux_stream(
            "h264", width=format.width, height=format.height, time_base=self._tick
        )
        self._sound = self._file.add_stream("aac", rate=format.sample_rate, layout=LAYOUT)

    def __enter__(self) -> Self:
        """The recording itself: its file is open already."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Finish the file; after an error none is left."""
        try:
            if kind is None:
                self.close()
            else:
                with suppress(OutputError), told(self._whole.path):
                    self._file.close()
        finally:
            self._whole.drop()

    @property
    def seconds(self) -> float:
        """Length of what is written."""
        return self._next / self._format.fps

    def add(self, frame: ReceivedFrame) -> None:
        """Append a frame; those before the first keyframe are passed over.

        Raises:
            ValueError: its picture is a JPEG.
        """
        if frame.is_jpeg:
            raise ValueError(
                "expected H.264 frames, got a JPEG; open the session with video='h264'"
            )
        if self._first is None:
            if not frame.keyframe:
                return
            self._first = frame.index
        position = frame.index - self._first
        if position < self._next:
            return  # the same frame again
        with told(self._whole.path):
            self._silence(position - self._next)
            self._mux_picture(frame, position)
            self._mux_sound(np.frombuffer(frame.pcm, "<i2"), position)
        self._next = position + 1
        self.frames += 1

    def close(self) -> None:
        """Write what is left and the index; the file is then complete, or none if it is empty."""
        with told(self._whole.path):
            if self.frames:
                self._file.mux(self._sound.encode(None))
            self._file.close()
            if self.frames:
                self._whole.keep()

    def _silence(self, frames: int) -> None:
        for position in range(self._next, self._next + frames):
            self._mux_sound(np.zeros(self._per_frame, np.int16), position)

    def _mux_picture(self, frame: ReceivedFrame, position: int) -> None:
        packet = av.Packet(frame.picture)
        packet.stream = self._picture
        packet.time_base = self._tick
        packet.pts = packet.dts = position
        packet.duration = 1
        packet.is_keyframe = frame.keyframe
        self._file.mux(packet)

    def _mux_sound(self, samples: NDArray[np.int16], position: int) -> None:
        frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout=LAYOUT)
        frame.sample_rate = self._format.sample_rate
        frame.time_base = Fraction(1, self._format.sample_rate)
        frame.pts = position * self._per_frame
        self._file.mux(self._sound.encode(frame))
