"""Whether the caller speaks just now, by the level of what the microphone delivers.

A listening portrait nods to it (``models.generator.Listener``). In echo mode the producer passes
the microphone's sound on; a mode that does not play it gives it to ``Caller.hear`` itself.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from server.media.resampler import AudioFormat
from server.session.incoming import is_quiet

BLOCK_S = 0.02
HANG_S = 0.3
"""Pauses up to this stay inside a phrase; a microphone that delivers nothing is silent after it."""


class Caller:
    """The caller of one session."""

    def __init__(self) -> None:
        self._loud_at = -math.inf

    def hear(self, samples: NDArray[np.int16], audio_format: AudioFormat, now: float) -> None:
        """Take interleaved int16 samples whose last one is of the time ``now``."""
        block = max(1, round(BLOCK_S * audio_format.rate)) * audio_format.channels
        for behind, end in enumerate(range(samples.size, 0, -block)):
            if not is_quiet(samples[max(0, end - block) : end]):
                self._loud_at = max(self._loud_at, now - behind * BLOCK_S)
                return

    def speaks(self, now: float) -> bool:
        """Whether the caller speaks, or paused only just now."""
        return now - self._loud_at < HANG_S
