"""Holds sessions for a while: what their peers receive, and what that costs each process.

Peers live in processes of their own. All of them open first; then everybody is told one time to
begin and one to end, on the clock that all processes of a machine share.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from http import HTTPStatus
from multiprocessing.connection import Connection

from client_demo.bench_server.figures import Rhythm, rhythm
from client_demo.bench_server.options import UTTERANCE_S, BenchOptions, PeerKind
from client_demo.bench_server.peer_process import peer_process, receive
from client_demo.bench_server.peers import BenchPeer, make_peer
from client_demo.bench_server.processes import Usage
from client_demo.bench_server.server_process import BenchedServer
from client_demo.bench_server.utterance import load_utterance, push_as_spoken, push_at_once
from client_demo.rest import RequestFailed

PEERS_A_PROCESS: dict[PeerKind, int] = {"websocket": 40, "webrtc": 10}
SETTLE_S = 2.0
LEAD_S = 0.3  # before frames count: reading a process's memory stops it for a moment
ANSWER_TIMEOUT_S = 10.0
TICK_S = 0.005


@dataclass(frozen=True)
class Holding:
    """What the peers of one process do.

    Attributes:
        numbers: of its sessions, out of ``of`` in all.
        period_s: from one utterance to the next; None says nothing.
        pcm: the utterance.
    """

    url: str
    kind: PeerKind
    numbers: Sequence[int]
    of: int
    period_s: float | None
    pcm: bytes


@dataclass
class Heard:
    """What came of it: of each admitted session how its frames arrived; first-frame delays in
    milliseconds by the way of pushing; how many utterances were not answered; milliseconds a frame
    as the server says; processor time of the peers, seconds."""

    rhythms: list[Rhythm] = field(default_factory=list)
    burst: list[float] = field(default_factory=list)
    live: list[float] = field(default_factory=list)
    unanswered: int = 0
    ms_per_frame: list[float] = field(default_factory=list)
    peers_cpu_s: float = 0.0

    def add(self, other: Heard) -> None:
        """Add what another process heard."""
        self.rhythms += other.rhythms
        self.burst += other.burst
        self.live += other.live
        self.unanswered += other.unanswered
        self.ms_per_frame += other.ms_per_frame
        self.peers_cpu_s += other.peers_cpu_s


@dataclass(frozen=True)
class Held:
    """What was heard, and what the gateway and its workers used before and ``seconds`` after."""

    heard: Heard
    seconds: float
    gateway: tuple[Usage, Usage]
    workers: tuple[Usage, Usage]


def hold_sessions(
    server: BenchedServer, options: BenchOptions, passed: Callable[[float], object]
) -> Held:
    """Open as many sessions as were asked for and hold those that are admitted.

    Args:
        passed: called with 1 after each of the ``whole_seconds``.

    Raises:
        LiveheadError: the server refuses for another reason than that it is full, or vanishes.
    """
    pcm = load_utterance()
    with ExitStack() as opened:
        peers = [
            opened.enter_context(
                peer_process(
                    hold,
                    Holding(
                        server.url, options.peers, numbers, options.sessions, options.period_s, pcm
                    ),
                )
            )
            for numbers in shares(options.sessions, PEERS_A_PROCESS[options.peers])
        ]
        for connection in peers:
            receive(connection)
        begin = time.monotonic() + SETTLE_S
        end = begin + options.seconds
        for connection in peers:
            connection.send((begin, end))
        time.sleep(SETTLE_S - LEAD_S)
        read_at, before = time.monotonic(), (server.gateway(), server.workers())
        for second in range(1, whole_seconds(options) + 1):
            time.sleep(max(0.0, min(begin + second, end) - time.monotonic()))
            passed(1)
        seconds, after = time.monotonic() - read_at, (server.gateway(), server.workers())
        heard = Heard()
        for connection in peers:
            heard.add(receive(connection))
    return Held(heard, seconds, (before[0], after[0]), (before[1], after[1]))


def whole_seconds(options: BenchOptions) -> int:
    """How long it is measured, rounded up."""
    return math.ceil(options.seconds)


def shares(count: int, most: int) -> list[range]:
    """The numbers below ``count``, cut into runs of at most ``most``."""
    return [range(start, min(count, start + most)) for start in range(0, count, most)]


async def hold(connection: Connection, plan: Holding) -> None:
    """Open the sessions, say so, get the times to begin and end, hold, send what was ``Heard``."""
    peers: dict[int, BenchPeer] = {}
    try:
        for number in plan.numbers:
            peer = make_peer(plan.kind, plan.url)
            try:
                await peer.open()
            except RequestFailed as error:
                if error.status != HTTPStatus.SERVICE_UNAVAILABLE:
                    raise
                await peer.close()
            else:
                peers[number] = peer
        connection.send(len(peers))
        begin, end = await asyncio.to_thread(connection.recv)
        connection.send(await _hold(peers, plan, begin, end))
    finally:
        await asyncio.gather(*(peer.close() for peer in peers.values()), return_exceptions=True)


async def _hold(peers: dict[int, BenchPeer], plan: Holding, begin: float, end: float) -> Heard:
    heard = Heard()
    talking = []
    if plan.period_s is not None:
        for number, peer in peers.items():
            first = begin + plan.period_s * number / plan.of
            talk = _talk(peer, plan.pcm, heard, first, plan.period_s, end)
            talking.append(asyncio.create_task(talk, name=f"talk-{number}"))
    await _until(begin)
    cpu_s = time.process_time()
    await _until(end)
    heard.peers_cpu_s = time.process_time() - cpu_s
    for task in talking:
        task.cancel()
    await asyncio.gather(*talking, return_exceptions=True)
    for peer in peers.values():
        heard.rhythms.append(rhythm(peer.arrivals, begin, end))
        try:
            heard.ms_per_frame.append(await peer.milliseconds_per_frame())
        except RequestFailed:
            continue  # its session broke, which its rhythm shows
    return heard


async def _talk(
    peer: BenchPeer, pcm: bytes, heard: Heard, first: float, period_s: float, end: float
) -> None:
    """Push utterances at once and as spoken, in turns; one whose session breaks falls silent."""
    moment, live = first, False
    try:
        while moment + UTTERANCE_S < end:
            await _until(moment)
            await _speak(peer, pcm, heard, live=live)
            moment = max(moment + period_s, time.monotonic())
            live = not live
    except RequestFailed:
        return


async def _speak(peer: BenchPeer, pcm: bytes, heard: Heard, *, live: bool) -> None:
    """Push one utterance and note how long its first frame took."""
    push = push_as_spoken if live else push_at_once
    if not peer.sees_speech:
        await push(peer, pcm)
        return
    while peer.speaking:  # the one before, where the server is late
        await asyncio.sleep(TICK_S)
    peer.spoke_at = None
    began = time.monotonic()
    await push(peer, pcm)
    while peer.spoke_at is None and time.monotonic() < began + ANSWER_TIMEOUT_S:
        await asyncio.sleep(TICK_S)
    if peer.spoke_at is None:
        heard.unanswered += 1
    else:
        (heard.live if live else heard.burst).append(1000 * (peer.spoke_at - began))


async def _until(moment: float) -> None:
    await asyncio.sleep(max(0.0, moment - time.monotonic()))
