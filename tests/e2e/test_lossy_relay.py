"""The relay forwards both ways, loses the share it was asked for, and hides the server."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.e2e.lossy_relay import LossyRelay, without_candidates

pytestmark = pytest.mark.unit

HOST = "127.0.0.1"
MEDIA = "v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF 108\r\n"


class Echo(asyncio.DatagramProtocol):
    """A server that says everything back, and knows who called."""

    def __init__(self) -> None:
        self.callers: set[Any] = set()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, address: Any) -> None:
        self.callers.add(address)
        self.transport.sendto(data, address)


class Caller(asyncio.DatagramProtocol):
    """Keeps what comes back."""

    def __init__(self) -> None:
        self.got: list[bytes] = []

    def datagram_received(self, data: bytes, address: Any) -> None:
        self.got.append(data)


def answer(port: int) -> str:
    """An answer whose candidate is at a port of this machine."""
    lines = (
        "a=candidate:f00d 1 udp 2130706431 ::1 9 typ host",
        f"a=candidate:f00d 1 udp 2130706431 {HOST} {port} typ host",
        "a=candidate:f00d 1 udp 2130706431 10.0.0.1 9 typ host",
        "a=end-of-candidates",
    )
    return MEDIA + "".join(f"{line}\r\n" for line in lines)


async def call(loss: float, datagrams: int, seed: int = 0) -> tuple[LossyRelay, list[bytes], int]:
    """Send datagrams through a relay to an echo; the relay, what came back, callers seen."""
    loop = asyncio.get_running_loop()
    server, echo = await loop.create_datagram_endpoint(Echo, local_addr=(HOST, 0))
    async with LossyRelay(loss, seed) as relay:
        text = relay.take(answer(server.get_extra_info("sockname")[1]))
        (candidate,) = [line.split() for line in text.splitlines() if "candidate:" in line]
        assert candidate[4] == HOST
        client, caller = await loop.create_datagram_endpoint(
            Caller, remote_addr=(HOST, int(candidate[5]))
        )
        for k in range(datagrams):
            client.sendto(k.to_bytes(4, "big"))
            await asyncio.sleep(0)
            if k % 20 == 0:
                await asyncio.sleep(0.002)  # no socket's buffer runs over
        await asyncio.sleep(0.2)
    client.close()
    server.close()
    return relay, caller.got, len(echo.callers)


async def test_without_loss_everything_passes_in_order() -> None:
    relay, got, callers = await call(0.0, 200)
    assert got == [k.to_bytes(4, "big") for k in range(200)]
    assert (relay.taken, relay.dropped, relay.share, callers) == (400, 0, 0.0, 1)


async def test_the_share_is_lost_both_ways_and_counted() -> None:
    relay, got, _ = await call(0.2, 1000)
    assert relay.share == pytest.approx(0.2, abs=0.04)
    assert len(got) == pytest.approx(1000 * 0.8**2, abs=70)
    assert relay.dropped == 1000 - len(got), "each is dropped once at most"


async def test_the_same_seed_loses_the_same() -> None:
    dice = [LossyRelay(0.3, seed) for seed in (1, 1, 2)]
    first, again, other = ([relay.loses() for _ in range(100)] for relay in dice)
    assert first == again != other


async def test_an_answer_without_ipv4_is_refused() -> None:
    async with LossyRelay(0.0) as relay:
        with pytest.raises(ValueError, match="IPv4"):
            relay.take(MEDIA + "a=end-of-candidates\r\n")


def test_an_offer_loses_its_addresses() -> None:
    assert without_candidates(answer(9)) == MEDIA + "a=end-of-candidates\r\n"
