"""Units for tests of the client: real H.264 of frames that carry their number, and a sound."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from client_demo.rest import Format
from client_demo.units import ReceivedFrame
from models.fake import FakeGenerator, read_counter
from server.media.av_frame import OUTPUT_RATE

FORMAT = Format(width=256, height=256, fps=25.0, sample_rate=OUTPUT_RATE)
SLICE = 1920


def units(sound: NDArray[np.int16], *, first_index: int = 0) -> Iterator[ReceivedFrame]:
    """One unit for each 40 ms of int16 [N] at 48 kHz, as the fake model shows it."""
    generator = FakeGenerator(chunk_frames=1, lookahead_frames=0)
    stream = generator.open(generator.prepare(np.full((256, 256, 3), 90, np.uint8)))
    encoder = av.CodecContext.create("libx264", "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = 256, 256, "yuv420p"
    encoder.framerate = Fraction(25)
    encoder.options = {"preset": "ultrafast", "tune": "zerolatency", "g": "25"}
    for k in range(len(sound) // SLICE):
        piece = sound[k * SLICE : (k + 1) * SLICE]
        heard = (piece[::3] / 32_768).astype(np.float32)
        picture = av.VideoFrame.from_ndarray(generator.generate([stream], [heard])[0][0], "rgb24")
        picture.pts = k
        (packet,) = encoder.encode(picture.reformat(format="yuv420p"))
        yield ReceivedFrame(
            epoch=0,
            index=first_index + k,
            keyframe=bool(packet.is_keyframe),
            speaking=True,
            is_jpeg=False,
            picture=bytes(packet),
            pcm=piece.tobytes(),
        )


def read_pictures(path: Path) -> tuple[list[float], list[int], list[bool]]:
    """Of each frame in a file: its time in seconds, its number, whether it flashes."""
    times, numbers, flashes = [], [], []
    with av.open(str(path)) as file:
        for frame in file.decode(video=0):
            picture = frame.to_ndarray(format="rgb24").astype(np.uint8)
            times.append(float(frame.time or 0))
            numbers.append(read_counter(picture))
            flashes.append(bool(picture[-20].mean() > 127))
    return times, numbers, flashes


def read_sound(path: Path) -> NDArray[np.float32]:
    """A file's sound, float32 [N] at its own rate, from time zero."""
    with av.open(str(path)) as file:
        frames = list(file.decode(audio=0))
    start = round(float(frames[0].time or 0) * frames[0].sample_rate)
    whole = np.concatenate([frame.to_ndarray()[0] for frame in frames])
    return np.concatenate([np.zeros(start, np.float32), whole])


def onsets(loud: NDArray[np.bool_], quiet: int) -> list[int]:
    """Where something begins that was absent for ``quiet`` places before."""
    places = np.flatnonzero(loud)
    before = np.diff(places, prepend=-quiet - 1)
    return [int(place) for place in places[before > quiet]]
