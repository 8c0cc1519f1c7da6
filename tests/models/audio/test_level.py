"""Level control: one loudness for speech, exact zeros for room noise, and nothing looks ahead."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from models.audio.level import BLOCK, MAX_GAIN_DB, LevelControl, level_audio
from models.errors import AudioError

pytestmark = pytest.mark.unit

RATE = 16_000


def sine(level_db: float, seconds: float = 8.0) -> NDArray[np.float32]:
    """A 220 Hz tone whose RMS is ``level_db``."""
    amplitude = 10 ** (level_db / 20) * 2**0.5
    times = np.arange(round(seconds * RATE)) / RATE
    return (amplitude * np.sin(2 * np.pi * 220 * times)).astype(np.float32)


def noise(level_db: float, seconds: float = 8.0) -> NDArray[np.float32]:
    """White noise whose RMS is ``level_db``."""
    samples = np.random.default_rng(1).standard_normal(round(seconds * RATE))
    return (10 ** (level_db / 20) * samples).astype(np.float32)


def speech_like(level_db: float, seconds: float = 8.0) -> NDArray[np.float32]:
    """Noise in syllables, with pauses; ``level_db`` is the RMS inside the syllables."""
    times = np.arange(round(seconds * RATE)) / RATE
    syllables = np.clip(np.sin(2 * np.pi * 2.5 * times), 0, 1) * (times % 2.0 < 1.5)
    return noise(level_db, seconds) * syllables.astype(np.float32)


def rms_db(samples: NDArray[np.float32]) -> float:
    """RMS in dBFS."""
    return 10 * float(np.log10(np.mean(np.square(samples, dtype=np.float64)) + 1e-12))


@pytest.mark.parametrize("level_db", [-28.0, -23.0, -12.0])
def test_speech_and_tones_are_led_to_the_target(level_db: float) -> None:
    assert rms_db(level_audio(sine(level_db))[-RATE:]) == pytest.approx(-23, abs=2)


def test_speech_from_a_quiet_and_a_loud_microphone_end_alike() -> None:
    quiet = level_audio(speech_like(-38))[-4 * RATE :]
    loud = level_audio(speech_like(-12))[-4 * RATE :]
    assert abs(rms_db(quiet) - rms_db(loud)) < 4.5


def test_the_gain_is_bounded() -> None:
    quiet = level_audio(speech_like(-50))[-4 * RATE :]
    assert quiet.any()
    assert rms_db(quiet) <= rms_db(speech_like(-50)[-4 * RATE :]) + MAX_GAIN_DB + 0.1
    assert np.abs(level_audio(sine(0))).max() <= 1


def scaled(samples: NDArray[np.floating], level_db: float) -> NDArray[np.float32]:
    """The same sound with an RMS of ``level_db``."""
    loud: NDArray[np.float32] = (10 ** (level_db / 20) / samples.std() * samples).astype(np.float32)
    return loud


def fan(level_db: float, seconds: float = 4.0) -> NDArray[np.float32]:
    """Noise without its upper half."""
    samples = np.convolve(noise(0, seconds), np.ones(8) / 8, "same")
    return scaled(samples, level_db)


def hum(level_db: float, seconds: float = 4.0) -> NDArray[np.float32]:
    """A mains hum with its harmonics."""
    times = np.arange(round(seconds * RATE)) / RATE
    partials = np.arange(1, 9)[:, None]
    return scaled(
        (np.sin(2 * np.pi * 50 * partials * times + partials) / partials).sum(0), level_db
    )


STEADY = [noise, fan, hum]
Sound = Callable[[float], NDArray[np.float32]]


@pytest.mark.parametrize("before", [0, RATE, RATE + 160, RATE + 300])
@pytest.mark.parametrize("level_db", [-90.0, -65.0, -55.0, -48.0, -38.0, -35.0])
@pytest.mark.parametrize("kind", STEADY)
def test_steady_noise_is_silence_from_its_first_sample(
    kind: Sound, level_db: float, before: int
) -> None:
    """At the start of a stream, and after digital silence that ends anywhere in a block."""
    begun = np.concatenate([np.zeros(before, np.float32), kind(level_db)])
    assert not level_audio(begun).any()


@pytest.mark.parametrize("kind", STEADY)
def test_noise_that_begins_beside_speech_is_silence_within_a_second(kind: Sound) -> None:
    levelled = level_audio(np.concatenate([speech_like(-20, 3.0), kind(-38)]))
    assert not levelled[4 * RATE :].any()


@pytest.mark.parametrize("kind", STEADY)
def test_speech_in_noise_passes_and_the_noise_alone_does_not(kind: Sound) -> None:
    spoken = speech_like(-20, 4.0)
    noisy = np.concatenate([kind(-40)[: 4 * RATE], kind(-40)[: 4 * RATE] + spoken])
    levelled = level_audio(noisy)
    assert not levelled[: 4 * RATE].any()
    loud = np.abs(spoken.reshape(-1, BLOCK)).mean(1) > 0.05
    assert (np.abs(levelled[4 * RATE :].reshape(-1, BLOCK)).max(1) > 0)[loud].mean() > 0.97


@pytest.mark.parametrize("offset", [0.1, -0.3])
def test_a_constant_offset_is_taken_off(offset: float) -> None:
    assert not level_audio(np.full(2 * RATE, offset, np.float32)).any()
    begun = np.concatenate([np.zeros(RATE, np.float32), np.full(RATE, offset, np.float32)])
    assert not level_audio(begun).any()
    speech = speech_like(-26)
    moved = level_audio(speech + np.float32(offset))
    assert abs(moved[RATE:].mean()) < 0.02
    assert np.corrcoef(moved[RATE:], level_audio(speech)[RATE:])[0, 1] > 0.97


def test_clean_speech_in_a_quiet_room_is_neither_muted_nor_moved() -> None:
    """Every sample that is loud enough comes through in proportion, from its first block."""
    speech = noise(-75) + np.concatenate([np.zeros(RATE, np.float32), speech_like(-26, 7.0)])
    levelled = level_audio(speech)
    heard = np.abs(speech.reshape(-1, BLOCK)).mean(1) > 10 ** (-50 / 20)
    gains = levelled.reshape(-1, BLOCK)[heard] / speech.reshape(-1, BLOCK)[heard]
    assert 1 < gains[:, -1].min() < gains[:, -1].max() < 2.5


def test_digital_silence_stays_silence() -> None:
    assert not level_audio(np.zeros(RATE, np.float32)).any()


def test_the_gate_closes_only_after_a_while() -> None:
    levelled = level_audio(np.concatenate([sine(-23, 1.0), noise(-75, 1.0)]))
    assert levelled[RATE : RATE + 5 * BLOCK].any()
    assert not levelled[RATE + 20 * BLOCK :].any()


def test_the_gain_has_no_steps() -> None:
    """Between two neighbouring samples the gain moves by little, across block borders too."""
    constant = np.full(4 * RATE, 0.02, np.float32)
    constant[RATE:] = 0.2
    gain = level_audio(constant) / constant
    assert np.abs(np.diff(gain)).max() < 0.03


def test_pieces_give_what_the_whole_gives() -> None:
    audio = speech_like(-30)
    control = LevelControl()
    pieces = [control.process(piece) for piece in np.split(audio, 50)]
    assert np.array_equal(np.concatenate(pieces), level_audio(audio))


def test_a_prefix_of_the_input_gives_the_prefix_of_the_output() -> None:
    audio = speech_like(-30)
    assert np.array_equal(level_audio(audio[: 2 * RATE]), level_audio(audio)[: 2 * RATE])


def test_peeking_leaves_the_state_alone() -> None:
    control = LevelControl()
    control.process(speech_like(-30, 1.0))
    state = control.state
    control.peek(sine(0, 1.0))
    assert control.state == state


@pytest.mark.parametrize(
    "samples",
    [
        np.zeros(BLOCK + 1, np.float32),
        np.zeros((2, BLOCK), np.float32),
        np.full(BLOCK, np.nan, np.float32),
    ],
)
def test_misshapen_samples_are_refused(samples: NDArray[np.float32]) -> None:
    with pytest.raises(AudioError) as caught:
        LevelControl().process(samples)
    assert caught.value.code == "bad_audio"
