"""The microphone: packets to sound, timers for gaps, streams that change, listeners that fail."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.typing import NDArray

from server.media.encoders import OpusEncoder
from server.webrtc.microphone import Microphone
from tests.support.calls import until

pytestmark = pytest.mark.unit


class Sender:
    """Makes RTP packets of a tone."""

    def __init__(self, ssrc: int = 7) -> None:
        self.encoder = OpusEncoder()
        self.ssrc = ssrc
        self.number = 0

    def next(self) -> SimpleNamespace:
        """The next packet."""
        time = (self.number * 960 + np.arange(960)) / 48_000
        pcm = (9_000 * np.sin(2 * np.pi * 440 * time)).astype(np.int16)
        packet = SimpleNamespace(
            ssrc=self.ssrc,
            sequence_number=(65_530 + self.number) & 0xFFFF,
            timestamp=self.number * 960,
            payload=self.encoder.encode(pcm),
        )
        self.number += 1
        return packet


async def test_packets_become_mono_sound_at_once() -> None:
    heard: list[NDArray[np.int16]] = []
    rates: set[int] = set()

    def listen(pcm: NDArray[np.int16], rate: int) -> None:
        heard.append(pcm)
        rates.add(rate)

    microphone = Microphone(listen)
    sender = Sender()
    for count in range(1, 6):
        microphone.receive(sender.next())
        assert len(heard) == count
    microphone.close()
    assert {pcm.shape for pcm in heard} == {(960,)} and rates == {48_000}
    assert heard[-1].dtype == np.int16 and np.abs(heard[-1]).max() > 5_000


async def test_a_gap_is_concealed_by_the_timer_when_nothing_comes() -> None:
    heard: list[NDArray[np.int16]] = []
    microphone = Microphone(lambda pcm, rate: heard.append(pcm))
    sender = Sender()
    for _ in range(3):
        microphone.receive(sender.next())
    await until(lambda: microphone.counts.concealed + microphone.counts.dropped == 10)
    await asyncio.sleep(0.1)
    assert microphone.counts.concealed + microphone.counts.dropped == 10, "then it is a pause"
    assert len(heard) == 3 + microphone.counts.concealed
    microphone.close()


async def test_damaged_and_empty_packets_are_survived() -> None:
    heard: list[NDArray[np.int16]] = []
    microphone = Microphone(lambda pcm, rate: heard.append(pcm))
    sender = Sender()
    random = np.random.default_rng(0)
    for number in range(60):
        packet = sender.next()
        if number % 3 == 1:
            packet.payload = random.integers(0, 256, 30, np.uint8).tobytes()
        elif number % 3 == 2:
            packet.payload = b""
        microphone.receive(packet)
    microphone.close()
    assert heard


async def test_another_stream_starts_anew() -> None:
    heard: list[NDArray[np.int16]] = []
    microphone = Microphone(lambda pcm, rate: heard.append(pcm))
    for sender in (Sender(7), Sender(8)):
        for _ in range(4):
            microphone.receive(sender.next())
    assert len(heard) == 8 and microphone.counts.received == 4
    microphone.close()


async def test_a_failing_listener_does_not_stop_the_microphone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(pcm: NDArray[np.int16], rate: int) -> None:
        raise RuntimeError("listener")

    microphone = Microphone(fail)
    microphone.receive(Sender().next())
    microphone.close()
    assert "the listener of a microphone failed" in caplog.text


async def test_a_closed_microphone_is_silent() -> None:
    heard: list[NDArray[np.int16]] = []
    microphone = Microphone(lambda pcm, rate: heard.append(pcm))
    sender = Sender()
    microphone.receive(sender.next())
    microphone.close()
    microphone.close()
    microphone.receive(sender.next())
    await asyncio.sleep(0.1)
    assert len(heard) == 1
