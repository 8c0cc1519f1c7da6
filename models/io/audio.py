"""Reads the sound of any audio or video file as players play it, piece by piece.

Memory holds one decoded piece, and what a caller collects: a file is decoded anew each time its
sound is wanted. Rate, layout and codec may change inside it (joined files do); every stretch of one
form is mixed and resampled by itself. What cannot be read twice, a pipe, is kept in a temporary
file of at most ``MAX_PIPE_BYTES``.
"""

from __future__ import annotations

import logging
import math
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from functools import cache
from itertools import groupby, islice
from pathlib import Path
from typing import IO, NamedTuple, Self

import av
import numpy as np
import soxr
from numpy.typing import NDArray

from models.audio import SAMPLE_RATE
from models.audio.downmix import Downmix
from models.errors import AudioError

MAX_SECONDS = 1800.0
"""Longest file that is read unless the caller says otherwise; bounds memory."""
MAX_PIPE_BYTES = 2**30
BEGINNING_FRAMES = 8
STANDARD_INPUT = Path("-")
NAMING = frozenset({"concat", "dash", "hls", "imf", "sdp", "vobsub", "webm_dash_manifest"})
"""FFmpeg's formats that hold no sound but name other files, which nobody may read through them."""

_log = logging.getLogger(__name__)


def read_speech(
    path: Path | str, rate: int = SAMPLE_RATE, *, max_seconds: float = MAX_SECONDS
) -> NDArray[np.float32]:
    """The sound of a file, mixed to mono (``models.audio.downmix``) and resampled.

    Args:
        path: wav, mp3, m4a, ogg, flac, webm, mov ..., whatever FFmpeg reads, at any sample rate and
            channel count; a pipe; or ``-`` for standard input.
        rate: wanted sample rate, Hz.
        max_seconds: refuse what is longer.

    Returns:
        float32 [N] in [-1, 1], N the sound's duration times ``rate``, rounded up.

    Raises:
        AudioError: ``bad_audio`` (unreadable), ``empty_audio`` or ``audio_too_long``.
    """
    with SoundFile(path, max_seconds=max_seconds) as file:
        return file.speech(rate)


class _Form(NamedTuple):
    """How a stretch of a file is sampled: Hz, and FFmpeg's names of the channels."""

    rate: int
    channels: tuple[str, ...]


class SoundFile:
    """A file with sound; a context manager.

    Attributes:
        rate: of the sound's beginning, Hz.
        channels: 2 where it begins as stereo, else 1: surround sound is mixed to mono.
    """

    def __init__(self, path: Path | str, *, max_seconds: float = MAX_SECONDS) -> None:
        """Open it and decode its beginning.

        Raises:
            AudioError: ``bad_audio`` (unreadable) or ``empty_audio``.
        """
        self.name = "standard input" if Path(path) == STANDARD_INPUT else Path(path).name
        self._max_seconds = max_seconds
        with ExitStack() as opened:
            self._file = self._opened(Path(path), opened)
            # The very first frame may carry the form of a file's end, where forms change inside.
            forms = Counter(form for form, _ in islice(self._decoded(), BEGINNING_FRAMES))
            if not forms:
                raise self._empty()
            form = forms.most_common(1)[0][0]
            self.rate, self.channels = form.rate, 2 if len(form.channels) == 2 else 1
            self._close = opened.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close.close()

    def speech(self, rate: int = SAMPLE_RATE) -> NDArray[np.float32]:
        """All of it in mono: float32 [N] in [-1, 1], N its duration times ``rate``, rounded up.

        Raises:
            AudioError: ``bad_audio`` or ``audio_too_long``.
        """
        values, seconds = bytearray(), [Fraction(0)]  # bytes grow without a second copy
        for piece in self.pieces(rate, 1, seconds):
            values += np.ascontiguousarray(piece).data.cast("B") if piece.size else b""
        size = 4 * math.ceil(seconds[0] * rate)
        del values[size:]
        values += bytes(size - len(values))
        mono = np.frombuffer(values, np.float32)
        return np.clip(mono, -1, 1, out=mono)

    def pieces(
        self, rate: int = 0, channels: int = 0, seconds: list[Fraction] | None = None
    ) -> Iterator[NDArray[np.float32]]:
        """All of it from its beginning, in pieces, as one form.

        Args:
            rate: Hz; that of the beginning if 0.
            channels: 1 or 2; those of the beginning if 0.
            seconds: its item grows by the duration of what was read.

        Yields:
            float32 [n, channels].

        Raises:
            AudioError: ``bad_audio`` or ``audio_too_long``.
        """
        rate, channels = rate or self.rate, channels or self.channels
        for form, stretch in groupby(self._bounded(seconds), lambda piece: piece[0]):
            mixed = _mixed((sound for _, sound in stretch), form, channels)
            yield from mixed if form.rate == rate else resampled(mixed, form.rate, rate)

    def _bounded(
        self, seconds: list[Fraction] | None
    ) -> Iterator[tuple[_Form, NDArray[np.float32]]]:
        """The decoded sound, if it is finite and not too long."""
        seconds = [Fraction(0)] if seconds is None else seconds
        for form, sound in self._decoded():
            seconds[0] += Fraction(len(sound), form.rate)
            if seconds[0] > self._max_seconds:
                raise AudioError(
                    f"expected at most {self._max_seconds:g} s of sound, got more in {self.name};"
                    " cut the file",
                    code="audio_too_long",
                )
            if not np.isfinite(sound).all():
                raise self._bad("samples that are not finite")
            yield form, sound

    def _decoded(self) -> Iterator[tuple[_Form, NDArray[np.float32]]]:
        """Forms and float32 [n, C]; damaged packets are left out and counted in the log."""
        damaged, found = 0, False
        with self._container() as container:
            packed: tuple[_Form, av.AudioResampler] | None = None
            packets = container.demux(container.streams.best("audio") or container.streams.audio[0])
            while True:
                try:
                    packet = next(packets, None)
                    frames = [] if packet is None else packet.decode()
                except av.FFmpegError:
                    damaged += 1
                    continue
                if packet is None:
                    break
                for frame in frames:
                    assert isinstance(frame, av.AudioFrame)
                    form = _form(frame)
                    if packed is None or packed[0] != form:
                        # Packed, since PyAV 18 reads beyond 8 or more planes and crashes.
                        packed = form, av.AudioResampler("flt", frame.layout, form.rate)
                    for converted in packed[1].resample(frame):
                        found = True
                        sound = converted.to_ndarray().astype(np.float32, copy=False)
                        yield form, sound.reshape(-1, len(form.channels))
        if damaged and not found:
            raise self._bad(
                "a sound track that is damaged or of a kind that FFmpeg does not decode"
            )
        if damaged:
            _log.warning("left out %d damaged packets of a sound file", damaged)

    @contextmanager
    def _container(self) -> Iterator[av.container.InputContainer]:
        try:
            self._file.seek(0)
            options = {"format_whitelist": _formats(), "protocol_whitelist": "none"}
            with av.open(self._file, mode="r", options=options) as container:
                if not container.streams.audio:
                    raise self._bad("a file without a sound track")
                yield container
        except av.error.InvalidDataError as error:
            raise self._bad("bytes that are damaged or no sound at all") from error
        except av.error.ArgumentError as error:
            raise self._bad("a playlist, or what else holds no sound of its own") from error
        except (OSError, av.FFmpegError, ValueError) as error:  # FFmpeg's own may be either
            # Their texts hold numbers and whole paths; what a person needs is the reason alone.
            raise self._bad(getattr(error, "strerror", None) or type(error).__name__) from error

    def _opened(self, path: Path, opened: ExitStack) -> IO[bytes]:
        """The file, or a copy of what can be read only once."""
        try:
            file: IO[bytes]
            if path != STANDARD_INPUT:
                file = opened.enter_context(path.open("rb"))
            elif sys.stdin is not None:
                file = sys.stdin.buffer
            else:
                raise self._bad("nothing to read")
            return file if file.seekable() else opened.enter_context(self._copied(file))
        except OSError as error:
            raise self._bad(error.strerror or type(error).__name__) from error

    def _copied(self, pipe: IO[bytes]) -> IO[bytes]:
        with ExitStack() as opened:
            copy = opened.enter_context(tempfile.TemporaryFile())
            while block := pipe.read(2**20):
                if copy.tell() + len(block) > MAX_PIPE_BYTES:
                    raise AudioError(
                        f"expected at most {MAX_PIPE_BYTES} bytes from a pipe, got more from"
                        f" {self.name}; save the sound and name the file",
                        code="audio_too_long",
                    )
                copy.write(block)
            opened.pop_all()
        return copy

    def _bad(self, got: str) -> AudioError:
        return AudioError(
            f"expected a readable sound file (wav, mp3, m4a, ogg, flac, webm ...), got {got}"
            f" from {self.name}; convert it to wav and try again",
            code="bad_audio",
        )

    def _empty(self) -> AudioError:
        return AudioError(
            f"expected sound, got no samples from {self.name}; send a file with speech in it",
            code="empty_audio",
        )


def resampled(
    pieces: Iterable[NDArray[np.float32]], rate: int, wanted: int
) -> Iterator[NDArray[np.float32]]:
    """Pieces [n, C] at another rate, Hz; together they give what the whole sound would."""
    stream: soxr.ResampleStream | None = None
    for piece in pieces:
        if stream is None:
            stream = soxr.ResampleStream(rate, wanted, piece.shape[1], dtype="float32")
        yield stream.resample_chunk(piece)
    if stream is not None:
        yield stream.resample_chunk(piece[:0], last=True)


def _mixed(
    stretch: Iterable[NDArray[np.float32]], form: _Form, channels: int
) -> Iterator[NDArray[np.float32]]:
    """Sound of one form as [n, channels]: itself, or its mix in every channel."""
    mix = Downmix(form.channels, form.rate)
    for sound in stretch:
        if len(form.channels) == channels:
            yield sound
        else:
            yield np.repeat(mix.push(sound)[:, None], channels, 1)


def _form(frame: av.AudioFrame) -> _Form:
    return _Form(frame.sample_rate, tuple(channel.name for channel in frame.layout.channels))


@cache
def _formats() -> str:
    """FFmpeg's names of the formats that are files with sound of their own."""
    devices = {"lavfi"}
    for name in av.formats_available:
        try:
            if av.ContainerFormat(name, "r").no_file:
                devices.add(name)
        except ValueError:  # a format that is only written
            devices.add(name)
    return ",".join(sorted(av.formats_available - devices - NAMING))
