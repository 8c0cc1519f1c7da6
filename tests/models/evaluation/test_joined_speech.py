"""Recordings joined into one, and what is known of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models.dataset.clips import Clip, load_clip
from models.evaluation.joined_speech import join_speech
from tests.support.puppet import write_clip

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Clip]:
    """Two recordings of two seconds."""
    data = tmp_path_factory.mktemp("data")
    paths: list[Path] = [write_clip(data, f"90{k}", "held_out", 50, seed=k) for k in (1, 2)]
    return [load_clip(path) for path in paths]


def test_recordings_follow_each_other_in_a_circle(clips: list[Clip]) -> None:
    speech = join_speech(clips, 120, begin=1)
    assert speech.frames == 120
    assert speech.sound.size == 120 * 640
    assert np.array_equal(speech.sound[: 50 * 640], clips[1].audio)
    assert np.array_equal(speech.mouth[50:100], clips[0].mouth)
    assert np.array_equal(speech.mouth[100:], clips[1].mouth[:20])
    assert speech.lips.tolist() == [30, 80]  # that of the third lies beyond the end
    assert np.array_equal(speech.silent[:50], clips[1].mouth.max(1) < 0.01)
