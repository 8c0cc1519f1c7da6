"""Joins held-out recordings into speech of any length, with its true mouth units and lip sounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.dataset.clips import FRAME_SAMPLES, Clip
from models.evaluation.eval_clip import NEUTRAL, lip_frames


@dataclass(frozen=True)
class JoinedSpeech:
    """Speech of T frames.

    Attributes:
        sound: mono float32 [640 T] at 16 kHz.
        mouth: true mouth units float32 [T, 13], columns ``MOUTH_UNITS``.
        lips: frames in the middle of p, b and m.
    """

    sound: NDArray[np.float32]
    mouth: NDArray[np.float32]
    lips: NDArray[np.intp]

    @property
    def frames(self) -> int:
        """T, the number of frames."""
        return len(self.mouth)

    @property
    def silent(self) -> NDArray[np.bool_]:
        """Frames in which the true mouth is neutral, [T]."""
        return np.asarray(self.mouth.max(1) < NEUTRAL)

    def first(self, frames: int) -> JoinedSpeech:
        """Its beginning."""
        sound = self.sound[: frames * FRAME_SAMPLES]
        return JoinedSpeech(sound, self.mouth[:frames], self.lips[self.lips < frames])

    def then(self, other: JoinedSpeech) -> JoinedSpeech:
        """This speech and another behind it."""
        return JoinedSpeech(
            np.concatenate([self.sound, other.sound]),
            np.concatenate([self.mouth, other.mouth]),
            np.concatenate([self.lips, other.lips + self.frames]),
        )


def join_speech(clips: Sequence[Clip], frames: int, begin: int = 0) -> JoinedSpeech:
    """Speech of ``frames`` frames from the clip of number ``begin`` on, in a circle."""
    joined = _speech_of(clips[begin % len(clips)])
    while joined.frames < frames:
        begin += 1
        joined = joined.then(_speech_of(clips[begin % len(clips)]))
    return joined.first(frames)


def _speech_of(clip: Clip) -> JoinedSpeech:
    mouth = np.asarray(clip.mouth)
    return JoinedSpeech(clip.audio, mouth, lip_frames(clip, len(mouth)))
