"""Writes frames with their sound: an mp4 (H.264 and AAC) or, for a README, a small silent GIF."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import av
import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.audio.downmix import Downmix
from models.io.audio import resampled
from models.io.output import AtomicFile, OutputError, told

CRF = 18
AAC_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
"""Rates that are kept as they are; any other becomes the next one above, at most 48 kHz."""
GIF_COLOURS = 96
_AAC_FRAME = 1024
_BITS_PER_SAMPLE = 6
_MAX_BITRATE = 128_000
"""Bit rate of one AAC channel: six bits a sample, capped."""
_PALETTE_FRAMES = 6


class FrameWriter(Protocol):
    """Takes frames in order; a context manager that leaves a complete file or none."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def write(self, frame: NDArray[np.uint8]) -> None:
        """Append one frame, RGB uint8 [H, W, 3]."""
        ...


class Mp4Writer:
    """H.264 4:2:0 at constant quality, with the sound in AAC beside the frames it belongs to.

    Frame n is shown during [n / fps, (n + 1) / fps) of the sound. The sound is written as far as
    the frames reach, and never padded.

    Args:
        path: the file; its folder exists.
        size: (height, width), both even.
        fps: frames per second.
        sound: float32 [N, C], or pieces of it that are taken as they are needed; more than two
            channels are mixed to one.
        rate: of the sound, Hz; another than ``AAC_RATES`` is resampled.

    Raises:
        ValueError: the size is odd.
        OutputError: the file cannot be written; so do ``write`` and the end of the context.
    """

    def __init__(
        self,
        path: Path,
        size: tuple[int, int],
        fps: float,
        sound: NDArray[np.float32] | Iterable[NDArray[np.float32]],
        rate: int,
    ) -> None:
        if size[0] % 2 or size[1] % 2:
            raise ValueError(f"expected an even (height, width), got {size}; crop or pad the frame")
        self.size, self.fps = size, fps
        pieces, self.rate = to_aac_format([sound] if isinstance(sound, np.ndarray) else sound, rate)
        self._sound = _SoundQueue(pieces)
        self.frames = 0
        self._encoded_samples = 0
        self._file = AtomicFile(path)
        with told(path):
            self._container: Any = av.open(
                self._file.url, "w", format="mp4", options={"movflags": "+faststart"}
            )
        self._video = self._add_video()
        self._audio = self._add_audio()

    def _add_video(self) -> Any:
        rate = Fraction(self.fps).limit_denominator(1001)
        stream = self._container.add_stream("libx264", rate=rate)
        stream.height, stream.width = self.size
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = 1 / rate
        stream.options = {
            "crf": str(CRF),
            "preset": "medium",
            # cv2 produces BT.601 limited range; tagged, so that no player guesses
            "colorspace": "smpte170m",
            "color_primaries": "smpte170m",
            "color_trc": "smpte170m",
            "color_range": "tv",
        }
        return stream

    def _add_audio(self) -> Any:
        channels = self._sound.channels
        layout = "stereo" if channels == 2 else "mono"
        stream = self._container.add_stream("aac", rate=self.rate, layout=layout)
        stream.bit_rate = channels * min(_MAX_BITRATE, _BITS_PER_SAMPLE * self.rate)
        stream.codec_context.time_base = Fraction(1, self.rate)
        return stream

    def __enter__(self) -> Self:
        return self

    def write(self, frame: NDArray[np.uint8]) -> None:
        """Append one frame, RGB uint8 [H, W, 3], and the sound up to its end."""
        if frame.shape != (*self.size, 3) or frame.dtype != np.uint8:
            raise ValueError(f"expected uint8 {(*self.size, 3)}, got {frame.dtype} {frame.shape}")
        planes: Any = cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2YUV_I420)
        picture = av.VideoFrame.from_ndarray(planes, format="yuv420p")
        picture.pts = self.frames
        picture.time_base = self._video.codec_context.time_base
        with told(self._file.path):
            self._container.mux(self._video.encode(picture))
            self.frames += 1
            self._encode_sound(round(self.frames / self.fps * self.rate), flush=False)

    def _encode_sound(self, end: int, *, flush: bool) -> None:
        """Encode the sound up to sample ``end`` in AAC frames; a shorter one only on ``flush``."""
        while self._encoded_samples < end and (flush or end - self._encoded_samples >= _AAC_FRAME):
            piece = self._sound.take(min(_AAC_FRAME, end - self._encoded_samples))
            if not len(piece):
                return
            planes, layout = np.ascontiguousarray(piece.T), self._audio.layout.name
            frame = av.AudioFrame.from_ndarray(planes, format="fltp", layout=layout)
            frame.sample_rate = self.rate
            frame.time_base = Fraction(1, self.rate)
            frame.pts = self._encoded_samples
            self._container.mux(self._audio.encode(frame))
            self._encoded_samples += len(piece)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                with told(self._file.path):
                    self._encode_sound(round(self.frames / self.fps * self.rate), flush=True)
                    self._container.mux(self._video.encode(None))
                    self._container.mux(self._audio.encode(None))
                    self._container.close()
                    self._file.keep()
            else:
                with suppress(OutputError), told(self._file.path):  # the first error is told
                    self._container.close()
        finally:
            self._file.drop()


class GifWriter:
    """A looping GIF of every ``step``-th frame, at most ``width`` wide, one small palette."""

    def __init__(self, path: Path, fps: float, *, width: int, step: int = 2) -> None:
        if width < 16 or step < 1:
            raise ValueError(f"expected width >= 16 and step >= 1, got {width} and {step}")
        self.fps, self.width, self.step = fps, width, step
        self.frames = 0
        self._pictures: list[Image.Image] = []
        self._file = AtomicFile(path)

    def __enter__(self) -> Self:
        return self

    def write(self, frame: NDArray[np.uint8]) -> None:
        """Append one frame, RGB uint8 [H, W, 3]; it is left out unless its turn has come."""
        if self.frames % self.step == 0:
            height = max(1, round(frame.shape[0] * self.width / frame.shape[1]))
            picture = Image.fromarray(frame).resize((self.width, height), Image.Resampling.LANCZOS)
            self._pictures.append(picture)
        self.frames += 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None and self._pictures:
                with told(self._file.path):
                    self._save()
                    self._file.keep()
        finally:
            self._file.drop()

    def _save(self) -> None:
        picks = np.linspace(0, len(self._pictures) - 1, _PALETTE_FRAMES).astype(int)
        sample = Image.fromarray(np.concatenate([np.asarray(self._pictures[k]) for k in picks]))
        palette = sample.quantize(GIF_COLOURS, Image.Quantize.MEDIANCUT)
        first, *rest = (
            picture.quantize(palette=palette, dither=Image.Dither.NONE)
            for picture in self._pictures
        )
        first.save(
            self._file.part,
            format="GIF",
            save_all=True,
            append_images=rest,
            duration=round(1000 * self.step / self.fps / 10) * 10,  # GIF counts hundredths
            loop=0,
            optimize=False,
        )


class _SoundQueue:
    """Pieces [n, C] of sound, taken in other pieces."""

    def __init__(self, pieces: Iterator[NDArray[np.float32]]) -> None:
        self._pieces = pieces
        self._held = next(pieces, np.zeros((0, 1), np.float32))
        self.channels = self._held.shape[1]

    def take(self, count: int) -> NDArray[np.float32]:
        """The next ``count`` samples [count, C], fewer at the end."""
        held = [self._held]
        missing = count - len(self._held)
        while missing > 0 and (piece := next(self._pieces, None)) is not None:
            held.append(piece)
            missing -= len(piece)
        sound = np.concatenate(held) if len(held) > 1 else self._held
        self._held = sound[count:]
        return sound[:count]


def to_aac_format(
    pieces: Iterable[NDArray[np.float32]], rate: int
) -> tuple[Iterator[NDArray[np.float32]], int]:
    """Sound that AAC takes: pieces [n, 1 or 2] in [-1, 1], and their rate, one of ``AAC_RATES``."""
    wanted = next((known for known in AAC_RATES if known >= rate), AAC_RATES[-1])
    narrow = _at_most_stereo(pieces, rate)
    if wanted != rate:
        narrow = resampled(narrow, rate, wanted)
    return (np.clip(piece, -1, 1) for piece in narrow), wanted


def _at_most_stereo(
    pieces: Iterable[NDArray[np.float32]], rate: int
) -> Iterator[NDArray[np.float32]]:
    mix: Downmix | None = None
    for piece in pieces:
        if piece.shape[1] > 2:
            mix = mix or Downmix(["FC"] * piece.shape[1], rate)
            piece = mix.push(piece)[:, None]
        yield piece
