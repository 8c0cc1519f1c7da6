"""Outputs alone: gates, slow readers, closing, and the audience they make."""

from __future__ import annotations

import asyncio
import json
from typing import Any, cast

import pytest
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from server.media.av_frame import AVFrame
from server.outputs.websocket import MAX_EVENTS, MAX_FRAMES, TOO_SLOW, WebSocketOutput
from server.session.audience import Audience
from server.session.output import KeyframeGate, Shown
from server.webrtc.link_rate import Rates
from server.webrtc.peer import Peer, PeerState
from server.webrtc.sending import AVFrameSender
from tests.support.clock import ManualClock, settle
from tests.support.output import Recorder
from tests.support.server_in_loop import unpack

pytestmark = pytest.mark.unit


class Line:
    """A WebSocket that takes messages only while it is open."""

    def __init__(self) -> None:
        self.sent: list[bytes | str] = []
        self.flowing = asyncio.Event()
        self.flowing.set()
        self.broken = False
        self.closed: int | None = None
        self.application_state = WebSocketState.CONNECTED

    async def send_bytes(self, data: bytes) -> None:
        """Take a frame."""
        await self._take(data)

    async def send_text(self, text: str) -> None:
        """Take an event."""
        await self._take(text)

    async def close(self, code: int) -> None:
        """Remember the code."""
        self.closed = code

    async def _take(self, item: bytes | str) -> None:
        await self.flowing.wait()
        if self.broken:
            raise WebSocketDisconnect(1006)
        self.sent.append(item)


def frame(index: int, *, keyframe: bool = False, jpeg: bytes = b"") -> AVFrame:
    """A frame of no consequence."""
    return AVFrame(0, index, keyframe, False, b"video", (), b"\0" * 8, jpeg)


class Scene:
    """A socket output with its line."""

    def __init__(self, video: Any = "h264") -> None:
        self.line = Line()
        self.keyframes = 0
        self.output = WebSocketOutput(cast(WebSocket, self.line), video, self._keyframe)
        self.output.start()

    def _keyframe(self) -> None:
        self.keyframes += 1

    @property
    def indices(self) -> list[int]:
        """Frames that were sent."""
        return [unpack(item).index for item in self.line.sent if isinstance(item, bytes)]


def test_a_gate_waits_for_a_keyframe_and_asks_for_one() -> None:
    asked: list[int] = []
    gate = KeyframeGate(lambda: asked.append(1))
    assert [gate.passes(frame(0)), gate.passes(frame(1, keyframe=True)), gate.passes(frame(2))] == [
        False,
        True,
        True,
    ]
    gate.close()
    assert not gate.passes(frame(3))
    assert len(asked) == 2


async def test_frames_and_events_keep_their_order() -> None:
    scene = Scene()
    scene.output.send(frame(0, keyframe=True))
    scene.output.event({"type": "a"})
    scene.output.send(frame(1))
    await settle()
    kinds = [type(item) for item in scene.line.sent]
    assert kinds == [bytes, str, bytes]
    await scene.output.aclose()
    assert scene.line.closed == 1000 and not scene.output.ready


async def test_a_slow_reader_loses_frames_but_no_events_and_goes_on_at_a_keyframe() -> None:
    scene = Scene()
    scene.line.flowing.clear()
    for index in range(MAX_FRAMES + 20):
        scene.output.send(frame(index, keyframe=index == 0))
        if index % 10 == 0:
            scene.output.event({"type": f"event {index}"})
    assert scene.output.dropped_frames >= MAX_FRAMES
    assert scene.keyframes > 0
    scene.output.send(frame(100, keyframe=True))
    scene.output.send(frame(101))
    scene.line.flowing.set()
    await settle()
    assert scene.indices[-2:] == [100, 101] and len(scene.indices) <= 3
    events = [json.loads(item)["type"] for item in scene.line.sent if isinstance(item, str)]
    assert events == [f"event {index}" for index in range(0, MAX_FRAMES + 20, 10)]
    await scene.output.aclose()


async def test_an_interrupt_drops_what_a_slow_reader_has_not_got() -> None:
    scene = Scene()
    scene.output.send(frame(0, keyframe=True))
    await settle()
    scene.line.flowing.clear()
    scene.output.send(frame(1))
    await settle()  # on its way
    for index in (2, 3):
        scene.output.send(frame(index))
    scene.output.event({"type": "started"})
    scene.output.clear()
    scene.output.send(frame(4))  # leads nowhere: what it follows was dropped
    scene.output.send(frame(5, keyframe=True))
    scene.line.flowing.set()
    await settle()
    assert scene.indices == [0, 1, 5] and scene.output.dropped_frames == 0
    assert [item for item in scene.line.sent if isinstance(item, str)] == ['{"type":"started"}']
    scene.output.clear()  # nothing was queued: nothing is left out
    scene.output.send(frame(6))
    await settle()
    assert scene.indices[-1] == 6
    await scene.output.aclose()


async def test_a_reader_that_leaves_its_events_is_disconnected() -> None:
    scene = Scene("none")
    scene.line.flowing.clear()
    for index in range(MAX_EVENTS + 5):
        scene.output.event({"type": str(index)})
    scene.line.flowing.set()
    await asyncio.wait_for(scene.output.wait_closed(), 5)
    assert scene.line.closed == TOO_SLOW
    await scene.output.aclose()


async def test_a_stuck_reader_does_not_hold_up_the_end() -> None:
    scene = Scene()
    scene.line.flowing.clear()
    scene.output.send(frame(0, keyframe=True))
    await settle()
    await asyncio.wait_for(scene.output.aclose(), 10)


async def test_a_reader_that_left_is_noticed() -> None:
    scene = Scene()
    scene.line.broken = True
    scene.output.event({"type": "a"})
    await asyncio.wait_for(scene.output.wait_closed(), 5)
    scene.output.send(frame(0, keyframe=True))
    scene.output.event({"type": "b"})
    await scene.output.aclose()
    assert scene.line.sent == []


async def test_jpeg_needs_no_keyframe_and_none_takes_no_frames() -> None:
    jpeg_viewer, listener = Scene("jpeg"), Scene("none")
    for scene in (jpeg_viewer, listener):
        scene.output.send(frame(0))
        scene.output.send(frame(1, jpeg=b"picture"))
        await settle()
    assert jpeg_viewer.indices == [1] and listener.line.sent == []
    assert jpeg_viewer.output.ready and not listener.output.ready
    for scene in (jpeg_viewer, listener):
        await scene.output.aclose()


class Telephone:
    """The sending half of a call."""

    def __init__(self) -> None:
        self.sent: list[int] = []
        self.ended = False

    def send(self, frame: AVFrame, now: float) -> None:
        """Take a frame."""
        self.sent.append(frame.index)

    def clear(self) -> None:
        """Take everything back."""
        self.sent.clear()

    def stop(self) -> None:
        """Hang up."""
        self.ended = True


def test_each_watched_codec_is_encoded_for_its_slowest_link() -> None:
    clock, audience = ManualClock(), Audience()
    assert audience.codecs == {}
    viewers: list[tuple[Shown, int]] = [
        *(("jpeg", 0), ("h264", 0)),
        *(("vp8", 300_000), ("vp8", 200_000)),
    ]
    for codec, bitrate in viewers:
        viewer = Recorder(clock, codec)
        viewer.bitrate = bitrate
        audience.add(viewer)
    assert audience.codecs == {"h264": 0, "vp8": 200_000}


async def test_a_call_gets_frames_from_the_keyframe_after_it_connected() -> None:
    telephone, asked = Telephone(), []
    output = Peer(
        video="h264",
        rates=Rates(),
        fps=25.0,
        on_keyframe_request=lambda: asked.append(1),
        on_closed=lambda _: None,
        ice_servers=(),
    )
    output._sender = cast(AVFrameSender, telephone)
    output.send(frame(0, keyframe=True))
    assert not output.ready
    output.state = PeerState.CONNECTED
    output.send(frame(1))
    output.send(frame(2, keyframe=True))
    output.send(frame(3))
    output.event({"type": "ignored"})
    assert output.ready and telephone.sent == [2, 3] and len(asked) == 1
    output.clear()
    assert telephone.sent == []
    await output.aclose()
    assert telephone.ended


async def test_an_audience_knows_who_watches() -> None:
    clock, audience = ManualClock(), Audience()
    listener, jpeg_viewer = Recorder(clock, "none"), Recorder(clock, "jpeg", ready=False)
    audience.add(listener)
    assert (audience.watches, audience.wants_jpeg, audience.ready) == (False, False, True)
    audience.add(jpeg_viewer)
    assert (audience.watches, audience.wants_jpeg) == (True, True)
    jpeg_viewer.dropped_frames = 3
    audience.clear()
    assert len(listener.cleared) == len(jpeg_viewer.cleared) == 1
    audience.remove(jpeg_viewer)
    assert audience.dropped_frames == 3 and jpeg_viewer not in audience and len(audience) == 1
    await audience.aclose()
    assert listener.closed and not jpeg_viewer.closed
