"""Tests that phonemes become the right mouth: closed lips, open jaw, rest in silence."""

from __future__ import annotations

import numpy as np
import pytest

from models.mini.motion import MOTION, MOUTH_UNITS
from models.synth.articulation import Phoneme, blendshape_track, merge_marks
from models.synth.blendshapes import ARKIT_BLENDSHAPES, to_arkit

pytestmark = pytest.mark.unit

JAW = MOUTH_UNITS.index("jawOpen")
PARTING = [MOUTH_UNITS.index(k) for k in ("jawOpen", "mouthLowerDown", "mouthUpperUp")]


def spoken(symbols: str, start: float, each: float = 0.08) -> list[Phoneme]:
    """Phonemes of equal length, one after the other."""
    return [Phoneme(c, start + k * each, start + (k + 1) * each) for k, c in enumerate(symbols)]


@pytest.mark.parametrize("lips", ["p", "b", "m"])
@pytest.mark.parametrize("shift", np.linspace(0.0, 0.04, 9).tolist())
def test_lips_close_between_wide_vowels(lips: str, shift: float) -> None:
    phonemes = spoken(f"ɑ{lips}ɑ", 0.4 + shift)
    track = blendshape_track(phonemes, 25, delay=0.0)
    middle = (phonemes[1].start + phonemes[1].end) / 2
    closest = int(np.argmin(np.abs((np.arange(25) + 0.5) / 25 - middle)))
    assert track[closest, PARTING].max() < 0.03
    assert track[closest, MOUTH_UNITS.index("mouthPress")] > 0.4
    assert track[:, JAW].max() > 0.4


def test_short_bilabials_close_too() -> None:
    phonemes = [Phoneme("ɑ", 0.4, 0.6), Phoneme("b", 0.6, 0.63), Phoneme("ɑ", 0.63, 0.8)]
    for delay in np.linspace(0.0, 0.04, 9):
        track = blendshape_track(phonemes, 25, delay=float(delay))
        assert track[:, PARTING].max(1)[13:17].min() < 0.03


def test_labiodental_lifts_the_lower_lip_to_the_teeth() -> None:
    track = blendshape_track(spoken("ɑfɑ", 0.4, 0.1), 25, delay=0.0)
    assert track[:, MOUTH_UNITS.index("mouthRollLower")].max() > 0.45
    assert track[13:15, JAW].min() < 0.15


def test_mouth_rests_exactly_in_silence() -> None:
    first, second = spoken("hɛlO", 0.5), spoken("wɜɹld", 2.5)
    stop = [Phoneme(".", first[-1].end, 1.4)]
    energy = np.zeros(100, np.float32)
    energy[12:21] = energy[62:72] = 0.8
    track = blendshape_track(first + stop + second, 100, energy=energy)
    assert np.abs(track[:8]).max() == 0.0
    assert np.abs(track[30:55]).max() == 0.0
    assert np.abs(track[80:]).max() == 0.0
    assert track[:, JAW].max() > 0.2


def test_loud_speech_opens_the_jaw_more() -> None:
    phonemes = spoken("hɑhɑhɑ", 0.2, 0.1)
    loud = blendshape_track(phonemes, 25, energy=np.full(25, 1.0, np.float32))
    soft = blendshape_track(phonemes, 25, energy=np.full(25, 0.1, np.float32))
    assert 1.2 * soft[:, JAW].max() < loud[:, JAW].max() < 0.75


def test_lateness_moves_the_mouth_to_the_front() -> None:
    phonemes = spoken("ɑ", 0.6, 0.2)
    late = blendshape_track(phonemes, 30, delay=0.0)
    moved = blendshape_track(phonemes, 30, delay=0.08)
    np.testing.assert_allclose(moved[:-2], late[2:], atol=1e-5)


def test_stress_length_and_diphthongs_are_folded() -> None:
    marks = [Phoneme("ˈ", 0.0, 0.1), Phoneme("i", 0.1, 0.2), Phoneme("ː", 0.2, 0.3)]
    assert merge_marks(marks) == [Phoneme("i", 0.0, 0.3)]
    parts = merge_marks([Phoneme("W", 0.0, 1.0)])
    assert [p.symbol for p in parts] == ["a", "ʊ"]
    assert parts[0].end == parts[1].start


def test_refuses_energy_of_another_length() -> None:
    with pytest.raises(ValueError, match=r"expected \[10\]"):
        blendshape_track([], 10, energy=np.zeros(9, np.float32))


def test_face_units_have_both_sides_and_opposite_looks() -> None:
    mouth = np.zeros((2, len(MOUTH_UNITS)), np.float32)
    motion = np.zeros((2, len(MOTION)), np.float32)
    mouth[1, MOUTH_UNITS.index("mouthSmile")] = 0.3
    motion[1, MOTION.index("blink")] = 1.0
    motion[1, MOTION.index("gaze_yaw")] = 0.1
    units = dict(zip(ARKIT_BLENDSHAPES, to_arkit(mouth, motion)[1], strict=True))
    assert len(ARKIT_BLENDSHAPES) == 52
    assert units["mouthSmileLeft"] == units["mouthSmileRight"] == np.float32(0.3)
    assert units["eyeBlinkLeft"] == units["eyeBlinkRight"] == 1.0
    assert units["eyeLookOutLeft"] == units["eyeLookInRight"] > 0.0
    assert units["eyeLookInLeft"] == units["eyeLookOutRight"] == 0.0
    assert not to_arkit(mouth, motion)[0].any()


def test_refuses_tracks_of_different_lengths() -> None:
    with pytest.raises(ValueError, match="expected tracks"):
        to_arkit(np.zeros((3, 13), np.float32), np.zeros((2, 7), np.float32))
