"""One caller: speech in, frames and events out; owns the state, the lifetime and the tasks.

Speech flows through the inbox and the producer with its chunk scheduler to a worker; frames come
back to the producer and go through the pacer to the audience. A session owns four tasks (producer,
pacer, supervisor, inbox) from ``open`` to ``aclose``. The model works only while an output that
shows pictures is attached; speech waits until such an output is ready, so nobody misses the first
word. States and their moves are in ``state.py``.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import secrets
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.face.report import PortraitReport
from server.clock import Clock
from server.errors import INTERNAL_CODE, Conflict
from server.media.resampler import AudioFormat
from server.media.spec import MediaSpec
from server.session import events
from server.session.audience import Audience
from server.session.caller import Caller
from server.session.inbox import SpeechInbox
from server.session.lifetime import Lifetime, Limits
from server.session.metrics import SessionMetrics, short_id
from server.session.output import Output
from server.session.pacer import Pacer
from server.session.producer import Producer
from server.session.request import LOOPBACK, NOBODY, Mode, Owner
from server.session.scheduler import ChunkScheduler
from server.session.state import SessionStatus, State
from server.session.tokens import OneTimeTokens, Use
from server.session.trace import SessionTrace
from server.session.workers import ChunkResult, IdentityHandle, Workers
from server.telemetry.telemetry import Telemetry

log = logging.getLogger(__name__)

TICK_S = 1.0
PLACE_RETRY_S = 10


class Session:
    """A portrait that one caller makes speak. Implements ``ChunkCallbacks`` for its worker.

    Attributes:
        place: in the queue, where it waits for one of the server's places; 1 is the next.
        call: the last WebRTC call, attached or ended; candidates may still arrive for it.
        guests: publishers and viewers by WHIP and WHEP, under their paths; None is one to come.
        caller: whom the portrait listens to; None where it does not.
        report: what was found in the portrait, where the model tells; known once it is open.
        trace: tells its spans.
    """

    def __init__(
        self,
        workers: Workers,
        spec: MediaSpec,
        clock: Clock,
        retire: Callable[[Session, str], None],
        *,
        mode: Mode = "speak",
        avatar_id: str | None = None,
        owner: Owner = NOBODY,
        limits: Limits | None = None,
        listening: bool = True,
        telemetry: Telemetry | None = None,
        disclosure: bool = False,
    ) -> None:
        """``retire(session, reason)`` is called when the session must end by itself."""
        self.id = f"sess_{secrets.token_urlsafe(12)}"
        self.token = secrets.token_urlsafe(32)
        self.tokens = OneTimeTokens(clock)
        self._created_at = clock.now()
        self._disclosure = disclosure
        self.mode, self.avatar_id, self.owner, self.spec = mode, avatar_id, owner, spec
        self._workers, self._clock, self._retire = workers, clock, retire
        self._lifetime = Lifetime(limits or Limits(), clock.now())
        self._telemetry = telemetry = telemetry or Telemetry()
        self.trace = SessionTrace(telemetry.spans, self.id)
        self._metrics = SessionMetrics(live=self.live, instruments=telemetry.instruments)
        self._audience = Audience()
        self.caller = Caller() if listening else None
        self._scheduler = ChunkScheduler(spec, live=self.live)
        self._status = SessionStatus(
            self._scheduler, self._audience, self._metrics, clock, self.trace
        )
        paced = partial(telemetry.instruments.spent, "pace")
        self._pacer = Pacer(clock, spec.frame_s, self._audience, self._status, paced)
        self._producer = Producer(
            spec,
            clock,
            self._scheduler,
            self._pacer,
            self._audience,
            self._status,
            self._metrics,
            self.caller,
            self.trace,
        )
        self.inbox = SpeechInbox(self._producer)
        self.place: int | None = None
        self.call: Output | None = None
        self.guests: dict[str, Output | None] = {}
        self.report: PortraitReport | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._closed = asyncio.Event()

    @property
    def state(self) -> State:
        """Where the session is in its life."""
        return self._status.state

    @property
    def ended(self) -> bool:
        """Whether it ends or has ended."""
        return self._status.ended

    @property
    def age_s(self) -> float:
        """Seconds since it was created."""
        return self._clock.now() - self._created_at

    @property
    def expires_in_s(self) -> float | None:
        """Seconds until it ends at the latest; None while it waits for its place."""
        return self._lifetime.left_s(self._clock.now())

    @property
    def epoch(self) -> int:
        """Raised by every interrupt; frames of older epochs are dropped."""
        return self._producer.epoch

    @property
    def outputs(self) -> Audience:
        """Who is attached."""
        return self._audience

    @property
    def short_id(self) -> str:
        """What log lines call the session."""
        return short_id(self.id)

    @property
    def live(self) -> bool:
        """Whether sound comes from a microphone (loopback)."""
        return self.mode == LOOPBACK

    def admits(self, token: str, use: Use | None = None, call: str = "") -> bool:
        """Whether the token is this session's, or one of its tokens for one use, which is then used
        up; takes the same time for every wrong one. ``call`` is the path of what it is used on."""
        if hmac.compare_digest(token.encode(), self.token.encode()):
            return True
        return use is not None and self.tokens.spend(token, use, call)

    @property
    def speaks(self) -> bool:
        """Whether somebody hears it speak, or will when what was pushed comes up."""
        return self.state in {State.TALKING, State.LISTENING}

    def wait(self, place: int) -> None:
        """Wait for a place, or move up to a better one."""
        if self.state is State.NEW:
            self._status.move(State.QUEUED)
            self._start(self._supervise(), "supervisor")
        self.place = place
        self._audience.event(events.queued(place))

    async def open(self, identity: IdentityHandle) -> None:
        """Start the stream at the worker, then the tasks.

        Raises:
            Conflict: the session was ended meanwhile.
        """
        self.report = identity.report
        seed = secrets.randbelow(2**15)
        stream = await self._workers.open(
            self.id, identity, self, seed=seed, disclosure=self._disclosure
        )
        if self._status.ended:
            stream.close()
        self._check_open()
        self._producer.connect(stream)
        waited = self.state is State.QUEUED
        self._status.move(State.READY)
        self._lifetime.begin(self._clock.now())
        self._start(self._producer.run(), "producer")
        self._start(self._pacer.run(), "pacer")
        self._start(self.inbox.run(), "inbox")
        if not waited:
            self._start(self._supervise(), "supervisor")
            return
        self.place = None
        self._audience.event(events.ready())
        self._refresh_company()
        self._refresh_watch()

    def hear(self, samples: NDArray[np.int16], rate: int) -> None:
        """Queue mono samples at once: what a microphone delivers.

        Raises:
            Conflict: the session ends.
        """
        self._check_open()
        self._producer.hear(samples, AudioFormat(rate))

    def interrupt(self) -> int:
        """Stop speaking now: drop everything queued anywhere; the new epoch."""
        self.inbox.clear()
        self._pacer.clear()
        epoch = self._producer.interrupt()
        self._telemetry.instruments.interrupts.inc()
        self._audience.clear()
        self._status.clear()
        self._status.refresh()
        return epoch

    def attach(self, output: Output) -> None:
        """Begin to send to an output; the first that shows pictures starts the model.

        Raises:
            Conflict: the session ends.
        """
        self._check_open()
        self._audience.add(output)
        self._refresh_company()
        self._refresh_watch()

    def detach(self, output: Output, *, silent_s: float = 0.0) -> None:
        """Stop sending to an output; when the last that shows pictures goes, the model rests.

        It was lost ``silent_s`` seconds ago: so much less is left to come back.
        """
        if output not in self._audience:
            return
        self._audience.remove(output)
        self._refresh_company(silent_s)
        self._refresh_watch()

    def tell(self, event: events.Event) -> None:
        """Tell everybody attached."""
        self._audience.event(event)

    def keep_alive(self) -> None:
        """Have the time in which nobody is attached begin anew."""
        self._lifetime.keep_alive(self._clock.now())

    def warn(self, reason: str, in_s: float) -> None:
        """Tell that the session will end."""
        self.tell(events.going_away(reason, max(1, round(1000 * in_s))))

    def request_keyframe(self) -> None:
        """Ask the worker for a keyframe, at most a few times a second."""
        if not self._status.ended:
            self._producer.request_keyframe()

    def send_hello(self, output: Output, codec: str) -> None:
        """Tell a new output what the session is."""
        output.event(events.created(self.id, self.spec, codec, self.epoch))
        if self.place is not None:
            output.event(events.queued(self.place))
        if self._status.watched:
            output.event(events.state(self.state.value))

    def on_chunk(self, chunk: ChunkResult) -> None:
        """Pass on a chunk of the worker."""
        self._producer.on_chunk(chunk)

    def on_lost(self, code: str, message: str) -> None:
        """Say that the worker lost this session, and end."""
        self._audience.event(events.error(code, message, ours=True))
        self._retire(self, code)

    async def aclose(self, reason: str) -> None:
        """End the session; every call returns when it has ended."""
        if self._status.ended:
            await self._closed.wait()
            return
        told = {"session": self.short_id, "reason": reason}
        log.info("session %s closes: %s", self.short_id, reason, extra=told)
        self._telemetry.instruments.ended.labels(reason).inc()
        self._status.clear()
        self._audience.event(events.closed(reason))
        self._status.move(State.CLOSING)
        self.inbox.close()
        for task in self._tasks:
            task.cancel()
        try:
            await asyncio.gather(*self._tasks, return_exceptions=True)
            self._producer.close()
            await self._audience.aclose()
        finally:
            self._count()
            self._status.move(State.CLOSED)
            self._closed.set()

    def snapshot(self) -> dict[str, Any]:
        """The numbers of ``metrics.updated``; its keys are the API's."""
        frame_s = self.spec.frame_s
        buffered_s = self._scheduler.buffered_s + self._pacer.queued_frames * frame_s
        return {
            **self._metrics.snapshot(self.spec.chunk_frames),
            "units": self._pacer.played_frames,
            "dropped_units": self._audience.dropped_frames,
            "buffered_ms": round(1000 * buffered_s),
            "late_units": self._pacer.late_frames,
            "skipped_units": self._pacer.skipped_frames,
            "dropped_input_ms": round(1000 * self._scheduler.dropped_frames * frame_s),
            "lead_ms": round(1000 * self._producer.lead_s),
            "generation": self.epoch,
        }

    def check_place(self) -> None:
        """Refuse (Conflict, ``queued``) what only a session that has its place can do."""
        if self.place is not None:
            raise Conflict(
                f"expected a session that has its place, got number {self.place} of the queue;"
                " wait for the event session.ready",
                code="queued",
                retry_after_s=PLACE_RETRY_S,
            )

    def _check_open(self) -> None:
        if self._status.ended:
            raise Conflict("expected an open session, got one that ends; create another")

    def _start(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(work, name=f"{name}-{self.short_id}")
        task.add_done_callback(self._on_task_done)
        self._tasks.append(task)

    def _on_task_done(self, task: asyncio.Task[None]) -> None:
        if task.cancelled() or self._status.ended or (cause := task.exception()) is None:
            return
        told = {"session": self.short_id}
        log.error(
            "session %s: %s failed", self.short_id, task.get_name(), exc_info=cause, extra=told
        )
        self._retire(self, INTERNAL_CODE)

    async def _supervise(self) -> None:
        """Once a second: tell the numbers, and end what lives too long or alone."""
        while True:
            await self._clock.sleep(TICK_S)
            self._count()
            if self.place is None:
                self._audience.event(events.metrics(self.snapshot()))
            ending = self._lifetime.check(self._clock.now())
            if ending is None:
                continue
            if not ending.in_ms:
                return self._retire(self, ending.reason)
            self.warn(ending.reason, ending.in_ms / 1000)

    def _count(self) -> None:
        """Tell the server's counters how far this session's went."""
        dropped = self._audience.dropped_frames
        self._metrics.count(self._pacer.played_frames, self._pacer.late_frames, dropped)

    def _refresh_company(self, silent_s: float = 0.0) -> None:
        """Note whether somebody holds the session; in the queue, listening is enough."""
        waits = self.place is not None and len(self._audience) > 0
        if self._audience.takes_part or waits:
            self._lifetime.accompanied()
        elif not self._lifetime.alone:
            self._lifetime.left_alone(self._clock.now() - silent_s)

    def _refresh_watch(self) -> None:
        """Start or rest the model as outputs come and go."""
        watched = self._audience.watches
        if watched and self.state is State.READY:
            self._status.move(State.IDLE)
            self._producer.start()
            self._pacer.resume()
            self._status.announce()
            self._status.refresh()
        elif not watched and self._status.watched:
            self._producer.stop()
            self._pacer.pause()
            self._status.move(State.READY)
