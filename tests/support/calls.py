"""Both ends of a call for tests: a source of frames, and an aiortc client that counts them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import av
import numpy as np
from aiortc import (
    AudioStreamTrack,
    MediaStreamTrack,
    RTCConfiguration,
    RTCPeerConnection,
    RTCSessionDescription,
)
from aiortc.mediastreams import MediaStreamError
from numpy.typing import NDArray

from models.fake import FakeGenerator, read_counter
from server.media.av_frame import AVFrame
from server.media.encoders import OpusEncoder, VideoCodec, VideoEncoder
from server.webrtc import aiortc_patches
from server.webrtc.peer import Peer

FPS = 25.0
FRAME_48K = 1920
BEEP_EVERY = 50
BEEP_FRAMES = 5


def beep(index: int) -> NDArray[np.int16]:
    """The sound of frame ``index``: 1 kHz during five frames of every fifty, else silence."""
    if index % BEEP_EVERY >= BEEP_FRAMES:
        return np.zeros(FRAME_48K, np.int16)
    time = np.arange(FRAME_48K) / 48_000
    return (12_000 * np.sin(2 * np.pi * 1000 * time)).astype(np.int16)


class FrameSource:
    """Makes frames with counted pictures, and beeps with a flash of the picture."""

    def __init__(self, codec: VideoCodec = "h264") -> None:
        self.codec = codec
        self.generator = FakeGenerator(chunk_frames=1, lookahead_frames=0)
        portrait = np.full((128, 128, 3), 96, np.uint8)
        self.stream = self.generator.open(self.generator.prepare(portrait))
        self.video = VideoEncoder(self.generator.size, FPS, codec=codec)
        self.opus = OpusEncoder()
        self.index = 0
        self.keyframe_wanted = False
        self.keyframe_requests = 0

    def want_keyframe(self) -> None:
        """For ``on_keyframe_request``."""
        self.keyframe_requests += 1
        self.keyframe_wanted = True

    def next(self) -> AVFrame:
        """The next frame."""
        pcm = beep(self.index)
        heard = pcm[::3].astype(np.float32) / np.float32(32_768)
        frame = self.generator.generate([self.stream], [heard])[0][0]
        video, keyframe = self.video.encode(frame, force_keyframe=self.keyframe_wanted)
        self.keyframe_wanted = False
        packets = tuple(self.opus.encode(piece) for piece in pcm.reshape(-1, 960))
        h264, vp8 = (video, b"") if self.codec == "h264" else (b"", video)
        av_frame = AVFrame(0, self.index, keyframe, False, h264, packets, pcm.tobytes(), vp8=vp8)
        self.index += 1
        return av_frame


async def pace(source: FrameSource, send: Callable[[AVFrame], None]) -> None:
    """Send frames at ``FPS`` until cancelled, as a session's pacer does."""
    loop = asyncio.get_running_loop()
    start = loop.time() - source.index / FPS
    while True:
        send(source.next())
        await asyncio.sleep(max(0.0, start + source.index / FPS - loop.time()))


class ToneTrack(MediaStreamTrack):
    """A microphone that hears a 440 Hz tone, 20 ms at a time."""

    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self.sent = 0
        self.start: float | None = None

    async def recv(self) -> Any:
        """The next 20 ms."""
        if self.readyState != "live":
            raise MediaStreamError
        loop = asyncio.get_running_loop()
        if self.start is None:
            self.start = loop.time()
        await asyncio.sleep(max(0.0, self.start + self.sent / 48_000 - loop.time()))
        time = (self.sent + np.arange(960)) / 48_000
        pcm = (8_000 * np.sin(2 * np.pi * 440 * time)).astype(np.int16).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(pcm, format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 48_000, self.sent, Fraction(1, 48_000)
        self.sent += 960
        return frame


class Client:
    """An aiortc caller: shows the counters of the frames and the samples of sound it gets."""

    def __init__(self, microphone: MediaStreamTrack | None = None) -> None:
        self.connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.counters: list[int] = []
        self.samples = 0
        self.loud: list[int] = []
        self.tasks: list[asyncio.Task[None]] = []
        self.connection.on("track", self._on_track)
        self.connection.addTransceiver("video", "recvonly")
        if microphone is None:
            self.connection.addTransceiver("audio", "recvonly")
        else:
            self.connection.addTransceiver(microphone, "sendrecv")

    async def offer(self) -> str:
        """The offer, with loopback candidates."""
        with aiortc_patches.loopback_candidates(True):
            await self.connection.setLocalDescription(await self.connection.createOffer())
        return self.connection.localDescription.sdp

    async def accept(self, answer: str) -> None:
        """Take the answer."""
        await self.connection.setRemoteDescription(RTCSessionDescription(answer, "answer"))

    async def close(self) -> None:
        """Hang up."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.connection.close()

    def _on_track(self, track: MediaStreamTrack) -> None:
        reader = self._watch(track) if track.kind == "video" else self._listen(track)
        self.tasks.append(asyncio.ensure_future(reader))

    async def _watch(self, track: MediaStreamTrack) -> None:
        while True:
            frame: Any = await track.recv()
            self.counters.append(read_counter(frame.to_ndarray(format="rgb24")))

    async def _listen(self, track: MediaStreamTrack) -> None:
        while True:
            frame: Any = await track.recv()
            pcm = frame.to_ndarray().reshape(-1, 2)[:, 0]
            if np.abs(pcm.astype(int)).max() > 3_000:
                self.loud.append(self.samples)
            self.samples += len(pcm)


class Call:
    """A connected Peer and Client with a pacer, for ``async with``."""

    def __init__(
        self,
        microphone: MediaStreamTrack | None = None,
        codec: VideoCodec = "h264",
        **options: Any,
    ) -> None:
        self.client = Client(microphone)
        self.source = FrameSource(codec)
        self.heard: list[NDArray[np.int16]] = []
        self.closed: list[str] = []
        self.options = options
        self.listens = microphone is not None
        self.peer: Peer
        self.pacer: asyncio.Task[None]

    async def __aenter__(self) -> Call:
        offer = await self.client.offer()
        if self.source.codec == "vp8":
            offer = offer.replace("H264/90000", "H265/90000")
        self.peer = await Peer.answer(
            offer,
            fps=FPS,
            on_microphone=(lambda pcm, rate: self.heard.append(pcm)) if self.listens else None,
            on_keyframe_request=self.source.want_keyframe,
            on_closed=self.closed.append,
            loopback=True,
            **self.options,
        )
        self.pacer = asyncio.ensure_future(pace(self.source, self.peer.send))
        await self.client.accept(self.peer.answer_sdp)
        return self

    async def __aexit__(self, *error: object) -> None:
        self.pacer.cancel()
        await asyncio.gather(self.pacer, return_exceptions=True)
        await self.peer.aclose()
        await self.client.close()


async def until(holds: Callable[[], bool], timeout_s: float = 30.0) -> None:
    """Wait for a condition; AssertionError after ``timeout_s``."""
    async with asyncio.timeout(timeout_s):
        while not holds():
            await asyncio.sleep(0.01)


__all__ = ["FPS", "AudioStreamTrack", "Call", "Client", "ToneTrack", "FrameSource", "pace", "until"]
