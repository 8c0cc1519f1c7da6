"""A relay for a call's datagrams that loses a share of them, by chance and the same in every run.

    async with LossyRelay(loss=0.03) as relay:
        offer = without_candidates(offer)  # so that the server knows no way past the relay
        answer = relay.take(answer)  # names the relay in place of the server

It forwards between the caller and the server's own candidate, both ways; what it loses may be
media, reports, or checks of the connection, as on any network.
"""

from __future__ import annotations

import asyncio
import random
import socket
from contextlib import suppress
from types import TracebackType
from typing import Self

from aiortc.sdp import candidate_from_sdp

CANDIDATE = "a=candidate:"
MAX_DATAGRAM = 65_535
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
        self._front: socket.socket | None = None
        self._backs: dict[Address, socket.socket] = {}

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
        loop = asyncio.get_running_loop()
        for one in (self._front, *self._backs.values()):
            if one is not None:
                loop.remove_reader(one)
                one.close()

    @property
    def share(self) -> float:
        """Of what it took that it dropped, 0..1."""
        return self.dropped / max(1, self.taken)

    def take(self, answer: str) -> str:
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
        fields = hosts[0].split()
        fields[5] = str(self._listen((server.ip, server.port)))
        ours = CANDIDATE + " ".join(fields)
        kept = [line for line in lines if not line.startswith(CANDIDATE)]
        end = kept.index("a=end-of-candidates")  # of the section that carries the transport
        return "".join(f"{line}\r\n" for line in [*kept[:end], ours, *kept[end:]])

    def loses(self) -> bool:
        """Count a datagram; whether it is to be lost."""
        self.taken += 1
        lost = self._dice.random() < self._loss
        self.dropped += lost
        return lost

    def _listen(self, server: Address) -> int:
        """Forward to a server from now on; the port that callers are to send to."""
        front = self._front = _open()
        front.bind((server[0], 0))

        def from_caller() -> None:
            data, address = front.recvfrom(MAX_DATAGRAM)
            if address not in self._backs:
                self._backs[address] = self._open_back(front, address, server)
            if not self.loses():
                with suppress(OSError):  # the server has gone
                    self._backs[address].send(data)

        asyncio.get_running_loop().add_reader(front, from_caller)
        port: int = front.getsockname()[1]
        return port

    def _open_back(self, front: socket.socket, caller: Address, server: Address) -> socket.socket:
        """A socket that is the caller to the server."""
        back = _open()
        back.connect(server)

        def from_server() -> None:
            with suppress(OSError):  # either has gone
                data = back.recv(MAX_DATAGRAM)
                if not self.loses():
                    front.sendto(data, caller)

        asyncio.get_running_loop().add_reader(back, from_server)
        return back


def without_candidates(offer: str) -> str:
    """An SDP offer that names no address."""
    lines = [line for line in offer.splitlines() if not line.startswith(CANDIDATE)]
    return "".join(f"{line}\r\n" for line in lines)


def _open() -> socket.socket:
    opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    opened.setblocking(False)
    return opened
