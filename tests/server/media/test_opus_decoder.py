"""The Opus decoder: lengths read from the packet, gaps continued and faded, damage refused."""

from __future__ import annotations

from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from server.media.encoders import OPUS_SAMPLES, OpusEncoder
from server.media.opus_decoder import MAX_SAMPLES, OpusDecoder, opus_samples

pytestmark = pytest.mark.unit


def tone_packets(count: int) -> list[bytes]:
    """A 300 Hz tone as Opus packets of 20 ms."""
    time = np.arange(count * OPUS_SAMPLES) / 48_000
    pcm = (10_000 * np.sin(2 * np.pi * 300 * time)).astype(np.int16)
    encoder = OpusEncoder()
    return [encoder.encode(piece) for piece in pcm.reshape(-1, OPUS_SAMPLES)]


def loudness(sound: NDArray[np.int16]) -> float:
    """Root mean square."""
    return float(np.sqrt((sound.astype(float) ** 2).mean()))


@pytest.mark.parametrize(
    ("first", "samples"),
    [
        (0 << 3, 480),  # SILK 10 ms
        (3 << 3, 2880),  # SILK 60 ms
        (13 << 3, 960),  # hybrid 20 ms
        (16 << 3, 120),  # CELT 2.5 ms
        (31 << 3, 960),  # CELT 20 ms
        (31 << 3 | 1, 1920),  # two frames
        (31 << 3 | 2, 1920),
    ],
)
def test_length_is_read_from_the_first_byte(first: int, samples: int) -> None:
    assert opus_samples(bytes([first, 0, 0])) == samples


def test_length_of_many_frames_is_read_from_the_second_byte() -> None:
    assert opus_samples(bytes([31 << 3 | 3, 6])) == 6 * 960


@pytest.mark.parametrize("packet", [b"", bytes([3]), bytes([3, 0]), bytes([31 << 3 | 3, 7])])
def test_what_is_no_packet_is_refused(packet: bytes) -> None:
    with pytest.raises(ValueError, match="expected"):
        opus_samples(packet)


def test_a_gap_is_continued_then_fades() -> None:
    decoder = OpusDecoder()
    packets = tone_packets(20)
    before = loudness(np.concatenate([decoder.decode(packet) for packet in packets[:10]])[-960:])
    gap = decoder.conceal(5 * OPUS_SAMPLES)
    assert gap.shape == (5 * OPUS_SAMPLES,) and gap.dtype == np.int16
    assert loudness(gap[:OPUS_SAMPLES]) > 0.3 * before, "the tone goes on"
    assert loudness(gap[-OPUS_SAMPLES:]) < 0.3 * before, "and fades"
    after = [decoder.decode(packet) for packet in packets[15:]]
    assert loudness(after[-1]) > 0.5 * before, "and comes back"


def test_a_gap_of_any_length_has_that_length() -> None:
    decoder = OpusDecoder()
    assert not decoder.conceal(700).any() and decoder.conceal(700).shape == (700,)
    decoder.decode(tone_packets(1)[0])
    for samples in (1, 480, 961, MAX_SAMPLES):
        assert decoder.conceal(samples).shape == (samples,)


def test_noise_never_breaks_the_decoder() -> None:
    random = np.random.default_rng(0)
    decoder = OpusDecoder()
    for _ in range(300):
        noise = random.integers(0, 256, int(random.integers(1, 200)), np.uint8).tobytes()
        try:
            assert decoder.decode(noise).dtype == np.int16
        except ValueError:
            assert decoder.conceal(OPUS_SAMPLES).shape == (OPUS_SAMPLES,)
    assert loudness(np.concatenate([decoder.decode(p) for p in tone_packets(5)])[-960:]) > 1000


@pytest.mark.parametrize("right", [1, -1, 0])
def test_stereo_is_heard_whatever_its_other_side_holds(right: int) -> None:
    codec: Any = av.CodecContext.create("libopus", "w")
    codec.format, codec.layout, codec.sample_rate = "s16", "stereo", 48_000
    time = np.arange(25 * OPUS_SAMPLES) / 48_000
    left = (10_000 * np.sin(2 * np.pi * 300 * time)).astype(np.int16)
    sides = np.stack([left, right * left], 1).astype(np.int16).reshape(25, 1, -1)
    packets = []
    for piece in sides:
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(piece), "s16", "stereo")
        frame.sample_rate = 48_000
        packets += [bytes(packet) for packet in codec.encode(frame)]
    decoder = OpusDecoder()
    sound = np.concatenate([decoder.decode(packet) for packet in packets])
    assert sound.size == len(packets) * OPUS_SAMPLES
    assert loudness(sound[4800:-960]) == pytest.approx(10_000 / 2**0.5, rel=0.05)
