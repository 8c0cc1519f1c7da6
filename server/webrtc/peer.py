"""One WebRTC call: answers an offer, sends frames when they are due, receives the microphone."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from enum import StrEnum
from typing import Any

from aiortc import (
    RTCBundlePolicy,
    RTCConfiguration,
    RTCIceServer,
    RTCPeerConnection,
    RTCRtpSender,
    RTCSessionDescription,
    sdp,
)

from server.errors import OfferError
from server.media.av_frame import AVFrame
from server.media.encoders import VideoCodec
from server.session.events import Event
from server.session.output import KeyframeGate, Shown
from server.webrtc import aiortc_patches as patches
from server.webrtc.channel import EventChannel
from server.webrtc.link_rate import LinkRate, Rates
from server.webrtc.microphone import Microphone, OnSound
from server.webrtc.offer import (
    Codec,
    ParsedOffer,
    has_endpoint,
    is_hidden_candidate,
    read_offer,
)
from server.webrtc.sending import AVFrameSender

MAX_TRICKLED_CANDIDATES = 64
MEDIA_TIMEOUT_S = 9.0

logger = logging.getLogger(__name__)


class PeerState(StrEnum):
    """Where a call stands; it only moves forward."""

    CONNECTING = "connecting"
    CONNECTED = "connected"
    CLOSED = "closed"


class CloseReason(StrEnum):
    """Why a call ended without ``aclose``; passed to ``on_closed``."""

    CONNECT_TIMEOUT = "connect_timeout"
    VANISHED = "vanished"
    FAILED = "failed"
    CLOSED_BY_PEER = "closed_by_peer"


def next_state(state: PeerState, event: PeerState) -> PeerState:
    """The transition function: forward steps happen, everything else changes nothing."""
    order = list(PeerState)
    return event if order.index(event) > order.index(state) else state


class Peer:
    """A call in progress. Make one with ``answer``; it ends by itself or with ``aclose``.

    Implements ``Output``. Events travel through a data channel, where the caller opens one. All of
    it lives on one event loop: call it there, and be called back there, synchronously.
    """

    media = True

    def __init__(
        self,
        *,
        fps: float,
        video: VideoCodec | None,
        rates: Rates,
        on_keyframe_request: Callable[[], None],
        on_closed: Callable[[str], None],
        ice_servers: Sequence[Mapping[str, Any]],
        on_sent: Callable[[float, float | None], None] = lambda *_: None,
    ) -> None:
        """Private: use ``answer``."""
        self.answer_sdp = ""
        self.remote_ufrag = ""
        self.video: Shown = video or "none"
        self.state = PeerState.CONNECTING
        self.microphone: Microphone | None = None
        self.dropped_frames = 0
        self._loop = asyncio.get_running_loop()
        self._on_closed = on_closed
        self._gate = KeyframeGate(on_keyframe_request, self.video)
        self._sender = AVFrameSender(fps, on_keyframe_request, video or "h264", on_sent)
        self._link = LinkRate(rates)
        self._connection = RTCPeerConnection(
            RTCConfiguration(
                iceServers=[RTCIceServer(**server) for server in ice_servers],
                bundlePolicy=RTCBundlePolicy.MAX_BUNDLE,
            )
        )
        self._connecting = patches.own_connecting(self._connection)
        self._connection.on("connectionstatechange", self._on_connection_state)
        self._channel = EventChannel()
        self._connection.on("datachannel", self._channel.open)
        self._talk: asyncio.Task[None] | None = None
        self._connected = asyncio.Event()
        self._last_traffic = self._loop.time()
        self._candidates = 0
        self._watch: asyncio.Task[None] | None = None
        self._shutting: asyncio.Task[None] | None = None

    @classmethod
    async def answer(
        cls,
        offer_sdp: str,
        *,
        fps: float,
        rates: Rates | None = None,
        source: bool = False,
        on_microphone: OnSound | None,
        on_keyframe_request: Callable[[], None],
        on_closed: Callable[[str], None],
        connect_timeout_s: float = 10.0,
        media_timeout_s: float = MEDIA_TIMEOUT_S,
        ice_servers: Sequence[Mapping[str, Any]] = (),
        loopback: bool = False,
        on_sent: Callable[[float, float | None], None] = lambda *_: None,
    ) -> Peer:
        """Answer an offer; the call connects in the background.

        Args:
            offer_sdp: the caller's offer; must take H.264 or VP8, may take and give Opus.
            fps: frames per second of what ``send`` will get.
            rates: of the pictures; they follow the caller's link between floor and cap.
            source: the caller gives Opus and is sent nothing.
            on_microphone: gets int16 [N], mono, and 48000, in order; None refuses the microphone.
            on_keyframe_request: the next frame should be a keyframe: on connecting, after losses.
            on_closed: called with a ``CloseReason`` once if the call ends other than by ``aclose``.
            connect_timeout_s: the call must stand by then.
            media_timeout_s: silence on the wire (no media, reports or consent checks) that ends it.
            ice_servers: of mappings with ``urls`` and maybe ``username`` and ``credential``.
            loopback: also offer 127.0.0.1, for a caller on the server's own machine.
            on_sent: see ``AVFrameSender``.

        Raises:
            OfferError: ``bad_offer`` or ``no_codec``.
        """
        offer = read_offer(offer_sdp, source=source)
        peer = cls(
            fps=fps,
            video=None if source else offer.video,
            rates=rates or Rates(),
            on_keyframe_request=on_keyframe_request,
            on_closed=on_closed,
            ice_servers=ice_servers,
            on_sent=on_sent,
        )
        peer.remote_ufrag = offer.value("a=ice-ufrag:")
        watching = peer._watch_over(connect_timeout_s, media_timeout_s)
        peer._watch = asyncio.create_task(watching, name="webrtc-watch")
        await peer._negotiate_or_close(offer, on_microphone, loopback)
        return peer

    @property
    def connected(self) -> bool:
        """Whether media flows now."""
        return self.state is PeerState.CONNECTED

    @property
    def ready(self) -> bool:
        """Whether the call is connected and shows pictures."""
        return self.connected and self.video != "none"

    @property
    def bitrate(self) -> int:
        """Bit/s that pictures may take on the caller's link."""
        return self._link.bitrate

    def send(self, frame: AVFrame) -> None:
        """Send a frame that is due now; never waits.

        Frames before the call is connected, and then before the first keyframe, are dropped.
        """
        if self.video != "none" and self.connected and self._gate.passes(frame):
            now = self._loop.time()
            self._link.on_sent(len(frame.picture(self.video)), now)
            self._sender.send(frame, now)

    def event(self, event: Event) -> None:
        """Send an event through the data channel, if there is one."""
        self._channel.send(event)

    def talk(
        self, take: Callable[[str | bytes], Awaitable[None]], greet: Callable[[], None]
    ) -> None:
        """Have the data channel's messages taken, until the call ends."""
        self._talk = asyncio.create_task(self._channel.run(take, greet), name="webrtc-messages")

    def clear(self) -> None:
        """Drop frames that were not sent yet; the next must be a keyframe."""
        self._sender.clear()

    async def add_candidate(
        self, candidate: str | None, sdp_mid: str | None, sdp_mline_index: int | None
    ) -> None:
        """Take a trickled candidate; None or empty (the end of candidates) changes nothing.

        Raises:
            OfferError: the candidate is malformed (``bad_offer``).
        """
        text = (candidate or "").strip().removeprefix("a=").removeprefix("candidate:")
        if not text or is_hidden_candidate(text) or self._candidates >= MAX_TRICKLED_CANDIDATES:
            return
        try:
            parsed = sdp.candidate_from_sdp(text)
        except Exception as error:  # the parser raises whatever comes
            raise OfferError("expected an ICE candidate line, got something else") from error
        if not has_endpoint(text):
            raise OfferError("expected an address and a port in the ICE candidate, got another")
        if sdp_mid is None and sdp_mline_index is None:
            raise OfferError("expected sdpMid or sdpMLineIndex beside the candidate, got neither")
        parsed.sdpMid, parsed.sdpMLineIndex = sdp_mid, sdp_mline_index
        self._candidates += 1
        if self.state is not PeerState.CLOSED:
            await patches.add_candidate(self._connection, parsed)

    async def aclose(self) -> None:
        """End the call and wait until nothing of it is left; calling it again is harmless."""
        self._end(None)
        assert self._shutting is not None
        await asyncio.shield(self._shutting)

    async def _negotiate_or_close(
        self, offer: ParsedOffer, on_microphone: OnSound | None, loopback: bool
    ) -> None:
        try:
            await self._negotiate(offer, on_microphone, loopback)
        except (OSError, asyncio.CancelledError):  # no sockets, or nobody waits any more
            await self.aclose()
            raise
        except Exception as error:  # whatever aiortc raises for an odd offer
            await self.aclose()
            raise OfferError(
                f"expected an offer that can be answered, got one that cannot: {error}"
            ) from error

    async def _negotiate(
        self, offer: ParsedOffer, on_microphone: OnSound | None, loopback: bool
    ) -> None:
        connection = self._connection
        microphone_index = self._add_sections(offer, on_microphone is not None)
        patches.watch_traffic(connection, self._on_traffic)
        await connection.setRemoteDescription(RTCSessionDescription(offer.sdp, "offer"))
        for index, transceiver in enumerate(connection.getTransceivers()):
            on_packet = None
            if index == microphone_index and on_microphone is not None:
                self.microphone = Microphone(on_microphone)
                on_packet = self.microphone.receive
            patches.tap_receiver(transceiver.receiver, on_packet)
        if offer.value("a=setup:") != "passive":
            patches.answer_as_dtls_server(connection)
        with patches.loopback_candidates(loopback):
            await connection.setLocalDescription(await connection.createAnswer())
        self.answer_sdp = offer.answer(connection.localDescription.sdp)

    def _add_sections(self, offer: ParsedOffer, with_microphone: bool) -> int | None:
        """Make one transceiver per section, in order; the index of the microphone."""
        unsent = set() if self.video == "none" else {"video", "audio"}
        microphone_index: int | None = None
        for index, section in enumerate(offer.sections):
            wanted = section.codec in (self.video, "opus")
            sends = section.may_send and wanted and section.kind in unsent
            receives = with_microphone and microphone_index is None and section.may_receive
            receives = receives and section.codec == "opus"
            direction = ("inactive", "sendonly", "recvonly", "sendrecv")[sends + 2 * receives]
            track = self._sender.track(section.kind) if sends else section.kind
            transceiver = self._connection.addTransceiver(track, direction)
            if section.codec:
                transceiver.setCodecPreferences(_preferences(section.kind, section.codec))
            if sends:
                unsent.discard(section.kind)
            if receives:
                microphone_index = index
            if sends and section.kind == "video":
                patches.on_keyframe_wanted(transceiver.sender, self._sender.request_keyframe)
                patches.on_feedback(transceiver.sender, self._on_estimate, self._on_loss)
        return microphone_index

    def _on_estimate(self, bitrate: float) -> None:
        self._link.on_estimate(bitrate, self._loop.time())

    def _on_loss(self, fraction: float) -> None:
        self._link.on_loss(fraction, self._loop.time())

    def _on_traffic(self) -> None:
        self._last_traffic = self._loop.time()

    def _on_connection_state(self) -> None:
        state = self._connection.connectionState
        if state == "connected" and self.state is PeerState.CONNECTING:
            self.state = next_state(self.state, PeerState.CONNECTED)
            self._connected.set()
            self._sender.request_keyframe()
        elif state == "failed":
            self._end(CloseReason.FAILED)
        elif state == "closed":
            self._end(CloseReason.CLOSED_BY_PEER)

    async def _watch_over(self, connect_timeout_s: float, media_timeout_s: float) -> None:
        try:
            async with asyncio.timeout(connect_timeout_s):
                await self._connected.wait()
        except TimeoutError:
            self._end(CloseReason.CONNECT_TIMEOUT)
            return
        while (quiet := self._loop.time() - self._last_traffic) < media_timeout_s:
            await asyncio.sleep(media_timeout_s - quiet)
        self._end(CloseReason.VANISHED)

    def _end(self, reason: CloseReason | None) -> None:
        if self.state is PeerState.CLOSED:
            return
        self.state = next_state(self.state, PeerState.CLOSED)
        self._shutting = asyncio.create_task(self._shut(), name="webrtc-shut")
        if reason is not None:
            logger.info("call ended: %s", reason.value)
            try:
                self._on_closed(reason.value)
            except Exception:
                logger.exception("the listener of a call's end failed")

    async def _shut(self) -> None:
        """Release everything; runs once, as a task that nobody cancels."""
        waiting = [task for task in (self._watch, self._talk) if task is not None]
        for task in waiting:
            task.cancel()
        if self.microphone is not None:
            self.microphone.close()
        await patches.close(self._connection)
        self._sender.stop()
        waiting.extend(self._connecting)
        await asyncio.gather(*waiting, return_exceptions=True)
        await patches.end_consent(self._connection)


def _preferences(kind: str, codec: Codec) -> list[Any]:
    """The codecs to agree on, best first: one, H.264 constrained baseline first, with repair."""
    offered = RTCRtpSender.getCapabilities(kind).codecs
    chosen = [one for one in offered if one.mimeType.lower() == f"{kind}/{codec}"]
    chosen.sort(key=lambda one: str(one.parameters.get("profile-level-id")) != "42e01f")
    return [*chosen, *(one for one in offered if one.mimeType.lower() == "video/rtx")]
