"""One session inside the worker: its model stream, its encoders, its queue of jobs."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from server.media.av_frame import AVFrame
from server.media.encoders import OpusPacketiser, VideoEncoder, encode_jpeg
from server.media.spec import MediaSpec
from server.worker.messages import ChunkRequest

MAX_JOBS = 4


class WorkerStream:
    """What a session needs to become units; used by the worker's one thread only.

    The queue holds at most ``MAX_JOBS`` jobs (the gateway keeps two in flight); when there is one
    too many the oldest is dropped, which only a gateway that lost count can cause.
    """

    def __init__(self, spec: MediaSpec, stream: Any) -> None:
        self.stream = stream
        self.generation = 0
        self._spec = spec
        self._jobs: deque[tuple[float, ChunkRequest]] = deque(maxlen=MAX_JOBS)
        self._video = VideoEncoder(spec.size, spec.fps)
        self._opus = OpusPacketiser()
        self._keyframe = False

    def add(self, job: ChunkRequest) -> None:
        """Queue a job unless it is older than the last interrupt."""
        if job.generation >= self.generation:
            self._jobs.append((time.monotonic() + job.slack_s, job))

    def interrupt(self, generation: int) -> None:
        """Drop what is older than ``generation``."""
        self.generation = max(self.generation, generation)
        kept = [item for item in self._jobs if item[1].generation >= self.generation]
        self._jobs = deque(kept, maxlen=MAX_JOBS)

    def request_keyframe(self) -> None:
        """Make the next frame that is encoded decodable alone."""
        self._keyframe = True

    @property
    def due(self) -> float | None:
        """When the next job's first frame is wanted, monotonic seconds; None without a job."""
        return self._jobs[0][0] if self._jobs else None

    def take(self) -> ChunkRequest:
        """The next job; there must be one."""
        return self._jobs.popleft()[1]

    def is_stale(self, job: ChunkRequest) -> bool:
        """Whether an interrupt overtook the job."""
        return job.generation < self.generation

    def encode(self, job: ChunkRequest, frames: NDArray[np.uint8]) -> tuple[AVFrame, ...]:
        """Units of one chunk from RGB uint8 [F, H, W, 3] and the job's own sound."""
        sound = np.frombuffer(job.sound, np.int16).reshape(len(frames), self._spec.sound_samples)
        units = []
        if job.keyframe:  # nothing that was played before leads up to this chunk
            self._opus.restart()
        for k, frame in enumerate(frames):
            forced = self._keyframe or (job.keyframe and k == 0)
            video, keyframe = self._video.encode(frame, force_keyframe=forced)
            self._keyframe = False
            units.append(
                AVFrame(
                    generation=job.generation,
                    index=job.first_index + k,
                    keyframe=keyframe,
                    speaking=job.speaking[k],
                    video=video,
                    opus=self._opus.push(sound[k]),
                    pcm=sound[k].tobytes(),
                    jpeg=encode_jpeg(frame) if job.jpeg else b"",
                )
            )
        return tuple(units)

    def close(self) -> None:
        """Release the encoders."""
        self._jobs.clear()
        self._video.close()


def most_urgent(streams: Sequence[WorkerStream], limit: int) -> list[WorkerStream]:
    """At most ``limit`` streams that have a job, the earliest due first."""
    waiting = [stream for stream in streams if stream.due is not None]
    return sorted(waiting, key=lambda stream: stream.due or 0.0)[:limit]


def silent_job(spec: MediaSpec) -> ChunkRequest:
    """A chunk of silence that nobody waits for, to warm up and measure with."""
    return ChunkRequest(
        generation=0,
        sequence=0,
        first_index=0,
        features=bytes(4 * spec.needed_frames * spec.feature_samples),
        sound=bytes(2 * spec.chunk_frames * spec.sound_samples),
        speaking=(False,) * spec.chunk_frames,
        keyframe=False,
        jpeg=False,
        slack_s=0.0,
    )
