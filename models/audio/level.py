"""Brings speech to one loudness and room noise to exact silence, causally, block by block.

Works on blocks of 20 ms. A gate opens with the first block above its threshold and closes after
``HOLD_BLOCKS`` blocks below it; a closed gate gives zeros. The threshold is 8 dB above the room's
noise floor (which follows downwards fast, upwards 3 dB a second) within [-60, -45] dBFS; a fresh
stream starts at -52 dBFS. While blocks are above the threshold a slow average of their loudness
is kept; the gain leads that loudness to ``TARGET_DB`` within [MIN_GAIN_DB, MAX_GAIN_DB] and moves
linearly inside each block, so there are no steps. Nothing looks ahead: a prefix of the input gives
the same prefix of the output.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.errors import AudioError

BLOCK = 320
"""20 ms at 16 kHz."""
TARGET_DB = -23.0
MIN_GAIN_DB = -12.0
MAX_GAIN_DB = 20.0
GATE_MIN_DB = -60.0
GATE_MAX_DB = -45.0
GATE_MARGIN_DB = 8.0
HOLD_BLOCKS = 20
"""Blocks below the threshold (0.4 s) before the gate closes."""
FLOOR_START_DB = -60.0
FLOOR_RISE_DB = 0.06
FLOOR_FALL = 0.3
PRIOR_BLOCKS = 10
"""How many blocks of speech at the target loudness a fresh stream is assumed to have had."""
MEMORY_BLOCKS = 100
"""Loudness memory, 2 s of speech."""
OPENING = 80
"""Samples over which an opening gate fades in (5 ms)."""
_DB_MIN = -120.0


@dataclass(frozen=True, slots=True)
class LevelState:
    """All that ``LevelControl`` carries from block to block.

    Attributes:
        loudness: average of the square root of speech blocks' RMS amplitude.
        count: speech blocks in that average, at most ``MEMORY_BLOCKS``.
        floor_db: the room's noise floor.
        quiet: blocks below the threshold since the last one above.
        gain: amplitude factor at the end of the last block; 0 when the gate is closed.
    """

    loudness: float = 10 ** (TARGET_DB / 40)
    count: int = PRIOR_BLOCKS
    floor_db: float = FLOOR_START_DB
    quiet: int = HOLD_BLOCKS
    gain: float = 0.0


class LevelControl:
    """The level state of one stream."""

    def __init__(self) -> None:
        self.state = LevelState()

    def process(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Set the level of the stream's next samples.

        Args:
            samples: float32 [N] mono at 16 kHz, N a multiple of ``BLOCK``.

        Returns:
            float32 [N] in [-1, 1].

        Raises:
            AudioError: another shape, or not finite.
        """
        levelled, self.state = _run(samples, self.state)
        return levelled

    def peek(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """What ``process`` would give, with the state left as it was (for look-ahead)."""
        return _run(samples, self.state)[0]


def level_audio(audio: NDArray[np.float32]) -> NDArray[np.float32]:
    """Set the level of a whole recording, float32 [N] of any length, as a stream would.

    Raises:
        AudioError: not mono or not finite.
    """
    if audio.ndim != 1:
        raise AudioError(f"expected mono [N], got shape {audio.shape}", code="bad_audio")
    padded = np.concatenate([audio, np.zeros(-audio.size % BLOCK, np.float32)])
    return LevelControl().process(padded)[: audio.size]


def _run(samples: NDArray[np.float32], state: LevelState) -> tuple[NDArray[np.float32], LevelState]:
    if samples.ndim != 1 or samples.size % BLOCK or not np.isfinite(samples).all():
        raise AudioError(
            f"expected finite mono samples [N] with N a multiple of {BLOCK},"
            f" got shape {samples.shape}; pad with zeros",
            code="bad_audio",
        )
    blocks = samples.astype(np.float32, copy=False).reshape(-1, BLOCK)
    amplitudes = np.sqrt(np.square(blocks, dtype=np.float64).mean(1)).tolist()
    levelled = np.zeros_like(blocks)
    for row, amplitude in enumerate(amplitudes):
        before = state.gain
        state = _next(state, amplitude)
        if before or state.gain:
            levelled[row] = blocks[row] * _ramp(before, state.gain)
    return np.clip(levelled, -1, 1).reshape(-1), state


def _next(state: LevelState, amplitude: float) -> LevelState:
    level_db = 20 * float(np.log10(amplitude)) if amplitude > 1e-6 else _DB_MIN
    step = level_db - state.floor_db
    floor_db = state.floor_db + (FLOOR_FALL * step if step < 0 else min(step, FLOOR_RISE_DB))
    threshold = min(max(GATE_MIN_DB, floor_db + GATE_MARGIN_DB), GATE_MAX_DB)
    if level_db < threshold:
        quiet = min(state.quiet + 1, HOLD_BLOCKS)
        gain = 0.0 if quiet == HOLD_BLOCKS else state.gain
        return LevelState(state.loudness, state.count, floor_db, quiet, gain)
    count = min(state.count + 1, MEMORY_BLOCKS)
    loudness = state.loudness + (amplitude**0.5 - state.loudness) / count
    gain_db = min(max(TARGET_DB - 40 * float(np.log10(loudness)), MIN_GAIN_DB), MAX_GAIN_DB)
    return LevelState(loudness, count, floor_db, 0, 10 ** (gain_db / 20))


def _ramp(before: float, after: float) -> NDArray[np.float32]:
    if before == 0.0:
        return (after * np.minimum(_STEPS * (BLOCK / OPENING), 1)).astype(np.float32)
    return (before + (after - before) * _STEPS).astype(np.float32)


_STEPS = np.arange(1, BLOCK + 1) / BLOCK
