"""Brings speech to one loudness and steady noise to exact silence, causally, block by block.

Works on blocks of 20 ms. A constant offset beyond ``OFFSET`` is taken off first. A gate opens with
the first block above its threshold and closes after ``HOLD_BLOCKS`` blocks below it; a closed gate
gives zeros. The threshold is 8 dB above the room's floor (which follows downwards fast, upwards
3 dB a second) within [-60, -45] dBFS; a fresh stream starts at -52 dBFS.

**Noise is not speech**, up to -35 dBFS. A block in whose band of speech (``BAND_HZ``: without
rumble and hum) there is little more than steady noise counts as below the threshold. The noise is
known from half a second that was steady, which speech hardly ever is; and what begins at the start
of a stream, or after digital silence that closed the gate, is taken for noise until it rises or
falls. In a room whose noise is below ``NOISE_MIN_DB`` none of this changes anything.

While blocks are above the threshold a slow average of their loudness is kept; the gain leads that
loudness to ``TARGET_DB`` within [MIN_GAIN_DB, MAX_GAIN_DB] and moves linearly inside each block, so
there are no steps. Nothing looks ahead: a prefix of the input gives the same prefix of the output.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from models.audio import SAMPLE_RATE
from models.errors import AudioError

BLOCK = 320
"""20 ms at 16 kHz."""
TARGET_DB = -23.0
MIN_GAIN_DB = -12.0
MAX_GAIN_DB = 20.0
OFFSET = 0.01
"""Of full scale; clean speech, whose short averages are not quite zero, stays as it is."""
OFFSET_PACE = 0.05
GATE_MIN_DB = -60.0
GATE_MAX_DB = -45.0
GATE_MARGIN_DB = 8.0
HOLD_BLOCKS = 20
"""Blocks below the threshold (0.4 s) before the gate closes."""
FLOOR_START_DB = -60.0
FLOOR_RISE_DB = 0.06
FLOOR_FALL = 0.3
BAND_HZ = (150, 4000)
SILENCE_DB = -100.0
"""A block below is no sound of a room but what stands for none."""
NOISE_MIN_DB = -70.0
NOISE_MAX_DB = -31.0
"""What is louder in its band is never taken for noise."""
NOISE_MARGIN_DB = 6.0
BEGINNING_BLOCKS = 2
"""The first may begin in its midst, so the louder of both tells."""
STEADY_BLOCKS = 25
STEADY_DB = 2.0
"""Standard deviation of the blocks' levels under which half a second is steady."""
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
        floor_db: the room's floor.
        quiet: blocks below the threshold since the last one above.
        gain: amplitude factor at the end of the last block; 0 when the gate is closed.
        offset: average of the samples.
        noise_db: what may be noise in ``BAND_HZ``.
        levels: of the last blocks in ``BAND_HZ``, dB, since digital silence closed the gate; at
            most ``STEADY_BLOCKS``.
    """

    loudness: float = 10 ** (TARGET_DB / 40)
    count: int = PRIOR_BLOCKS
    floor_db: float = FLOOR_START_DB
    quiet: int = HOLD_BLOCKS
    gain: float = 0.0
    offset: float = 0.0
    noise_db: float = SILENCE_DB
    levels: tuple[float, ...] = ()


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
    means = blocks.mean(1, dtype=np.float64).tolist()
    levels = _band_levels(blocks).tolist()
    levelled = np.zeros_like(blocks)
    for row, block in enumerate(blocks):
        before = state
        state = _know_noise(state, levels[row], means[row])
        new = _beyond(state.offset)
        old = _beyond(before.offset) if before.gain else new
        if old or new:
            block = block - (old + (new - old) * _STEPS).astype(np.float32)
        amplitude = float(np.sqrt(np.square(block, dtype=np.float64).mean()))
        state = _next(state, amplitude, levels[row])
        if before.gain or state.gain:
            levelled[row] = block * _ramp(before.gain, state.gain)
    return np.clip(levelled, -1, 1).reshape(-1), state


def _band_levels(blocks: NDArray[np.float32]) -> NDArray[np.float64]:
    """The level of each block [N, BLOCK] in ``BAND_HZ``, dBFS; its mean counts for nothing."""
    centred = blocks - blocks.mean(1, keepdims=True, dtype=np.float64)
    power = np.square(np.abs(np.fft.rfft(centred * _WINDOW, axis=1)))[:, _BAND].sum(1)
    levels: NDArray[np.float64] = 10 * np.log10(power * _TO_MEAN_SQUARE + 1e-12)
    return levels


def _know_noise(state: LevelState, band_db: float, mean: float) -> LevelState:
    """The state with the offset and the noise that a block tells of."""
    if band_db < SILENCE_DB and state.quiet == HOLD_BLOCKS:
        return replace(state, offset=mean, levels=())
    pace = OFFSET_PACE if state.levels else 1.0
    offset = state.offset + pace * (mean - state.offset)
    levels = (*state.levels, band_db)[-STEADY_BLOCKS:]
    noise_db = _follow(state.noise_db, band_db)
    if len(levels) <= BEGINNING_BLOCKS:
        noise_db = max(levels)
    elif len(levels) == STEADY_BLOCKS and float(np.std(levels)) < STEADY_DB:
        noise_db = max(noise_db, sum(levels) / STEADY_BLOCKS)
    return replace(state, offset=offset, levels=levels, noise_db=noise_db)


def _is_noise(state: LevelState, band_db: float) -> bool:
    if len(state.levels) <= BEGINNING_BLOCKS:
        return band_db < NOISE_MAX_DB
    if state.noise_db < NOISE_MIN_DB:
        return band_db < SILENCE_DB
    return band_db < min(state.noise_db + NOISE_MARGIN_DB, NOISE_MAX_DB)


def _next(state: LevelState, amplitude: float, band_db: float) -> LevelState:
    """The state with the floor, the loudness and the gain that a block leaves."""
    level_db = 20 * float(np.log10(amplitude)) if amplitude > 1e-6 else _DB_MIN
    floor_db = _follow(state.floor_db, level_db)
    threshold = min(max(GATE_MIN_DB, floor_db + GATE_MARGIN_DB), GATE_MAX_DB)
    if level_db < threshold or _is_noise(state, band_db):
        quiet = min(state.quiet + 1, HOLD_BLOCKS)
        gain = 0.0 if quiet == HOLD_BLOCKS else state.gain
        return replace(state, floor_db=floor_db, quiet=quiet, gain=gain)
    count = min(state.count + 1, MEMORY_BLOCKS)
    loudness = state.loudness + (amplitude**0.5 - state.loudness) / count
    gain_db = min(max(TARGET_DB - 40 * float(np.log10(loudness)), MIN_GAIN_DB), MAX_GAIN_DB)
    return replace(
        state,
        loudness=loudness,
        count=count,
        floor_db=floor_db,
        quiet=0,
        gain=10 ** (gain_db / 20),
    )


def _follow(floor_db: float, level_db: float) -> float:
    """The floor after a block: it follows downwards fast, upwards slowly."""
    step = level_db - floor_db
    return floor_db + (FLOOR_FALL * step if step < 0 else min(step, FLOOR_RISE_DB))


def _beyond(offset: float) -> float:
    """The part of an offset that is taken off."""
    return offset - min(max(offset, -OFFSET), OFFSET)


def _ramp(before: float, after: float) -> NDArray[np.float32]:
    if before == 0.0:
        return (after * np.minimum(_STEPS * (BLOCK / OPENING), 1)).astype(np.float32)
    return (before + (after - before) * _STEPS).astype(np.float32)


_STEPS = np.arange(1, BLOCK + 1) / BLOCK
_WINDOW = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(BLOCK) / BLOCK)
_TO_MEAN_SQUARE = 2 / (BLOCK * float(np.square(_WINDOW).sum()))
_BAND = slice(*(round(hz * BLOCK / SAMPLE_RATE) for hz in BAND_HZ))
