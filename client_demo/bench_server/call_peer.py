"""A peer that calls by WebRTC, and takes packets before anything decodes them.

A picture has arrived with the packet that ends it. Speech goes through the data channel.
"""

from __future__ import annotations

import asyncio
import base64
import json
import time
from typing import Any

import httpx
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription

from client_demo.client import SLICE_S
from client_demo.rest import TIMEOUT_S, RequestFailed, Rest, Ticket
from server.webrtc import aiortc_patches

SLICE_BYTES = round(2 * 16_000 * SLICE_S)


class CallPeer:
    """One session and its call."""

    sees_speech = False  # packets do not tell

    def __init__(self, url: str) -> None:
        self.arrivals: list[float] = []
        self.speaking = False
        self.spoke_at: float | None = None
        self._url = url
        self._rest = Rest(url)
        self._ticket: Ticket | None = None
        self._connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._channel = self._connection.createDataChannel("events")
        self._ready = asyncio.Event()
        self._channel.on("open", self._ready.set)

    async def open(self) -> None:
        """Create the session, call, wait for the data channel and the first picture."""
        self._ticket = await self._rest.create(None, None, "speak")
        for kind, callback in (("video", self._note), ("audio", None)):
            transceiver = self._connection.addTransceiver(kind, "recvonly")
            aiortc_patches.tap_receiver(transceiver.receiver, callback)
        try:
            with aiortc_patches.loopback_candidates(True):
                offer = await self._connection.createOffer()
                await self._connection.setLocalDescription(offer)
            answer = await self._offer(self._ticket, self._connection.localDescription.sdp)
            await self._connection.setRemoteDescription(RTCSessionDescription(answer, "answer"))
            async with asyncio.timeout(TIMEOUT_S):
                await self._ready.wait()
                while not self.arrivals:
                    await asyncio.sleep(0.01)
        except TimeoutError as error:
            await self.close()
            raise RequestFailed(
                f"expected a call's pictures within {TIMEOUT_S:.0f} s, got none;"
                " look at the server's log",
                code="lost",
            ) from error
        except BaseException:
            await self.close()
            raise

    async def push(self, pcm: bytes) -> None:
        """Send speech as text, in slices."""
        for start in range(0, len(pcm), SLICE_BYTES):
            audio = base64.b64encode(pcm[start : start + SLICE_BYTES]).decode()
            self._send({"type": "input_audio_buffer.append", "audio": audio})

    async def commit(self) -> None:
        """End the segment."""
        self._send({"type": "input_audio_buffer.commit"})

    async def milliseconds_per_frame(self) -> float:
        """As the server says."""
        assert self._ticket is not None
        return float((await self._rest.status(self._ticket))["metrics"]["ms_per_frame"])

    async def hang_up(self) -> None:
        """Close the call; the session is left to the server."""
        await aiortc_patches.close(self._connection)

    async def close(self) -> None:
        """Hang up and end the session."""
        await self.hang_up()
        if self._ticket is not None:
            await self._rest.delete(self._ticket)

    async def _offer(self, ticket: Ticket, sdp: str) -> str:
        async with httpx.AsyncClient(base_url=self._url, timeout=TIMEOUT_S) as http:
            answer = await http.post(
                f"/session/{ticket.session_id}/offer",
                json={"sdp": sdp, "type": "offer"},
                headers=ticket.headers,
            )
        if answer.is_error:
            raise RequestFailed(
                f"the server refused a call ({answer.status_code}): {answer.text}",
                code="no_call",
                status=answer.status_code,
            )
        return str(answer.json()["sdp"])

    def _note(self, packet: Any) -> None:
        if packet.marker:
            self.arrivals.append(time.monotonic())

    def _send(self, message: dict[str, str]) -> None:
        if self._channel.readyState != "open":
            raise RequestFailed("the data channel is closed; see the server's log", code="lost")
        self._channel.send(json.dumps(message))
