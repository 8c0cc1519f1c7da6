"""One segment of pushed speech, resampled to the model's and the output's rate, taken by frames.

Knows nothing about time or sessions; ``server/session/scheduler.py`` decides when to take what.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from server.media.av_frame import OUTPUT_RATE
from server.media.resampler import AudioFormat, MonoInput, StreamResampler
from server.media.spec import MediaSpec

PEAK = 32767
EPSILON = 1e-6


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of speech, as events and metrics name it.

    Attributes:
        name: the ``segment_id`` of events.
        asked_at: clock time at which its first sound arrived.
    """

    name: str
    asked_at: float


@dataclass(frozen=True, slots=True)
class FrameTag:
    """Which speech a frame carries.

    Attributes:
        segment: the segment that is played with the frame, or None.
        samples: pushed samples in the frame at ``OUTPUT_RATE``; 0 is idle silence.
    """

    segment: Segment | None = None
    samples: int = 0


IDLE = FrameTag()


@dataclass(frozen=True, slots=True)
class FrameSound:
    """The sound of one frame: float32 for the model, int16 to be played."""

    features: NDArray[np.float32]
    sound: NDArray[np.int16]
    samples: int


class Fifo:
    """A queue of samples; reading beyond the end gives zeros.

    Bounded by its owner: ``ChunkScheduler`` takes at most ``MAX_BUFFER_S`` of speech.
    """

    def __init__(self, kind: type[np.generic]) -> None:
        self._kind = kind
        self._pieces: deque[NDArray[Any]] = deque()
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def push(self, samples: NDArray[Any]) -> None:
        """Append samples [N]."""
        if samples.size:
            self._pieces.append(samples)
            self._length += samples.size

    def peek(self, count: int) -> NDArray[Any]:
        """The next ``count`` samples, zeros after the end; they stay."""
        out = np.zeros(count, self._kind)
        at = 0
        for piece in self._pieces:
            part = piece[: count - at]
            out[at : at + part.size] = part
            at += part.size
            if at == count:
                break
        return out

    def pop(self, count: int) -> NDArray[Any]:
        """Take the next ``count`` samples, zeros after the end."""
        out = self.peek(count)
        taken = min(count, self._length)
        self._length -= taken
        while taken:
            piece = self._pieces.popleft()
            if piece.size > taken:
                self._pieces.appendleft(piece[taken:])
                break
            taken -= piece.size
        return out


class IncomingSpeech:
    """One segment's queue at the model's rate and at the rate that is played.

    Both resamplers keep the first sample's time, so frame k of one is frame k of the other; the
    last frame of the segment, or before a pause of it, is filled up with silence.

    Attributes:
        closed: whether no more will come.
        paused: whether all that came may be taken, though more may follow.
        started: whether frames were taken.
        flowing: whether frames were taken since the last pause.
    """

    def __init__(self, spec: MediaSpec, segment: Segment, audio_format: AudioFormat) -> None:
        self.segment = segment
        self.format = audio_format
        self.closed = self.paused = False
        self.started = self.flowing = False
        self.last_data = segment.asked_at
        self._spec = spec
        self._to_mono = MonoInput(audio_format)
        self._to_features = StreamResampler(audio_format.rate, spec.feature_rate)
        self._to_sound = StreamResampler(audio_format.rate, OUTPUT_RATE)
        self._arrived_s = 0.0
        self._features = Fifo(np.float32)
        self._sound = Fifo(np.int16)

    @property
    def ended(self) -> bool:
        """Whether what follows is silence: closed, or paused."""
        return self.closed or self.paused

    @property
    def frames(self) -> int:
        """Frames that can be taken: whole ones, and the last broken one once nothing follows it."""
        feature_frames, feature_rest = divmod(len(self._features), self._spec.feature_samples)
        sound_frames, sound_rest = divmod(len(self._sound), self._spec.sound_samples)
        if self.ended:
            return max(feature_frames + (feature_rest > 0), sound_frames + (sound_rest > 0))
        return min(feature_frames, sound_frames)

    @property
    def arrived(self) -> int:
        """Whole frames that arrived; the filters hold back the last millisecond of the last."""
        return self.frames if self.ended else int(self._arrived_s / self._spec.frame_s + EPSILON)

    @property
    def seconds(self) -> float:
        """Queued sound; a closed segment lasts whole frames, however short it is."""
        return max(len(self._sound) / OUTPUT_RATE, self.frames * self._spec.frame_s)

    def push(self, pcm: NDArray[np.int16], now: float) -> None:
        """Append interleaved int16 [N * channels] in the segment's format."""
        mono = self._to_mono.push(pcm)
        if self.paused:
            self.paused, self._arrived_s = False, 0.0
        self._append(self._to_features.push(mono), self._to_sound.push(mono))
        self._arrived_s += mono.size / self.format.rate
        self.last_data = now

    def close(self) -> None:
        """No more will come; what the filters hold back becomes available."""
        self._flush()
        self.closed = True

    def pause(self) -> None:
        """Silence follows, and perhaps more sound; what the filters hold back becomes available."""
        self._flush()
        self.paused, self.flowing = True, False

    def take(self) -> FrameSound:
        """The next frame; silence where the segment has ended."""
        self.started, self.flowing = True, not self.paused
        self._arrived_s -= self._spec.frame_s
        samples = min(len(self._sound), self._spec.sound_samples)
        return FrameSound(
            self._features.pop(self._spec.feature_samples),
            self._sound.pop(self._spec.sound_samples),
            samples,
        )

    def peek_features(self, count: int) -> NDArray[np.float32]:
        """At most ``count`` samples of what follows; a closed segment fills its last frame."""
        available = len(self._features)
        if self.ended:
            available = self.frames * self._spec.feature_samples
        return self._features.peek(min(count, available))

    def peek_sound(self) -> NDArray[np.int16]:
        """The next frame of what is played, int16; it stays."""
        return self._sound.peek(self._spec.sound_samples)

    def _flush(self) -> None:
        if not self.ended:
            self._append(self._to_features.flush(), self._to_sound.flush())

    def _append(self, features: NDArray[np.float32], sound: NDArray[np.float32]) -> None:
        self._features.push(features)
        self._sound.push((np.clip(sound, -1, 1) * PEAK).astype(np.int16))


class VoiceGate:
    """Detects by level whether somebody speaks in a microphone's frame; closes after a hangover."""

    THRESHOLD = 0.01  # RMS of full scale: -40 dB, above room noise, below quiet speech
    HANG_FRAMES = 8  # pauses between words stay inside a segment

    def __init__(self) -> None:
        self._hang = 0

    def hears(self, sound: NDArray[np.int16]) -> bool:
        """Take the next frame, int16, in order."""
        if is_quiet(sound):
            self._hang = max(0, self._hang - 1)
        else:
            self._hang = self.HANG_FRAMES
        return self._hang > 0


def is_quiet(sound: NDArray[np.int16]) -> bool:
    """Whether a frame's level, a constant offset left aside, is under the gate's threshold."""
    level = np.std(sound.astype(np.float32) / PEAK) if sound.size else 0.0
    return bool(level < VoiceGate.THRESHOLD)
