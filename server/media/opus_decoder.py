"""Turns Opus packets of one microphone into mono sound, and invents sound for lost ones."""

from __future__ import annotations

from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from server.media.av_frame import OUTPUT_RATE
from server.media.resampler import AudioFormat, MonoInput

MAX_SAMPLES = OUTPUT_RATE * 120 // 1000
"""The longest packet that Opus allows: 120 ms."""

PEAK = 32767
STEREO = 4
"""In a packet's first byte."""
_SILK_MS = (10.0, 20.0, 40.0, 60.0)
_HYBRID_MS = (10.0, 20.0)
_CELT_MS = (2.5, 5.0, 10.0, 20.0)


def opus_samples(packet: bytes) -> int:
    """Samples at 48 kHz in an Opus packet, read from its first bytes (RFC 6716, section 3.1).

    Raises:
        ValueError: not an Opus packet.
    """
    if not packet:
        raise ValueError("expected an Opus packet, got nothing")
    config, count_code = packet[0] >> 3, packet[0] & 3
    if config < 12:
        frame_ms = _SILK_MS[config & 3]
    elif config < 16:
        frame_ms = _HYBRID_MS[config & 1]
    else:
        frame_ms = _CELT_MS[config & 3]
    if count_code == 3:
        if len(packet) < 2:
            raise ValueError("expected an Opus packet, got one cut off after its first byte")
        count = packet[1] & 63
    else:
        count = 1 if count_code == 0 else 2
    samples = round(frame_ms * count * OUTPUT_RATE / 1000)
    if not 0 < samples <= MAX_SAMPLES:
        raise ValueError(f"expected at most 120 ms in an Opus packet, got {samples} samples")
    return samples


class OpusDecoder:
    """One stream's decoder; about 0.05 ms per packet, so it may run on the event loop."""

    def __init__(self) -> None:
        codec: Any = av.CodecContext.create("libopus", "r")
        codec.format = "s16"
        codec.layout = "stereo"  # its own mix would be a mean, in which sides may cancel
        codec.sample_rate = OUTPUT_RATE
        self._codec = codec
        self._to_mono = MonoInput(AudioFormat(OUTPUT_RATE, 2))
        self._last_toc: int | None = None

    def decode(self, packet: bytes) -> NDArray[np.int16]:
        """Decode one packet to int16 [N] at 48 kHz.

        Raises:
            ValueError: the packet is damaged; conceal it instead.
        """
        try:
            frames = self._codec.decode(av.Packet(packet))
        except av.FFmpegError as error:
            raise ValueError("expected an Opus packet, got bytes that do not decode") from error
        if not frames:
            raise ValueError("expected an Opus packet, got bytes that decode to nothing")
        self._last_toc = packet[0]
        sides: NDArray[np.int16] = np.concatenate([frame.to_ndarray()[0] for frame in frames])
        if not packet[0] & STEREO:
            return sides[::2].copy()
        return (self._to_mono.push(sides) * PEAK).astype(np.int16)

    def conceal(self, samples: int) -> NDArray[np.int16]:
        """Continue the sound over a gap, int16 [samples], fading out as the gap goes on.

        A packet that is its first byte alone has no payload, and libopus then conceals one frame
        of that length. Before the first packet there is nothing to continue: silence.
        """
        pieces: list[NDArray[np.int16]] = []
        missing = samples
        while missing > 0 and self._last_toc is not None:
            try:
                piece = self.decode(bytes([self._last_toc & ~3]))[:missing]
            except ValueError:
                break
            pieces.append(piece)
            missing -= len(piece)
        return np.concatenate([*pieces, np.zeros(missing, np.int16)])
