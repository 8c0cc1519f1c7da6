"""One session inside the worker: its model stream, its encoders, its queue of requests."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from typing import Generic

import numpy as np
from numpy.typing import NDArray

from models.generator import Stream
from server.media.av_frame import AVFrame
from server.media.encoders import OpusPacketiser, encode_jpeg
from server.media.spec import MediaSpec
from server.session.workers import ChunkRequest
from server.worker.disclosure import DisclosureMark
from server.worker.pictures import PictureEncoders

MAX_REQUESTS = 4


class WorkerStream(Generic[Stream]):
    """The model stream and the encoders of one session; used by the worker's main thread only.

    **Bound**: ``MAX_REQUESTS`` requests (the gateway keeps two in flight). **Drop rule**: one too
    many drops the oldest, which only a gateway that lost count can cause.
    """

    def __init__(self, spec: MediaSpec, stream: Stream, mark: DisclosureMark | None = None) -> None:
        self.stream = stream
        self.epoch = 0
        self._spec = spec
        self._mark = mark
        self._requests: deque[tuple[float, ChunkRequest]] = deque(maxlen=MAX_REQUESTS)
        self._pictures = PictureEncoders(spec.size, spec.fps)
        self._opus = OpusPacketiser()
        self._keyframe = False

    def add(self, request: ChunkRequest) -> None:
        """Queue a request unless it is older than the last interrupt."""
        if request.epoch >= self.epoch:
            self._requests.append((time.monotonic() + request.slack_s, request))

    def interrupt(self, epoch: int) -> None:
        """Drop what is older than ``epoch``."""
        self.epoch = max(self.epoch, epoch)
        current = [item for item in self._requests if item[1].epoch >= self.epoch]
        self._requests = deque(current, maxlen=MAX_REQUESTS)

    def request_keyframe(self) -> None:
        """Make the next frame that is encoded decodable alone."""
        self._keyframe = True

    @property
    def due(self) -> float | None:
        """When the next request's first frame is due, monotonic seconds; None without a request."""
        return self._requests[0][0] if self._requests else None

    def take(self) -> ChunkRequest:
        """The next request; there must be one."""
        return self._requests.popleft()[1]

    def is_stale(self, request: ChunkRequest) -> bool:
        """Whether an interrupt overtook the request."""
        return request.epoch < self.epoch

    def encode(
        self, request: ChunkRequest, pictures: Iterable[NDArray[np.uint8]], first: int = 0
    ) -> tuple[AVFrame, ...]:
        """Frames from RGB uint8 [H, W, 3] each and the request's own sound.

        Args:
            first: which frame of the chunk is the first of ``pictures``.
        """
        sound = np.frombuffer(request.sound, np.int16).reshape(-1, self._spec.sound_samples)
        frames = []
        if request.keyframe and first == 0:  # nothing that was played before leads up to this chunk
            self._opus.restart()
        self._pictures.choose(request.codecs)
        for k, picture in enumerate(pictures, first):
            forced = self._keyframe or (request.keyframe and k == 0)
            with self._mark.on(picture) if self._mark else nullcontext(picture) as shown:
                video, keyframe = self._pictures.encode(shown, force_keyframe=forced)
                jpeg = encode_jpeg(shown) if request.jpeg else b""
            self._keyframe = False
            frames.append(
                AVFrame(
                    epoch=request.epoch,
                    index=request.first_index + k,
                    keyframe=keyframe,
                    speaking=request.speaking[k],
                    video=video.get("h264", b""),
                    opus=self._opus.push(sound[k]),
                    pcm=sound[k].tobytes(),
                    jpeg=jpeg,
                    vp8=video.get("vp8", b""),
                )
            )
        return tuple(frames)

    def close(self) -> None:
        """Release the encoders."""
        self._requests.clear()
        self._pictures.close()


def earliest_due(streams: Sequence[WorkerStream[Stream]], limit: int) -> list[WorkerStream[Stream]]:
    """At most ``limit`` streams that have a request, the earliest due first."""
    waiting = [stream for stream in streams if stream.due is not None]
    return sorted(waiting, key=lambda stream: stream.due or 0.0)[:limit]


def silent_request(spec: MediaSpec) -> ChunkRequest:
    """A chunk of silence that nobody waits for, to warm up and measure with."""
    return ChunkRequest(
        epoch=0,
        sequence=0,
        first_index=0,
        features=bytes(4 * spec.needed_frames * spec.feature_samples),
        sound=bytes(2 * spec.chunk_frames * spec.sound_samples),
        speaking=(False,) * spec.chunk_frames,
        keyframe=False,
        jpeg=False,
        slack_s=0.0,
    )
