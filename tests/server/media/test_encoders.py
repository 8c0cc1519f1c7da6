"""Encoders: one decodable access unit per frame, keyframes on demand, aligned Opus, JPEG."""

from __future__ import annotations

from typing import Any

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from models.fake import FakeGenerator, read_counter
from server.media.encoders import (
    OPUS_SAMPLES,
    VIDEO_CODECS,
    OpusEncoder,
    OpusPacketiser,
    VideoCodec,
    VideoEncoder,
    encode_jpeg,
)

pytestmark = pytest.mark.unit


def frames(count: int, side: int = 256) -> NDArray[np.uint8]:
    """``count`` counted frames [N, H, W, 3] over a coloured portrait."""
    generator = FakeGenerator(size=(side, side), chunk_frames=count, lookahead_frames=0)
    ramp = np.linspace(0, 255, 128)
    portrait = np.stack(np.broadcast_arrays(ramp[:, None], ramp[None], 90.0), -1).astype(np.uint8)
    stream = generator.open(generator.prepare(portrait), seed=1)
    return generator.generate([stream], [np.zeros(count * 640, np.float32)])[0]


def nal_types(unit: bytes) -> list[int]:
    """The NAL unit types of an Annex-B access unit, in order."""
    return [part[0] & 31 for part in unit.split(b"\x00\x00\x01")[1:]]


def test_each_frame_decodes_at_once_and_in_order() -> None:
    encoder = VideoEncoder((256, 256), 25.0)
    decoder = av.CodecContext.create("h264", "r")
    decoder.options = {"flags": "low_delay"}
    decoder.thread_count = 1
    for number, frame in enumerate(frames(60), start=1):
        unit, keyframe = encoder.encode(frame)
        assert keyframe == (number in (1, 51)), "a keyframe first, then every two seconds"
        (picture,) = decoder.decode(av.Packet(unit))
        seen: Any = picture.to_ndarray(format="rgb24")
        assert read_counter(seen) == number
        assert np.abs(seen.astype(int) - frame).mean() < 6
    encoder.close()


def test_stream_is_constrained_baseline_with_parameter_sets_on_every_keyframe() -> None:
    encoder = VideoEncoder((256, 256), 25.0)
    for number, frame in enumerate(frames(8)):
        unit, keyframe = encoder.encode(frame, force_keyframe=number == 5)
        kinds = nal_types(unit)
        assert keyframe == (number in (0, 5))
        assert ({7, 8, 5} <= set(kinds)) == keyframe
        assert keyframe or set(kinds) == {1}
        if keyframe:
            parameters = unit.split(b"\x00\x00\x01")[1 + kinds.index(7)]
            assert parameters[1] == 66 and parameters[2] & 0x40, "constrained baseline"
            assert parameters[3] <= 31, "level the offers promise"


def test_forced_keyframe_decodes_alone() -> None:
    encoder = VideoEncoder((256, 256), 25.0)
    pictures = frames(9)
    for frame in pictures[:8]:
        encoder.encode(frame)
    unit, keyframe = encoder.encode(pictures[8], force_keyframe=True)
    decoder = av.CodecContext.create("h264", "r")
    decoder.options = {"flags": "low_delay"}
    (picture,) = decoder.decode(av.Packet(unit))
    seen: Any = picture.to_ndarray(format="rgb24")
    assert keyframe and read_counter(seen) == 9


def test_vp8_decodes_at_once_and_in_order() -> None:
    encoder = VideoEncoder((256, 256), 25.0, codec="vp8")
    decoder = av.CodecContext.create("vp8", "r")
    for number, frame in enumerate(frames(60), start=1):
        packet, keyframe = encoder.encode(frame, force_keyframe=number == 5)
        assert keyframe == (number in (1, 5, 55))
        assert keyframe == (packet[0] & 1 == 0), "the bit that depacketisers look at"
        (picture,) = decoder.decode(av.Packet(packet))
        seen: Any = picture.to_ndarray(format="rgb24")
        assert read_counter(seen) == number
        assert np.abs(seen.astype(int) - frame).mean() < 8


def noise(count: int) -> list[NDArray[np.uint8]]:
    """Pictures that cost more than any ceiling."""
    random = np.random.default_rng(0)
    small = random.integers(0, 256, (count, 8, 8, 3), np.uint8)
    large = [cv2.resize(one, (256, 256), interpolation=cv2.INTER_CUBIC) for one in small]
    return [one.astype(np.uint8) for one in large]


@pytest.mark.parametrize("codec", VIDEO_CODECS)
def test_bitrate_has_a_ceiling_even_for_noise(codec: VideoCodec) -> None:
    encoder = VideoEncoder((256, 256), 25.0, 400_000, codec)
    total = sum(len(encoder.encode(one)[0]) for one in noise(100))
    assert total * 8 / 4 < 600_000


@pytest.mark.parametrize("codec", VIDEO_CODECS)
def test_a_lower_ceiling_holds_at_once_and_a_higher_one_from_the_next_keyframe(
    codec: VideoCodec,
) -> None:
    encoder = VideoEncoder((256, 256), 25.0, 400_000, codec)
    pictures = noise(50)

    def bits(count: int) -> tuple[int, list[int]]:
        encoded = [encoder.encode(pictures[k % 50]) for k in range(count)]
        size = 8 * sum(len(packet) for packet, _ in encoded)
        return size, [k for k, (_, keyframe) in enumerate(encoded) if keyframe]

    before, _ = bits(40)
    encoder.limit(380_000)
    assert bits(9)[1] == [], "too little to pay a keyframe for"
    encoder.limit(150_000)
    lower, keyframes = bits(50)
    assert keyframes == [0] and lower / 50 < 0.7 * before / 40
    encoder.limit(400_000)
    higher, keyframes = bits(50)
    assert keyframes == [0], "the periodic one, with which it counts"
    assert higher > 1.4 * lower


def test_video_encoder_refuses_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match="even"):
        VideoEncoder((255, 256), 25.0)
    with pytest.raises(ValueError, match="positive"):
        VideoEncoder((256, 256), 0.0)
    encoder = VideoEncoder((256, 256), 25.0)
    with pytest.raises(ValueError, match="expected uint8"):
        encoder.encode(np.zeros((128, 128, 3), np.uint8))
    encoder.close()
    encoder.close()
    with pytest.raises(RuntimeError, match="closed"):
        encoder.encode(np.zeros((256, 256, 3), np.uint8))


def test_opus_round_trip_is_aligned_and_starts_with_the_first_packet() -> None:
    time = np.arange(48_000) / 48_000
    chirp = 0.4 * np.sin(2 * np.pi * (200 * time + 400 * time**2))
    pcm = (chirp * 32767).astype(np.int16)
    encoder = OpusEncoder()
    decoder = av.CodecContext.create("libopus", "r")
    decoder.format, decoder.layout, decoder.sample_rate = "s16", "mono", 48_000
    heard = []
    for start in range(0, len(pcm), OPUS_SAMPLES):
        packet = encoder.encode(pcm[start : start + OPUS_SAMPLES])
        (frame,) = decoder.decode(av.Packet(packet))
        heard.append(frame.to_ndarray().reshape(-1))
        assert len(heard[-1]) == OPUS_SAMPLES
    sound = np.concatenate(heard).astype(np.float64)
    correlation = [
        np.corrcoef(sound[lag : 40_000 + lag], pcm[:40_000])[0, 1] for lag in range(0, 480, 6)
    ]
    best = 6 * int(np.argmax(correlation))
    assert max(correlation) > 0.95
    assert best <= 336, "no more than the codec's own 6.5 ms"


def test_opus_packets_carry_the_rescue_copy() -> None:
    random = np.random.default_rng(0)
    time = np.arange(48_000) / 48_000
    voice = 0.3 * np.sin(2 * np.pi * 220 * time) + 0.02 * random.standard_normal(len(time))
    pcm = (voice * 32767).astype(np.int16).reshape(-1, OPUS_SAMPLES)
    encoder = OpusEncoder()
    packets = [encoder.encode(piece) for piece in pcm]
    assert all(packet[0] >> 3 < 16 for packet in packets), "speech modes, which can carry it"
    assert sum(packet[1] >> 6 & 1 for packet in packets) > len(packets) // 3
    assert sum(map(len, packets)) * 8 < 40_000


@pytest.mark.parametrize("slice_", [1600, 1920, 2000])
def test_slices_of_any_length_become_the_same_packets(slice_: int) -> None:
    pcm = np.random.default_rng(3).integers(-9000, 9000, 48_000).astype(np.int16)
    encoder, packetiser = OpusEncoder(), OpusPacketiser()
    expected = [encoder.encode(piece) for piece in pcm.reshape(-1, OPUS_SAMPLES)]
    packets = [packetiser.push(pcm[at : at + slice_]) for at in range(0, pcm.size, slice_)]
    assert [packet for some in packets for packet in some] == expected
    assert {len(some) for some in packets} <= {slice_ // 960, slice_ // 960 + 1}


def test_a_restart_forgets_what_filled_no_packet() -> None:
    packetiser = OpusPacketiser()
    assert packetiser.push(np.zeros(900, np.int16)) == ()
    packetiser.restart()
    assert packetiser.push(np.zeros(900, np.int16)) == ()
    assert len(packetiser.push(np.zeros(60, np.int16))) == 1


def test_opus_encoder_refuses_other_lengths_and_types() -> None:
    with pytest.raises(ValueError, match="20 ms"):
        OpusEncoder().encode(np.zeros(480, np.int16))
    with pytest.raises(ValueError, match="int16"):
        OpusEncoder().encode(np.zeros(OPUS_SAMPLES, np.float32))


def test_jpeg_shows_the_picture() -> None:
    frame = frames(1)[0]
    data = encode_jpeg(frame)
    decoded: Any = cv2.imdecode(np.frombuffer(data, np.uint8), 1)
    seen: Any = cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB)
    assert read_counter(seen) == 1
    assert np.abs(seen.astype(int) - frame).mean() < 6
    assert len(encode_jpeg(frame, 40)) < len(data)


@pytest.mark.parametrize("size", [(1280, 720), (2048, 2048)])
def test_large_frames_have_a_level_that_allows_them(size: tuple[int, int]) -> None:
    encoder = VideoEncoder(size, 25.0)
    unit, keyframe = encoder.encode(np.zeros((*size, 3), np.uint8))
    level = unit[unit.index(b"\0\0\1\x67") + 6]
    assert keyframe and level == (31 if size == (1280, 720) else 51)
