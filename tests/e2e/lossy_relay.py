"""A relay for a call's datagrams that loses a share of them, by chance and the same in every run.

    async with LossyRelay(loss=0.03) as relay:
        offer = without_candidates(offer)  # so that the server knows no way past the relay
        answer = await relay.take(answer)  # names the relay in place of the server

It forwards between the caller and the server's own candidate, both ways; what it loses may be
media, reports, or checks of the connection, as on any network.
"""

from __future__ import annotations

import asyncio
import random
from types import TracebackType
from typing import Any, Self

from aiortc.sdp import candidate_from_sdp

CANDIDATE = "a=candidate:"
Address = tuple[str, int]


class LossyRelay:
    """Forwards datagrams inside ``async with``.

    Attributes:
        taken: datagrams, both ways.
        dropped: those of them that it did not forward.
    """

    def __init__(self, loss: float, seed: int = 0) -> None:
        """``loss`` is a share, 0..1."""
        self.taken = self.dropped = 0
        self._loss = loss
        self._dice = random.Random(seed)
        self._transports: list[asyncio.DatagramTransport] = []

    async def __aenter__(self) -> Self:
        """Nothing is open before ``take``."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close all sockets."""
        for transport in self._transports:
            transport.close()
        await asyncio.sleep(0)  # transports close in the loop's next turn

    async def take(self, answer: str) -> str:
        """Listen beside the server of an SDP answer; the answer with the relay as its candidate.

        Raises:
            ValueError: the answer names no IPv4 address.
        """
        lines = answer.splitlines()
        names = [line.removeprefix(CANDIDATE) for line in lines if line.startswith(CANDIDATE)]
        hosts = [name for name in names if ":" not in name.split()[4]]
        if not hosts:
            raise ValueError(f"expected an IPv4 candidate in the answer, got {names}")
        server = candidate_from_sdp(hosts[0])
        front = _Front(self, (server.ip, server.port))
        transport = await self._open(front, local=(server.ip, 0))
        port = transport.get_extra_info("sockname")[1]
        fields = hosts[0].split()
        fields[5] = str(port)
        ours = CANDIDATE + " ".join(fields)
        kept = [line for line in lines if not line.startswith(CANDIDATE)]
        end = kept.index("a=end-of-candidates")  # of the section that carries the transport
        return "".join(f"{line}\r\n" for line in [*kept[:end], ours, *kept[end:]])

    @property
    def share(self) -> float:
        """Of what it took that it dropped, 0..1."""
        return self.dropped / max(1, self.taken)

    def loses(self) -> bool:
        """Count a datagram; whether it is to be lost."""
        self.taken += 1
        lost = self._dice.random() < self._loss
        self.dropped += lost
        return lost

    async def _open(
        self,
        protocol: asyncio.DatagramProtocol,
        *,
        local: Address | None = None,
        remote: Address | None = None,
    ) -> asyncio.DatagramTransport:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(
            lambda: protocol, local_addr=local, remote_addr=remote
        )
        self._transports.append(transport)
        return transport


class _Front(asyncio.DatagramProtocol):
    """Takes what callers send; each address of theirs gets a socket of its own to the server."""

    def __init__(self, relay: LossyRelay, server: Address) -> None:
        self._relay = relay
        self._server = server
        self._backs: dict[Address, asyncio.Task[asyncio.DatagramTransport]] = {}

    def connection_made(self, transport: Any) -> None:
        self._transport: asyncio.DatagramTransport = transport

    def datagram_received(self, data: bytes, address: Address) -> None:
        if self._relay.loses():
            return
        if address not in self._backs:
            back = _Back(self._relay, self._transport, address)
            opening = self._relay._open(back, remote=self._server)
            self._backs[address] = asyncio.ensure_future(opening)
        opened = self._backs[address]
        if opened.done():
            opened.result().sendto(data)  # earlier ones are checks, which are sent again


class _Back(asyncio.DatagramProtocol):
    """Takes what the server sends to one caller."""

    def __init__(
        self, relay: LossyRelay, front: asyncio.DatagramTransport, caller: Address
    ) -> None:
        self._relay = relay
        self._front = front
        self._caller = caller

    def datagram_received(self, data: bytes, _: Address) -> None:
        if not self._relay.loses():
            self._front.sendto(data, self._caller)


def without_candidates(offer: str) -> str:
    """An SDP offer that names no address."""
    lines = [line for line in offer.splitlines() if not line.startswith(CANDIDATE)]
    return "".join(f"{line}\r\n" for line in lines)
