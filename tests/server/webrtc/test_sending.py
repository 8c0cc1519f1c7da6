"""The sending half: time stamps, phase, drop rules and keyframe requests, without a network."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from aiortc.mediastreams import MediaStreamError

from server.media.av_frame import AVFrame
from server.webrtc.sending import AUDIO_CAPACITY, VIDEO_CAPACITY, AVFrameSender
from server.webrtc.tracks import PacketTrack

pytestmark = pytest.mark.unit


def frame(index: int, *, keyframe: bool = False, packets: int = 2) -> AVFrame:
    """A frame whose payloads tell what they are."""
    opus = tuple(f"{index}.{place}".encode() for place in range(packets))
    return AVFrame(0, index, keyframe, False, f"picture {index}".encode(), opus, b"")


def nothing() -> None:
    """For callbacks nobody asks about."""


def now() -> float:
    """The event loop's clock."""
    return asyncio.get_running_loop().time()


def make(on_keyframe_request: Callable[[], None] = nothing, fps: float = 25.0) -> Any:
    """A sender whose tracks are both in use, and the tracks."""
    sender = AVFrameSender(fps, on_keyframe_request)
    return sender, sender.track("video"), sender.track("audio")


async def take(track: PacketTrack, count: int) -> list[tuple[int, bytes]]:
    """The next packets as (time stamp, payload)."""
    packets = [await track.recv() for _ in range(count)]
    return [(packet.pts or 0, bytes(packet)) for packet in packets]


async def test_it_tells_how_late_each_picture_leaves_and_how_much_later_than_its_sound() -> None:
    told: list[tuple[float, float | None]] = []
    sender = AVFrameSender(
        25.0, nothing, on_sent=lambda late_s, skew_s: told.append((late_s, skew_s))
    )
    video, audio = sender.track("video"), sender.track("audio")
    sender.send(frame(0, keyframe=True, packets=1), now() - 0.3)
    await take(video, 1)
    (late_s, skew_s), *_ = told
    assert 0.3 <= late_s < 5 and skew_s is None  # no sound has left yet
    await take(audio, 1)
    sender.send(frame(1, packets=1), now() - 0.1)
    await take(video, 1)
    late_s, skew_s = told[-1]
    assert 0.1 <= late_s < 5 and skew_s is not None and -5 < skew_s <= late_s - 0.3
    assert len(told) == 2


async def test_time_stamps_come_from_the_media_clock() -> None:
    sender, video, audio = make()
    for index in (10, 11):
        sender.send(frame(index, keyframe=index == 10), now())
    assert await take(video, 2) == [(36_000, b"picture 10"), (39_600, b"picture 11")]
    expected = [(19_200, b"10.0"), (20_160, b"10.1"), (21_120, b"11.0"), (22_080, b"11.1")]
    assert await take(audio, 4) == expected


async def test_frames_of_unequal_packets_stay_aligned_at_thirty_frames() -> None:
    sender, video, audio = make(fps=30.0)
    packets = [1, 2, 2, 1, 2, 2]  # 1600 samples each: the packets that are complete by then
    for index, count in enumerate(packets):
        sender.send(frame(index, keyframe=True, packets=count), now())
    stamps = [stamp for stamp, _ in await take(audio, 10)]
    assert stamps == [960 * k for k in range(10)]
    assert [stamp for stamp, _ in await take(video, 3)] == [0, 3000, 6000]
    sender.send(frame(30, keyframe=True, packets=1), now())
    assert await take(audio, 1) == [(48_000, b"30.0")]


async def test_sound_that_breaks_off_often_stays_near_its_picture() -> None:
    sender, video, audio = make(fps=30.0)
    stamps: list[int] = []
    for index in range(0, 40, 4):  # every fourth frame begins anew: two thirds of a packet are lost
        for step, count in enumerate((1, 2, 2, 1)):
            sender.send(frame(index + step, keyframe=True, packets=count), now())
        heard, seen = await take(audio, 6), await take(video, 4)
        assert abs(heard[0][0] / 48_000 - seen[0][0] / 90_000) <= 0.021
        stamps += [stamp for stamp, _ in heard]
    assert stamps == sorted(set(stamps))


async def test_packets_of_a_unit_leave_twenty_milliseconds_apart() -> None:
    sender, _, audio = make()
    start = now()
    sender.send(frame(0, keyframe=True), start)
    first = await audio.recv()
    await audio.recv()
    assert bytes(first) == b"0.0" and now() - start >= 0.019


async def test_pictures_begin_with_a_keyframe_and_sound_does_not_wait() -> None:
    requests: list[int] = []
    sender, video, audio = make(lambda: requests.append(1))
    sender.send(frame(0), now())
    sender.send(frame(1, keyframe=True), now())
    assert await take(video, 1) == [(3600, b"picture 1")]
    assert (await take(audio, 1))[0][1] == b"0.0"
    assert requests == [1]


async def test_an_overflow_drops_to_the_next_keyframe_and_asks_for_one() -> None:
    requests: list[int] = []
    sender, video, audio = make(lambda: requests.append(1))
    for index in range(VIDEO_CAPACITY + 3):
        sender.send(frame(index, keyframe=index == 0), now())
    assert requests == [1]
    sender.send(frame(50, keyframe=True), now())
    sender.send(frame(51), now())
    payloads = [payload for _, payload in await take(video, 2)]
    assert payloads == [b"picture 50", b"picture 51"]


async def test_an_overflow_by_a_keyframe_keeps_the_keyframe() -> None:
    sender, video, _ = make()
    for index in range(VIDEO_CAPACITY):
        sender.send(frame(index, keyframe=index == 0), now())
    sender.send(frame(99, keyframe=True), now())
    assert await take(video, 1) == [(99 * 3600, b"picture 99")]


async def test_sound_drops_the_oldest() -> None:
    sender, _, audio = make()
    for index in range(AUDIO_CAPACITY):
        sender.send(frame(index, keyframe=True, packets=2), now() - 10)
    payloads = [payload for _, payload in await take(audio, AUDIO_CAPACITY)]
    assert payloads[0] == b"12.1" and payloads[-1] == b"24.1"


async def test_an_interrupt_drops_what_was_not_sent_and_goes_on_at_a_keyframe() -> None:
    requests: list[int] = []
    sender, video, audio = make(lambda: requests.append(1))
    for index in range(4):
        sender.send(frame(index, keyframe=index == 0), now() - 10)
    sender.clear()
    sender.send(frame(4, keyframe=True), now() - 10)
    assert await take(video, 1) == [(4 * 3600, b"picture 4")]
    assert await take(audio, 2) == [(4 * 1920, b"4.0"), (4 * 1920 + 960, b"4.1")]
    assert requests == []
    sender.clear()
    sender.send(frame(5), now() - 10)  # no picture was left out: it can be decoded
    assert await take(video, 1) == [(5 * 3600, b"picture 5")]
    sender.send(frame(6), now() - 10)
    sender.clear()
    sender.send(frame(7), now() - 10)
    assert requests == [1]


async def test_a_unit_that_does_not_advance_is_dropped() -> None:
    sender, video, _ = make()
    for index in (5, 4, 5, 6):
        sender.send(frame(index, keyframe=True), now())
    assert [stamp for stamp, _ in await take(video, 2)] == [18_000, 21_600]


async def test_keyframe_requests_are_not_repeated_at_once() -> None:
    requests: list[int] = []
    sender, _, _ = make(lambda: requests.append(1))
    for _ in range(10):
        sender.request_keyframe()
    assert requests == [1]
    await asyncio.sleep(0.32)
    sender.request_keyframe()
    assert requests == [1, 1]


async def test_a_failing_listener_does_not_stop_the_call(caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise RuntimeError("listener")

    sender, _, _ = make(fail)
    sender.request_keyframe()
    assert "keyframe requests failed" in caplog.text


async def test_a_stopped_track_ends_whoever_waits_for_it() -> None:
    sender, video, _ = make()
    waiting = asyncio.ensure_future(video.recv())
    await asyncio.sleep(0)
    sender.stop()
    with pytest.raises(MediaStreamError):
        await waiting
