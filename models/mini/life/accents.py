"""Finds stressed syllables and the ends of phrases in speech, frame by frame.

Causal but for ``LOOKAHEAD_FRAMES``: what is said of frame k depends on the frames up to k + 2
alone, so speech may be cut into chunks of any size. A syllable is stressed where the level has a
peak that stands out of the running level of the voice; pitch above the running pitch counts for it.
Sound is 16 kHz, levelled as ``StreamingWindow`` does it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.audio import SAMPLE_RATE
from models.mini.audio import LOOKAHEAD_FRAMES

SILENT_DB = -60.0
VOICE_DB = -46.0
"""A frame below this is no speech, whatever came before."""
VOICE_RANGE_DB = 22.0
"""Nor is one so far below the running level of the voice."""
PAUSE_S = 0.24
"""A phrase ends with a pause of this."""
PHRASE_S = 0.4
"""What is shorter is no phrase."""
REFRACTORY_S = 0.3
"""No two accents are closer."""
THRESHOLD = 0.55
RISE_DB = 3.0
"""A stressed syllable begins with a rise of at least this within ``_ONSET`` frames."""
PITCH_HZ = (75.0, 400.0)
VOICED = 0.55
"""Share of a frame's energy that must repeat after one period."""

_BAND_HZ = (120.0, 4000.0)
_MEMORY_S = 2.0
_PRIOR_DB, _PRIOR_SD_DB = -25.0, 5.0
_LEAST_SD_DB = 3.0
_ONSET = 4
_LEVEL_WEIGHT, _PITCH_WEIGHT = 0.75, 0.12
_MOST_SEMITONES = 6.0


@dataclass(frozen=True, slots=True)
class SpeechCue:
    """What a frame's speech calls for.

    Attributes:
        talking: within a phrase, its short pauses included.
        begins, ends: the phrase does so here; ``ends`` once the pause is long enough.
        accent: strength of the stressed syllable whose peak comes next, in (0, 1]; 0 for none.
    """

    talking: bool = False
    begins: bool = False
    ends: bool = False
    accent: float = 0.0


@dataclass(frozen=True, slots=True)
class _FrameSound:
    """Level in dB and pitch in semitones (None where there is none) of one frame."""

    level: float
    pitch: float | None


class AccentDetector:
    """The speech of one stream.

    Args:
        fps: frames per second of media time.
    """

    def __init__(self, fps: float = 25.0) -> None:
        self.samples = round(SAMPLE_RATE / fps)
        self._window = np.hanning(self.samples).astype(np.float64)
        frequencies = np.fft.rfftfreq(self.samples, 1 / SAMPLE_RATE)
        self._band = (frequencies >= _BAND_HZ[0]) & (frequencies <= _BAND_HZ[1])
        self._power_scale = 2 / (self.samples * float(np.square(self._window).sum()))
        self._lags = round(SAMPLE_RATE / PITCH_HZ[1]), round(SAMPLE_RATE / PITCH_HZ[0])
        overlap = np.correlate(self._window, self._window, "full")[self.samples - 1 :]
        self._overlap = np.maximum(overlap[: self._lags[1] + 1] / overlap[0], 1e-3)
        self._pause = max(1, round(PAUSE_S * fps))
        self._phrase = round(PHRASE_S * fps)
        self._refractory = round(REFRACTORY_S * fps)
        self._forget = 1 / (_MEMORY_S * fps)
        quiet = _FrameSound(SILENT_DB, None)
        self._past = deque([quiet] * (self._pause + _ONSET), self._pause + _ONSET)
        self._mean, self._variance = _PRIOR_DB, _PRIOR_SD_DB**2
        self._pitch: float | None = None
        self._talking = False
        self._voiced = 0
        self._since_accent = self._refractory

    def cues(self, sound: NDArray[np.float32]) -> list[SpeechCue]:
        """The cues of the next frames.

        Args:
            sound: float32 [(n + LOOKAHEAD_FRAMES) * samples]: n frames and their look-ahead, which
                comes again in the next call; zeros where the future is unknown.

        Raises:
            ValueError: not whole frames, or fewer than the look-ahead.
        """
        count, rest = divmod(sound.size, self.samples)
        if sound.ndim != 1 or rest or count < LOOKAHEAD_FRAMES:
            raise ValueError(
                f"expected frames of {self.samples} samples and {LOOKAHEAD_FRAMES} more, got shape"
                f" {sound.shape}"
            )
        heard = [self._hear(piece) for piece in sound.reshape(count, self.samples)]
        return [
            self._step(heard[k], heard[k + 1 : k + 1 + LOOKAHEAD_FRAMES])
            for k in range(count - LOOKAHEAD_FRAMES)
        ]

    def _hear(self, piece: NDArray[np.float32]) -> _FrameSound:
        """Level within the band of vowels, and pitch by autocorrelation."""
        windowed = piece * self._window
        power = np.abs(np.fft.rfft(windowed)) ** 2
        level = 10 * np.log10(float(power[self._band].sum()) * self._power_scale + 1e-12)
        if level < VOICE_DB:
            return _FrameSound(max(float(level), SILENT_DB), None)
        padded = np.abs(np.fft.rfft(windowed, 2 * self.samples)) ** 2
        correlation = np.fft.irfft(padded)[: self._lags[1] + 1]
        correlation = correlation / (correlation[0] * self._overlap)
        searched = correlation[self._lags[0] :]
        best = float(searched.max())
        if best < VOICED:
            return _FrameSound(float(level), None)
        inner = searched[1:-1]
        peaks = (inner >= searched[:-2]) & (inner >= searched[2:]) & (inner > 0.9 * best)
        if not peaks.any():
            return _FrameSound(float(level), None)
        lag = self._lags[0] + 1 + int(np.argmax(peaks))  # the shortest: the others are multiples
        return _FrameSound(float(level), 12 * float(np.log2(SAMPLE_RATE / lag)))

    def _is_voice(self, frame: _FrameSound) -> bool:
        return frame.level > max(VOICE_DB, self._mean - VOICE_RANGE_DB)

    def _step(self, frame: _FrameSound, ahead: list[_FrameSound]) -> SpeechCue:
        self._past.append(frame)
        self._learn(frame)
        begins, ends = self._follow_phrase(ahead)
        self._since_accent += 1
        accent = 0.0
        if self._talking and self._since_accent > self._refractory:
            near = [*self._past, *ahead]
            now = len(self._past) - 1
            # The next frame, else this one, whose fall may not have been known a frame ago.
            accent = max(self._strength(near, now + 1), self._strength(near, now))
            if accent:
                self._since_accent = 0
        return SpeechCue(self._talking, begins, ends, accent)

    def _learn(self, frame: _FrameSound) -> None:
        """Follow level and pitch of the voice; silence changes neither."""
        if not self._is_voice(frame):
            return
        step = frame.level - self._mean
        self._mean += self._forget * step
        self._variance += self._forget * (step * step - self._variance)
        if frame.pitch is not None:
            if self._pitch is None:
                self._pitch = frame.pitch
            self._pitch += 2 * self._forget * (frame.pitch - self._pitch)

    def _follow_phrase(self, ahead: list[_FrameSound]) -> tuple[bool, bool]:
        if self._is_voice(self._past[-1]):
            begins = not self._talking
            self._voiced = 1 if begins else self._voiced + 1
            self._talking = True
            return begins, False
        recent = [*list(self._past)[len(ahead) - self._pause :], *ahead]
        if not self._talking or any(self._is_voice(one) for one in recent):
            return False, False
        self._talking = False
        return False, self._voiced >= self._phrase

    def _strength(self, near: list[_FrameSound], at: int) -> float:
        """How strongly a frame is stressed, 0 where it is no peak."""
        level = near[at].level
        if not self._is_voice(near[at]) or level < near[at + 1].level:
            return 0.0
        if level <= near[at - 1].level or level < near[at - 2].level:
            return 0.0
        if level - min(one.level for one in near[at - _ONSET : at]) < RISE_DB:
            return 0.0
        spread = max(float(np.sqrt(self._variance)), _LEAST_SD_DB)
        score = _LEVEL_WEIGHT * (level - self._mean) / spread
        pitch = [one.pitch for one in near[at - 1 : at + 2] if one.pitch is not None]
        if pitch and self._pitch is not None:
            above = max(pitch) - self._pitch
            score += _PITCH_WEIGHT * min(max(above, -_MOST_SEMITONES), _MOST_SEMITONES)
        return min(1.0, 0.3 + (score - THRESHOLD)) if score > THRESHOLD else 0.0
