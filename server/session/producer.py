"""Turns one session's speech into chunks: decides when the worker makes the next, of which sound.

**Bound**: at most ``IN_FLIGHT`` chunks at the worker. Idle chunks are requested just in time: when
what is buffered lasts no longer than ``lead_s``, the longest of the worker's last answers plus a
margin. Speech that is already there is requested ahead, until one chunk is queued or on its way;
the rest waits in the scheduler, where an interrupt drops it for nothing. While no output is ready
(somebody watches, but the call is not connected yet) speech is held and the picture idles; speech
that had started goes on as a new segment. **Drop rule**: chunks of an older epoch are dropped.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from server.clock import Clock, wait_until
from server.media.resampler import AudioFormat
from server.media.spec import MediaSpec
from server.session.audience import Audience
from server.session.caller import Caller
from server.session.incoming import FrameTag
from server.session.metrics import ChunkMetrics, SessionMetrics, short_id
from server.session.pacer import Pacer, QueuedFrame
from server.session.scheduler import ChunkScheduler, Cut
from server.session.state import SessionStatus
from server.session.trace import SessionTrace
from server.session.workers import ChunkRequest, ChunkResult, WorkerStreamHandle

log = logging.getLogger(__name__)

IN_FLIGHT = 2
MARGIN_S = 0.025
REMEMBERED = 8
LIVE_CUSHION = 1  # idle frames kept before a microphone's first: its packets come unevenly
KEYFRAME_PAUSE_S = 0.3


@dataclass(frozen=True, slots=True)
class _Requested:
    """A chunk at the worker: when it was asked for, and how many of its frames have arrived."""

    at: float
    tags: tuple[FrameTag, ...]
    starts: bool
    arrived: int = 0

    @property
    def coming(self) -> tuple[FrameTag, ...]:
        """The tags of the frames still to come."""
        return self.tags[self.arrived :]


class Producer:
    """Feeds one session's scheduler and holds its stream at the worker; ``run`` is its task."""

    def __init__(
        self,
        spec: MediaSpec,
        clock: Clock,
        scheduler: ChunkScheduler,
        pacer: Pacer,
        audience: Audience,
        status: SessionStatus,
        metrics: SessionMetrics,
        caller: Caller | None = None,
        trace: SessionTrace | None = None,
    ) -> None:
        """``caller``: whom the portrait listens to."""
        self._spec = spec
        self._clock = clock
        self._scheduler = scheduler
        self._pacer = pacer
        self._audience = audience
        self._status = status
        self._metrics = metrics
        self._caller = caller
        self._trace = trace or SessionTrace()
        self._stream: WorkerStreamHandle | None = None
        self._wake = pacer.frame_played  # and set by everything else that may change the next cut
        self._room = asyncio.Event()
        self._requested: dict[int, _Requested] = {}
        self._answers_s: deque[float] = deque(maxlen=REMEMBERED)
        self._sequence = 0
        self._fresh_picture = True
        self._running = False
        self._keyframe_at = -KEYFRAME_PAUSE_S
        self.epoch = 0

    @property
    def chunk_s(self) -> float:
        """Seconds of media in a chunk."""
        return self._spec.chunk_frames * self._spec.frame_s

    @property
    def lead_s(self) -> float:
        """How long before the pacer runs empty the next chunk is requested."""
        slowest = max(self._answers_s, default=self.chunk_s)
        return min(slowest + MARGIN_S, 2 * self.chunk_s)

    @property
    def frames_ahead(self) -> int:
        """Frames in the pacer or at the worker."""
        return self._pacer.queued_frames + self._frames_at_worker

    @property
    def sounding(self) -> bool:
        """Whether speech that was cut is in the pacer or at the worker."""
        at_worker = any(tag.samples for asked in self._requested.values() for tag in asked.coming)
        return at_worker or self._pacer.sounding

    @property
    def has_room(self) -> bool:
        """Whether pushed speech may be handed in; a microphone's always may."""
        return self._scheduler.live or self._scheduler.free_s > 0

    def hear(self, samples: NDArray[np.int16], audio_format: AudioFormat) -> None:
        """Queue interleaved int16 samples at once."""
        now = self._clock.now()
        if self._scheduler.empty and not self.sounding:
            self._metrics.asked(now)
        if self._caller is not None and self._scheduler.live:
            self._caller.hear(samples, audio_format, now)
        self._scheduler.push(samples, audio_format, now)
        self._status.refresh()
        self._wake.set()

    def end_segment(self) -> None:
        """End the segment that is being pushed."""
        self._scheduler.commit()
        self._wake.set()

    def drop_speech(self) -> None:
        """Drop speech that was not cut yet; what was cut is still played."""
        self._scheduler.clear()
        self._room.set()
        self._wake.set()

    async def wait_for_room(self) -> None:
        """Return when there is room."""
        while not self.has_room:
            self._room.clear()
            await self._room.wait()

    def connect(self, stream: WorkerStreamHandle) -> None:
        """Take the session's stream at the worker."""
        self._stream = stream

    def start(self) -> None:
        """Somebody watches: make chunks, beginning with a keyframe."""
        self._running, self._fresh_picture = True, True
        self._wake.set()

    def stop(self) -> None:
        """Nobody watches: make nothing more."""
        self._running = False

    def interrupt(self) -> int:
        """Drop everything that was cut; the new epoch."""
        self.epoch += 1
        self._requested.clear()
        self._fresh_picture = True
        if self._stream is not None:
            self._stream.interrupt(self.epoch)
        self._wake.set()
        return self.epoch

    def request_keyframe(self) -> None:
        """Ask the worker for a keyframe, at most every ``KEYFRAME_PAUSE_S``."""
        now = self._clock.now()
        if self._stream is not None and now - self._keyframe_at >= KEYFRAME_PAUSE_S:
            self._keyframe_at = now
            self._stream.keyframe()

    def close(self) -> None:
        """End the stream at the worker."""
        if self._stream is not None:
            self._stream.close()

    def on_chunk(self, chunk: ChunkResult) -> None:
        """Take a chunk from the worker; one of an older epoch is dropped, one given up is empty."""
        asked = self._requested.pop(chunk.sequence, None)
        if asked is None or chunk.epoch != self.epoch:
            return
        self._wake.set()
        if not chunk.frames:
            return
        now = self._clock.now()
        arrived = chunk.first + len(chunk.frames)
        tags = asked.tags[chunk.first : arrived]
        items = [QueuedFrame(*pair) for pair in zip(chunk.frames, tags, strict=True)]
        if chunk.first == 0:
            self._answers_s.append(now - asked.at)
            items[0] = replace(items[0], came_at=now)
        if chunk.last:
            self._record(chunk, asked, now)
        else:
            self._requested[chunk.sequence] = replace(asked, arrived=arrived)
        keep = LIVE_CUSHION if self._scheduler.live else 0
        self._pacer.add(items, starts=asked.starts and chunk.first == 0, keep=keep)

    async def run(self) -> None:
        """Cut and submit until cancelled; ``connect`` comes first."""
        assert self._stream is not None
        while True:
            self._wake.clear()
            now = self._clock.now()
            cut = self.next_cut(now)
            if cut is None:
                await self._wake.wait()
            elif cut.at > now:
                await wait_until(self._clock, self._wake, cut.at)
            else:
                self._stream.submit(self.take(cut, now))

    def next_cut(self, now: float) -> Cut | None:
        """The next cut, or None when nothing can be done before something changes."""
        if not self._running or len(self._requested) >= IN_FLIGHT:
            return None
        deadline = now + self._buffered_s(now) - self.lead_s
        if not self._audience.ready:
            self._scheduler.break_off()
            return Cut(max(now, deadline), leading_silence=self._spec.chunk_frames)
        cut = self._scheduler.next_cut(now, deadline, talking=self.sounding)
        is_ahead = self.frames_ahead > self._spec.chunk_frames
        if is_ahead and not cut.starts and cut.at < deadline:
            return replace(cut, at=deadline)
        return cut

    def take(self, cut: Cut, now: float) -> ChunkRequest:
        """Take a cut's chunk from the scheduler as a request to the worker."""
        slack_s = self._buffered_s(now)
        chunk = self._scheduler.take(cut, now)
        self._room.set()
        self._metrics.cut(chunk.tags, now, starts=chunk.starts or self._scheduler.live)
        request = ChunkRequest(
            epoch=self.epoch,
            sequence=self._sequence,
            first_index=self._sequence * self._spec.chunk_frames,
            features=chunk.features.tobytes(),
            sound=chunk.sound.tobytes(),
            speaking=tuple(tag.segment is not None and tag.samples > 0 for tag in chunk.tags),
            keyframe=chunk.starts or self._fresh_picture,
            jpeg=self._audience.wants_jpeg,
            slack_s=0.0 if chunk.starts else slack_s,
            codecs=self._audience.codecs,
            caller_speaks=self._caller is not None and self._caller.speaks(now),
            starts=chunk.starts,
        )
        self._requested[self._sequence] = _Requested(now, chunk.tags, chunk.starts)
        self._sequence += 1
        self._fresh_picture = False
        return request

    def _buffered_s(self, now: float) -> float:
        """Seconds of media in the pacer and at the worker."""
        return self._pacer.buffered_s(now) + self._frames_at_worker * self._spec.frame_s

    @property
    def _frames_at_worker(self) -> int:
        return sum(len(asked.coming) for asked in self._requested.values())

    def _record(self, chunk: ChunkResult, asked: _Requested, now: float) -> None:
        metrics = ChunkMetrics(
            queued_ms=1000 * (now - asked.at - chunk.spent_s),
            model_ms=1000 * chunk.model_s,
            encode_ms=1000 * chunk.encode_s,
            batch=chunk.batch,
            slack_ms=1000 * self._pacer.buffered_s(now),
            epoch=chunk.epoch,
            **{f"{stage}_ms": 1000 * spent_s for stage, spent_s in chunk.stages_s.items()},
        )
        self._metrics.add(metrics)
        self._trace.chunk(asked.tags, metrics, now - asked.at)
        if log.isEnabledFor(logging.DEBUG):
            told = {"session": short_id(chunk.session), **metrics.values()}
            log.debug("chunk session=%s %s", told["session"], metrics, extra=told)
