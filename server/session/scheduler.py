"""Turns queued speech into chunks: what is cut, how much is waited for, when it ends.

Pure logic: the time is an argument, nothing here waits. Words: F frames in a chunk, L frames of
look-ahead, T seconds per frame; ``have`` is how many whole frames of speech are queued.

**When** (``plan``). ``urgent`` is the latest time at which a chunk must be cut so that the picture
never stops; the caller knows it from what it has in store and how long the worker takes.

* nothing queued: idle silence at ``urgent``, never earlier, so that little stands before speech;
* everything known (F + L frames arrived, or the segment has ended): now. A microphone that is
  already running waits for ``urgent``: its store must lie here, where it can be trimmed;
* at a live edge with F but not yet F + L frames: wait for the look-ahead at most L*T from the
  moment F frames were there, then cut with zeros as look-ahead;
* at a live edge with less: wait until ``GAP_S`` passed without data, then the segment has ended.
  Before its first chunk the wait never stops the picture: at ``urgent`` a chunk of silence is cut,
  whose last frames are the first of the speech if there is enough (lead-in). In the midst of
  speech the picture waits with the sound: speech is never torn by silence that nobody sent;
* a segment that was committed is never held up by an unfinished one behind it.

**What** (``cut``). F frames of sound in order, silence after the end, and the L frames that follow
as look-ahead for the model only. A segment ends on a frame's edge. A segment that is still open
begins in the midst of another's last chunk only if it can fill that chunk.

**Bounds.** Speech: ``MAX_BUFFER_S``, in which each segment counts at least the frame that it is
played in; who pushes must wait for ``room_s``. Microphone (``live``):
more than ``LIVE_SLACK`` frames beyond need and quiet frames are dropped, more than ``LIVE_LIMIT``
and the oldest frames are dropped until nothing is beyond need. That also absorbs clocks that
differ: a fast microphone loses a quiet frame now and then, a slow one makes the clock wait.
"""

from __future__ import annotations

import itertools
from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from server.media.spec import MediaSpec
from server.session.incoming import IDLE, FrameTag, IncomingSpeech, Segment, VoiceGate, is_quiet

GAP_S = 0.2
MAX_BUFFER_S = 30.0
LIVE_SLACK = 3
LIVE_LIMIT = 12


@dataclass(frozen=True, slots=True)
class Cut:
    """The next cut.

    Attributes:
        at: clock time to cut at; look again when anything changes before.
        lead_in: silent frames before any speech; F is an idle chunk.
        closes: the open segment ends with this cut.
        starts: speech begins here after idling, so what idles before it may be skipped.
    """

    at: float
    lead_in: int = 0
    closes: bool = False
    starts: bool = False


@dataclass(frozen=True, slots=True)
class Chunk:
    """The sound of F frames: float32 [(F + L) * feature_samples], int16 [F * sound_samples]."""

    features: NDArray[np.float32]
    sound: NDArray[np.int16]
    marks: tuple[FrameTag, ...]
    starts: bool


class ChunkScheduler:
    """The speech of one session between its arrival and its cut."""

    def __init__(self, spec: MediaSpec, *, live: bool = False) -> None:
        """``live``: sound comes from a microphone and is cut without regard to silence."""
        self._spec = spec
        self._live = live
        self._queue: deque[IncomingSpeech] = deque()
        self._names = (f"seg_{number}" for number in itertools.count(1))
        self._gate = VoiceGate()
        self._voice: Segment | None = None
        self._ripe_at: float | None = None
        self.dropped_frames = 0

    @property
    def buffered_s(self) -> float:
        """Seconds of sound that wait to be cut."""
        return sum(speech.seconds for speech in self._queue)

    @property
    def room_s(self) -> float:
        """Seconds of sound that may still be pushed."""
        return MAX_BUFFER_S - self.buffered_s

    @property
    def empty(self) -> bool:
        """Whether no speech waits, nor more of a begun segment is expected."""
        return not self._queue

    @property
    def begun(self) -> bool:
        """Whether part of the first segment was cut and the rest is still to come."""
        return bool(self._queue) and self._queue[0].begun

    def push(self, pcm: NDArray[np.int16], rate: int, channels: int, now: float) -> None:
        """Append interleaved int16; opens a segment when none is open in this form.

        Raises:
            AudioError: the rate, the channels or the number of samples is wrong.
        """
        last = self._queue[-1] if self._queue else None
        if last is None or last.closed or last.form != (rate, channels):
            fresh = IncomingSpeech(self._spec, Segment(next(self._names), now), rate, channels)
            fresh.push(pcm, now)
            self.commit()
            self._queue.append(fresh)
        else:
            last.push(pcm, now)
        if self._live:
            self._shed()
        self._note_ripe(now)

    def commit(self) -> None:
        """End the open segment, if there is one."""
        if self._queue:
            self._queue[-1].close()
            if not self._queue[-1].frames:
                self._queue.pop()  # too short to be heard: it must not pile up behind others
            self._forget_finished()

    def clear(self) -> None:
        """Drop everything that was not cut yet."""
        self._queue.clear()
        self._voice, self._ripe_at = None, None

    def break_off(self) -> None:
        """What is left of a begun segment will be a segment of its own, begun anew."""
        if self.begun:
            head = self._queue[0]
            head.segment = Segment(next(self._names), head.segment.asked_at)
            head.begun = False
        self._voice = None

    def plan(self, now: float, urgent: float, *, talking: bool) -> Cut:
        """The next cut; ``talking`` says that cut sound is still on its way to be played."""
        spec = self._spec
        idle = Cut(max(now, urgent), lead_in=spec.chunk_frames)
        if not self._queue:
            return idle
        midst = talking or self.begun
        have, known, ended = self._have()
        if ended or (have >= spec.chunk_frames and known >= spec.needed_frames):
            eager = not (midst and self._live)
            return Cut(now if eager else max(now, urgent), starts=not midst)
        if have >= spec.chunk_frames and self._ripe_at is not None:
            wait, closes = self._ripe_at + spec.lookahead_frames * spec.frame_s, False
        else:
            wait, closes = self._queue[-1].last_data + GAP_S, True
        if self._queue[0].closed and urgent < wait:
            return Cut(max(now, urgent), starts=not midst)
        if midst:
            return Cut(max(now, urgent, wait), closes=closes)
        if wait <= max(now, urgent):
            return Cut(max(now, wait), closes=closes, starts=True)
        speech = max(0, min(have, known - spec.lookahead_frames))
        lead_in = spec.chunk_frames - speech
        return Cut(max(now, urgent), lead_in=lead_in, starts=speech > 0)

    def cut(self, plan: Cut, now: float) -> Chunk:
        """Take the planned chunk out of the queue."""
        if plan.closes:
            self.commit()
        if self._live:
            self._shed()
        spec = self._spec
        features = np.zeros(spec.needed_frames * spec.feature_samples, np.float32)
        sound = np.zeros(spec.chunk_frames * spec.sound_samples, np.int16)
        marks = [IDLE] * spec.chunk_frames
        for k in range(plan.lead_in, spec.chunk_frames):
            speech = self._next(spec.chunk_frames - k, spec.chunk_frames - plan.lead_in)
            if speech is None:
                break
            speech.begun = True
            frame = speech.take()
            features[k * spec.feature_samples :][: spec.feature_samples] = frame.features
            sound[k * spec.sound_samples :][: spec.sound_samples] = frame.sound
            marks[k] = FrameTag(self._segment_of(speech, frame.sound, now), frame.samples)
        if plan.lead_in < spec.chunk_frames:
            self._look_ahead(features[spec.chunk_frames * spec.feature_samples :])
        self._forget_finished()
        self._ripe_at = None
        self._note_ripe(now)
        return Chunk(features, sound, tuple(marks), plan.starts)

    def _have(self) -> tuple[int, int, bool]:
        """Frames that can be cut, frames that arrived, whether the end of speech is there.

        Counted no further than the next chunk needs.
        """
        have = known = 0
        for speech in self._queue:
            have, known = have + speech.frames, known + speech.known
            if min(have, known) >= self._spec.needed_frames:
                break
        return have, known, self._queue[-1].closed

    def _note_ripe(self, now: float) -> None:
        if self._queue and self._have()[0] >= self._spec.chunk_frames:
            self._ripe_at = now if self._ripe_at is None else self._ripe_at
        else:
            self._ripe_at = None

    def _next(self, remaining: int, whole: int) -> IncomingSpeech | None:
        """The segment of the next frame, or None when the rest of the chunk is silent."""
        self._forget_finished()
        if not self._queue:
            return None
        head = self._queue[0]
        if not head.frames:
            return None
        follows = remaining < whole and not head.begun
        if follows and not head.closed and head.frames < remaining:
            return None
        return head

    def _forget_finished(self) -> None:
        while self._queue and self._queue[0].closed and not self._queue[0].frames:
            self._queue.popleft()

    def _segment_of(
        self, speech: IncomingSpeech, sound: NDArray[np.int16], now: float
    ) -> Segment | None:
        """The segment a frame is played as; a microphone's is found by its level."""
        if not self._live:
            return speech.segment
        if not self._gate.hears(sound):
            self._voice = None
        elif self._voice is None:
            arrived = now - speech.frames * self._spec.frame_s
            self._voice = Segment(next(self._names), arrived)
        return self._voice

    def _look_ahead(self, out: NDArray[np.float32]) -> None:
        at = 0
        for speech in self._queue:
            known = speech.peek_features(out.size - at)
            out[at : at + known.size] = known
            at += known.size
            if at == out.size or not speech.closed:
                return

    def _shed(self) -> None:
        """Trim a microphone's store; the module's first lines state the rule."""
        beyond = sum(speech.known for speech in self._queue) - self._spec.needed_frames
        anyway = beyond > LIVE_LIMIT
        if beyond <= LIVE_SLACK:
            return
        while beyond > 0 and self._queue:
            self._forget_finished()
            head = self._queue[0]
            if not head.frames or not (anyway or is_quiet(head.peek_sound())):
                return
            head.take()
            self.dropped_frames += 1
            beyond -= 1
