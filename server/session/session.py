"""One caller: takes speech in, owns the timeline, producer and pacer, hands units to outputs.

States and their moves are in ``state.py``. A session owns three tasks (producer, pacer, keeper)
from ``open`` to ``aclose``. The model works only while an output that shows pictures is attached;
speech waits until such an output is ready, so nobody misses the first word.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import secrets
from collections.abc import Callable, Coroutine
from typing import Any, Literal

from server.clock import Clock
from server.errors import Conflict
from server.media.spec import MediaSpec
from server.outputs.webrtc import PeerOutput
from server.session import events
from server.session.audience import Audience
from server.session.inbox import Intake
from server.session.lifetime import Lifetime, Limits
from server.session.metrics import SessionMetrics
from server.session.output import Output
from server.session.pacer import Pacer, QueuedFrame
from server.session.producer import Producer
from server.session.scheduler import ChunkScheduler
from server.session.segments import SegmentTracker
from server.session.state import ENDED, WATCHED, State, move
from server.session.workers import Workers
from server.worker.messages import ChunkRequest, ChunkResult

log = logging.getLogger(__name__)

Mode = Literal["speak", "echo"]
TICK_S = 1.0
KEYFRAME_PAUSE_S = 0.3


class Session:
    """A portrait that one caller makes speak. Implements ``Sink`` for its worker."""

    def __init__(
        self,
        workers: Workers,
        spec: MediaSpec,
        clock: Clock,
        retire: Callable[[Session, str], None],
        *,
        mode: Mode = "speak",
        avatar_id: str | None = None,
        limits: Limits | None = None,
    ) -> None:
        self.id = f"sess_{secrets.token_urlsafe(12)}"
        self.token = secrets.token_urlsafe(32)
        self.mode, self.avatar_id, self.spec = mode, avatar_id, spec
        self.state = State.NEW
        self._workers, self._clock, self._retire = workers, clock, retire
        live = mode == "echo"
        self._timeline = ChunkScheduler(spec, live=live)
        self._pacer = Pacer(clock, spec.frame_s, self._play)
        self._producer = Producer(spec, self._timeline, self._pacer, clock, self._submit, live=live)
        self._tracker = SegmentTracker()
        self.call: PeerOutput | None = None
        self._audience = Audience()
        self._tasks: list[asyncio.Task[None]] = []
        self._intake = Intake(self._has_room, self.hear)
        self._closed = asyncio.Event()
        self._keyframe_at = -KEYFRAME_PAUSE_S
        self._errands: set[asyncio.Task[None]] = set()
        self._lifetime = Lifetime(limits or Limits(), clock.now())
        self.stats = SessionMetrics()

    @property
    def generation(self) -> int:
        """Raised by every interrupt; units of older ones are dropped."""
        return self._producer.generation

    @property
    def short_id(self) -> str:
        """What log lines call the session."""
        return self.id[5:11]

    @property
    def live(self) -> bool:
        """Whether sound comes from a microphone."""
        return self.mode == "echo"

    def admits(self, token: str) -> bool:
        """Whether the token is this session's; takes the same time for every wrong one."""
        return hmac.compare_digest(token.encode(), self.token.encode())

    async def open(self, identity: str) -> None:
        """Start the stream at the worker, then the tasks."""
        await self._workers.open(self.id, identity, self, seed=secrets.randbelow(2**15))
        self.state = move(self.state, State.READY)
        self._own(self._producer.run(), "producer")
        self._own(self._pacer.run(), "pacer")
        self._own(self._keep(), "keeper")

    @property
    def epoch(self) -> int:
        """Grows with every clear and interrupt; sound that arrived before is dropped."""
        return self._intake.epoch

    async def push(self, pcm: bytes, rate: int, channels: int, epoch: int | None = None) -> None:
        """Queue s16le sound that arrived in ``epoch`` (now, when None); waits for room.

        Raises:
            BadRequest: not a whole number of samples.
            AudioError: a rate or channel count that cannot be taken.
            Conflict: the session ends.
        """
        await self._intake.push(pcm, rate, channels, epoch)

    def hear(self, samples: Any, rate: int, channels: int = 1) -> None:
        """Queue int16 samples at once: what a microphone delivers."""
        if self.state in ENDED:
            raise Conflict("expected an open session, got one that ends; create another")
        now = self._clock.now()
        if self._timeline.empty and not self._producer.sounding:
            self.stats.asked(now)
        self._timeline.push(samples, rate, channels, now)
        self._show_state()
        self._producer.poke()

    def commit(self) -> None:
        """End the segment that is being pushed."""
        self._timeline.commit()
        self._producer.poke()

    def clear_input(self) -> None:
        """Drop queued speech that was not cut yet; what was cut is still played."""
        self._timeline.clear()
        self._intake.clear()
        self._producer.poke()

    async def interrupt(self) -> int:
        """Stop speaking now: drop everything queued anywhere; the new generation."""
        self.clear_input()
        self._pacer.clear()
        generation = self._producer.interrupt()
        self._audience.clear()
        self._announce("cleared")
        self._show_state()
        await self._workers.interrupt(self.id, generation)
        return generation

    def attach(self, output: Output) -> None:
        """Begin to send to an output; the first that shows pictures starts the model."""
        if self.state in ENDED:
            raise Conflict("expected an open session, got one that ends; create another")
        self._audience.add(output)
        self._lifetime.accompanied()
        self._refresh_watch()

    def detach(self, output: Output) -> None:
        """Stop sending to an output; when the last that shows pictures goes, the model rests."""
        if output not in self._audience:
            return
        self._audience.remove(output)
        if not self._audience:
            self._lifetime.left_alone(self._clock.now())
        self._refresh_watch()

    def request_keyframe(self) -> None:
        """Ask the worker for a keyframe, at most every ``KEYFRAME_PAUSE_S``."""
        now = self._clock.now()
        if now - self._keyframe_at < KEYFRAME_PAUSE_S or self.state in ENDED:
            return
        self._keyframe_at = now
        errand = asyncio.create_task(self._workers.keyframe(self.id), name="keyframe")
        self._errands.add(errand)
        errand.add_done_callback(self._errands.discard)

    def greet(self, output: Output, codec: str) -> None:
        """Tell a new output what the session is."""
        output.event(events.created(self.id, self.spec, codec, self.generation))
        if self.state in WATCHED:
            output.event(events.state(self.state.value))

    def made(self, made: ChunkResult) -> None:
        """Take a chunk from the worker."""
        self.stats.made(made)
        self._producer.made(made)

    def lost(self, code: str, message: str) -> None:
        """The worker lost this session: say so and end."""
        self._audience.event(events.error(code, message))
        self._retire(self, code)

    async def aclose(self, reason: str) -> None:
        """End the session; every call returns when it has ended."""
        if self.state in ENDED:
            await self._closed.wait()
            return
        log.info("session %s closes: %s", self.short_id, reason)
        self._announce("cleared")
        self._audience.event(events.closing(reason))
        self.state = move(self.state, State.CLOSING)
        self._intake.look_again()
        tasks = [*self._tasks, *self._errands]
        for task in tasks:
            task.cancel()
        try:
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._workers.close(self.id)
            await self._audience.aclose()
        finally:
            self.state = move(self.state, State.CLOSED)
            self._closed.set()

    def snapshot(self) -> dict[str, Any]:
        """The numbers of ``metrics.updated``."""
        stored = self._timeline.buffered_s + self._pacer.frames * self.spec.frame_s
        return {
            **self.stats.shown(self.spec.chunk_frames),
            "dropped_units": self._audience.dropped_units,
            "buffered_ms": round(1000 * stored),
            "late_units": self._pacer.late_units,
            "skipped_units": self._pacer.skipped_units,
            "dropped_input_ms": round(1000 * self._timeline.dropped_frames * self.spec.frame_s),
            "lead_ms": round(1000 * self._producer.lead_s),
            "generation": self.generation,
        }

    def _own(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(work, name=f"{name}-{self.short_id}")
        task.add_done_callback(self._task_ended)
        self._tasks.append(task)

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        if task.cancelled() or self.state in ENDED or (cause := task.exception()) is None:
            return
        log.error("session %s: %s failed", self.short_id, task.get_name(), exc_info=cause)
        self._retire(self, "internal")

    async def _keep(self) -> None:
        """Once a second: tell the numbers, and end what lives too long or alone."""
        while True:
            await self._clock.sleep(TICK_S)
            self._audience.event(events.metrics(self.snapshot()))
            verdict = self._lifetime.check(self._clock.now())
            if verdict is None:
                continue
            if not verdict.in_ms:
                return self._retire(self, verdict.reason)
            self._audience.event(events.closing(verdict.reason, verdict.in_ms))

    def _has_room(self) -> bool:
        return self.live or self._timeline.room_s > 0 or self.state in ENDED

    async def _submit(self, job: ChunkRequest) -> None:
        self._intake.look_again()
        await self._workers.submit(self.id, job)

    def _play(self, item: QueuedFrame) -> None:
        """Send one unit that is due; the pacer calls this."""
        now = self._clock.now()
        for name, segment, position in self._tracker.play(item.mark):
            if name == "started":
                self.stats.started(now, segment.asked_at if self.live else None)
            self._audience.event(events.playback(name, segment.name, position))
        self._show_state()
        self._audience.send(item.unit)
        self.stats.units += 1
        self._hold_speech()
        self._producer.poke()

    def _refresh_watch(self) -> None:
        """Start or rest the model as outputs come and go."""
        watched = self._audience.watches
        self._producer.jpeg = self._audience.wants_jpeg
        self._hold_speech()
        if watched and self.state is State.READY:
            self.state = move(self.state, State.IDLE)
            self._producer.start()
            self._pacer.resume()
            self._audience.event(events.state(self.state.value))
            self._show_state()
        elif not watched and self.state in WATCHED:
            self._producer.stop()
            self._pacer.pause()
            self.state = move(self.state, State.READY)

    def _hold_speech(self) -> None:
        self._producer.hold_speech = not self._audience.ready

    def _show_state(self) -> None:
        """Move between idle, listening and talking as what is queued and played says."""
        if self.state not in WATCHED:
            return
        quiet = State.IDLE if self._timeline.empty else State.LISTENING
        state = State.TALKING if self._tracker.current is not None else quiet
        if state is not self.state:
            self.state = move(self.state, state)
            self._audience.event(events.state(state.value))

    def _announce(self, name: str) -> None:
        for _, segment, position in self._tracker.end(name):
            self._audience.event(events.playback(name, segment.name, position))
