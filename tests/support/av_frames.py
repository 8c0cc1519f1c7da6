"""AV frames for tests of the client: H.264 of pictures that show their number, and beeps."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from client_demo.frames import ReceivedFrame
from client_demo.rest import Format
from models.fake import FakeGenerator, read_counter
from server.media.av_frame import OUTPUT_RATE

FORMAT = Format(width=256, height=256, fps=25.0, sample_rate=OUTPUT_RATE)
SLICE = 1920  # samples in a frame of 40 ms


def encode_frames(pcm: NDArray[np.int16], *, first_index: int = 0) -> Iterator[ReceivedFrame]:
    """One AV frame for each 40 ms of int16 [N] at 48 kHz, with the fake model's picture."""
    generator = FakeGenerator(chunk_frames=1, lookahead_frames=0)
    stream = generator.open(generator.prepare(np.full((256, 256, 3), 90, np.uint8)))
    encoder = av.CodecContext.create("libx264", "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = 256, 256, "yuv420p"
    encoder.framerate = Fraction(25)
    encoder.options = {"preset": "ultrafast", "tune": "zerolatency", "g": "25"}
    for k in range(len(pcm) // SLICE):
        piece = pcm[k * SLICE : (k + 1) * SLICE]
        audio = (piece[::3] / 32_768).astype(np.float32)
        picture = av.VideoFrame.from_ndarray(generator.generate([stream], [audio])[0][0], "rgb24")
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


def read_video(path: Path) -> tuple[list[float], list[int], list[bool]]:
    """Times in seconds, counters, and whether it flashes, of each frame in a file."""
    times, numbers, flashes = [], [], []
    with av.open(str(path)) as file:
        for frame in file.decode(video=0):
            picture = frame.to_ndarray(format="rgb24").astype(np.uint8)
            times.append(float(frame.time or 0))
            numbers.append(read_counter(picture))
            flashes.append(bool(picture[-20].mean() > 127))
    return times, numbers, flashes


def read_audio(path: Path) -> NDArray[np.float32]:
    """The sound of a file, float32 [N] at its own rate, with silence before its first sample."""
    with av.open(str(path)) as file:
        frames = list(file.decode(audio=0))
    start = round(float(frames[0].time or 0) * frames[0].sample_rate)
    samples = np.concatenate([frame.to_ndarray()[0] for frame in frames])
    return np.concatenate([np.zeros(start, np.float32), samples])


def onsets(loud: NDArray[np.bool_], quiet: int) -> list[int]:
    """Indices that are true after more than ``quiet`` indices that were not."""
    indices = np.flatnonzero(loud)
    distances = np.diff(indices, prepend=-quiet - 1)
    return [int(index) for index in indices[distances > quiet]]
