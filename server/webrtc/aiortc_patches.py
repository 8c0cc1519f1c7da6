"""Every touch of aiortc's and aioice's private parts, in one place, each with its reason.

Written against the versions in ``TESTED``. Another version gets a loud warning when this module is
imported; run ``tests/server/webrtc`` before trusting it. Nothing outside this module may use a
name of these packages that begins with an underscore.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from importlib.metadata import version
from typing import Any

import aioice.ice
from aiortc import RTCIceCandidate, RTCPeerConnection, RTCRtpReceiver, RTCRtpSender
from aiortc.exceptions import InvalidStateError
from aiortc.rtp import RTCP_PSFB_APP, RtcpPsfbPacket, RtcpRrPacket, RtcpSrPacket, unpack_remb_fci

TESTED = {"aiortc": "1.16", "aioice": "0.13"}
MAX_INBOUND_DATAGRAMS = 512
"""Datagrams waiting to be decrypted; beyond that new ones are dropped, as a full socket would."""

logger = logging.getLogger(__name__)


def untested_versions(found: dict[str, str]) -> list[str]:
    """Which of the found versions differ from the tested ones, as sentences."""
    return [
        f"expected {name} {tested}.x, got {found[name]}"
        for name, tested in TESTED.items()
        if found[name].split(".")[:2] != tested.split(".")
    ]


for _sentence in untested_versions({name: version(name) for name in TESTED}):
    logger.warning("%s; its private parts may differ: run tests/server/webrtc", _sentence)


# aioice never offers the loopback address, so a page on the server's own machine could not connect
# when there is no other network. The replacement offers it to those connections that ask.
_loopback_wanted: ContextVar[bool] = ContextVar("loopback_wanted", default=False)
_get_host_addresses = aioice.ice.get_host_addresses


def _host_addresses(use_ipv4: bool, use_ipv6: bool) -> list[str]:
    addresses = _get_host_addresses(use_ipv4, use_ipv6)
    if _loopback_wanted.get() and use_ipv4 and "127.0.0.1" not in addresses:
        return [*addresses, "127.0.0.1"]
    return addresses


setattr(aioice.ice, "get_host_addresses", _host_addresses)  # noqa: B010 - not ours to declare


@contextmanager
def loopback_candidates(wanted: bool) -> Iterator[None]:
    """Offer 127.0.0.1 as a candidate of whatever is gathered inside, if ``wanted``."""
    token = _loopback_wanted.set(wanted)
    try:
        yield
    finally:
        _loopback_wanted.reset(token)


def answer_as_dtls_server(connection: RTCPeerConnection) -> None:
    """Answer ``a=setup:passive``; the offer must leave that part to us.

    aiortc answers as DTLS client, and then refuses peers with RSA certificates (GStreamer).
    """
    for transceiver in connection.getTransceivers():
        transport: Any = transceiver.receiver.transport
        if transport._role == "auto":
            transport._set_role("server")


def on_keyframe_wanted(sender: RTCRtpSender, callback: Callable[[], None]) -> None:
    """Call back on PLI and FIR; aiortc keeps them from tracks that give encoded packets."""
    private: Any = sender
    private._send_keyframe = callback


def on_feedback(
    sender: RTCRtpSender,
    on_estimate: Callable[[float], None],
    on_loss: Callable[[float], None],
) -> None:
    """Call back on REMB (bit/s) and on reports of loss (0..1); aiortc drops both for packets."""
    private: Any = sender
    handle = private._handle_rtcp_packet

    async def handle_and_tell(packet: Any) -> None:
        if isinstance(packet, RtcpRrPacket | RtcpSrPacket):
            for report in packet.reports:
                if report.ssrc == private._ssrc:
                    on_loss(report.fraction_lost / 256)
        elif isinstance(packet, RtcpPsfbPacket) and packet.fmt == RTCP_PSFB_APP:
            try:
                bitrate, ssrcs = unpack_remb_fci(packet.fci)
            except ValueError:
                return
            if private._ssrc in ssrcs:
                on_estimate(bitrate)
        await handle(packet)

    private._handle_rtcp_packet = handle_and_tell


class _Tap:
    """Stands in for a receiver's jitter buffer: hands packets on and never completes a frame."""

    def __init__(self, callback: Callable[[Any], None] | None) -> None:
        self._callback = callback

    def add(self, packet: Any) -> tuple[bool, None]:
        if self._callback is not None:
            self._callback(packet)
        return False, None


def tap_receiver(receiver: RTCRtpReceiver, callback: Callable[[Any], None] | None) -> None:
    """Take a receiver's RTP packets (None: drop them) before its jitter buffer and decoder.

    aiortc's buffer delays sound by 80 ms, breaks after one loss and fills an unbounded queue when
    nobody reads the track. Its reports to the sender go on, since they are made before.
    """
    private: Any = receiver
    private._RTCRtpReceiver__jitter_buffer = _Tap(callback)


async def add_candidate(connection: RTCPeerConnection, candidate: RTCIceCandidate) -> None:
    """Add a candidate of the one transport, whichever section it names.

    aiortc drops those of bundled sections, and callers number sections that it never saw.
    """
    transport: Any = connection.getTransceivers()[0].receiver.transport
    await transport.transport.addRemoteCandidate(candidate)


def watch_traffic(connection: RTCPeerConnection, callback: Callable[[], None]) -> None:
    """Call back on every datagram from the peer: media, reports and consent checks.

    aiortc tells of a vanished peer only after 28 s. The same hook bounds the inbound queue.
    """
    ice: Any = connection.getTransceivers()[0].receiver.transport.transport
    agent: Any = ice._connection
    data_received, request_received = agent.data_received, agent.request_received

    def on_data(data: bytes, component: int) -> None:
        callback()
        if agent._queue.qsize() < MAX_INBOUND_DATAGRAMS:
            data_received(data, component)

    def on_request(*args: Any) -> None:
        callback()
        request_received(*args)

    agent.data_received, agent.request_received = on_data, on_request


async def end_consent(connection: RTCPeerConnection) -> None:
    """End the consent checks of a closed connection.

    aioice starts them where ICE came to stand just as it was closed, and they last for 30 s.
    """
    for transceiver in connection.getTransceivers():
        ice: Any = transceiver.receiver.transport.transport
        task: asyncio.Task[None] | None = ice._connection._query_consent_task
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def close(connection: RTCPeerConnection) -> None:
    """Close a connection, and all of it where its negotiation failed half-way.

    aiortc stumbles over a section that got no transport, and leaves the sockets of the rest open.
    """
    private: Any = connection
    private._RTCPeerConnection__transceivers[:] = [
        transceiver
        for transceiver in connection.getTransceivers()
        if transceiver.receiver.transport is not None
    ]
    if connection.sctp is not None and connection.sctp.transport is None:
        private._RTCPeerConnection__sctp = None
    await connection.close()


def own_connecting(connection: RTCPeerConnection) -> set[asyncio.Task[None]]:
    """Collect the tasks in which a connection connects, so that its owner can await their end.

    aiortc starts them unowned; closed meanwhile, or at a section without transport, they end in an
    exception nobody retrieves.
    """
    private: Any = connection
    original = private._RTCPeerConnection__connect
    tasks: set[asyncio.Task[None]] = set()

    async def connect() -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await original()
        except (AttributeError, InvalidStateError, ConnectionError):
            logger.debug("connection closed while it was connecting")
        finally:
            tasks.discard(task)

    private._RTCPeerConnection__connect = connect
    return tasks
