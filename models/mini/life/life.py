"""One person's movement, frame by frame: expression, head and body, from speech and a seed.

``IdleMotion`` (``models/mini/motion.py``) makes the training clips, which must hold everything at
once and evenly; this is what is shown. Signs and units of the columns are the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.audio import SAMPLE_RATE
from models.mini.audio import LOOKAHEAD_FRAMES
from models.mini.life.accents import AccentDetector, SpeechCue
from models.mini.life.blinks import BlinkTrack
from models.mini.life.body import BodyTrack
from models.mini.life.brows import BrowTrack
from models.mini.life.gaze import LARGE, GazeTrack
from models.mini.life.head import HeadTrack
from models.mini.life.listening import ListeningNods
from models.mini.motion import BROW_LIMIT, EXPRESSION, MOTION

BODY = ("sway", "breath")
"""Columns of the body's movement: sway to the side, -1..1, and breath, 0 (out) to 1 (in)."""

LIVELINESS = 0.6
"""At this all sizes are as written in the modules of this folder."""

EYE_LIMIT = (0.15, 0.09)
"""The eyes turn no further in the head, radians; the network has seen no more."""

_COMPENSATION = 0.8
"""Share of the head's rotation that the eyes undo."""
_BLINK_AT_END = 0.7
_BLINK_AT_SHIFT = 0.25
_RAISE_AT_ACCENT = 0.3
_RAISE_AT_BEGIN = 0.25
_RAISE_AT_NOD = 0.25


@dataclass(frozen=True, slots=True)
class LifeTrack:
    """The movement of n frames.

    Attributes:
        motion: float32 [n, 7], columns ``MOTION``.
        body: float32 [n, 2], columns ``BODY``.
    """

    motion: NDArray[np.float32]
    body: NDArray[np.float32]

    @property
    def pose(self) -> NDArray[np.float32]:
        """Yaw, pitch and roll, radians [n, 3]: how the head is moved in the picture."""
        return self.motion[:, : -len(EXPRESSION)]

    @property
    def expression(self) -> NDArray[np.float32]:
        """Blink, gaze and brow [n, 4]: what the network is told."""
        return self.motion[:, -len(EXPRESSION) :]


class Life:
    """An endless, deterministic track; the frames are the same whatever the sizes of the calls.

    Args:
        seed: names the track.
        fps: frames per second of media time.
        liveliness: 0..1, size of every movement but blinks: 0 is a still face that blinks.
        head: size of the head's movement, on top of that.

    Raises:
        ValueError: fps is not positive, liveliness is not within 0..1, or head is negative.
    """

    def __init__(
        self,
        seed: int,
        fps: float = 25.0,
        liveliness: float = LIVELINESS,
        *,
        head: float = 1.0,
    ) -> None:
        if not fps > 0.0:
            raise ValueError(f"fps: expected a positive number, got {fps}")
        if not 0.0 <= liveliness <= 1.0:
            raise ValueError(f"liveliness: expected 0 to 1, got {liveliness}")
        if not head >= 0.0:
            raise ValueError(f"head: expected zero or more, got {head}")
        self.fps = fps
        self._gain = liveliness / LIVELINESS
        self._head_gain = self._gain * head
        streams = [np.random.default_rng([seed, 20 + k]) for k in range(6)]
        self._blinks = BlinkTrack(streams[0], fps)
        self._gaze = GazeTrack(streams[1], fps)
        self._brows = BrowTrack(streams[2], fps)
        self._head = HeadTrack(streams[3], fps)
        self._body = BodyTrack(streams[4], fps)
        self._nods = ListeningNods(streams[5], fps)
        self._accents = AccentDetector(fps)
        self._caller_speaks = False

    def listen(self, caller_speaks: bool) -> None:
        """Say whether the caller speaks during the frames that follow, until the next call."""
        self._caller_speaks = caller_speaks

    def frames(self, sound: NDArray[np.float32]) -> LifeTrack:
        """The next frames.

        Args:
            sound: what the person says, float32 [(n + LOOKAHEAD_FRAMES) * samples of a frame], as
                ``AccentDetector.cues`` takes it.

        Raises:
            ValueError: the sound has another length.
        """
        cues = self._accents.cues(sound)
        motion = np.empty((len(cues), len(MOTION)), np.float32)
        body = np.empty((len(cues), len(BODY)), np.float32)
        for cue, moved, swayed in zip(cues, motion, body, strict=True):
            self._step(cue, moved)
            swayed[:] = np.multiply(self._body.step(), min(1.0, self._gain))
        return LifeTrack(motion, body)

    def idle(self, n: int) -> LifeTrack:
        """The next n frames of somebody who says nothing."""
        samples = round(SAMPLE_RATE / self.fps)
        return self.frames(np.zeros((n + LOOKAHEAD_FRAMES) * samples, np.float32))

    def _step(self, cue: SpeechCue, out: NDArray[np.float32]) -> None:
        listening = self._caller_speaks
        nods = self._nods.step(caller_speaks=listening, talking=cue.talking)
        gaze = self._gaze.step(begins=cue.begins, ends=cue.ends, listening=listening)
        head = self._head.step(cue, self._gaze.target, large=LARGE, caller_nod=nods)
        head = head * self._head_gain
        evoked = _BLINK_AT_END if cue.ends else _BLINK_AT_SHIFT if self._gaze.shifted else 0.0
        raised = cue.accent * _RAISE_AT_ACCENT
        raised = max(raised, _RAISE_AT_BEGIN * cue.begins, _RAISE_AT_NOD * nods)
        eyes = gaze * self._gain - _COMPENSATION * head[:2]
        out[0:3] = head
        out[3] = self._blinks.step(talking=cue.talking, evoked=evoked)
        out[4:6] = np.clip(eyes, np.negative(EYE_LIMIT), EYE_LIMIT)
        out[6] = min(self._brows.step(raised=raised) * self._gain, BROW_LIMIT)
