"""Clips against a generator that is exact, late, or moves its lips too little."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from models.dataset.clips import load_clip
from models.evaluation.compare import VideoTracks, compare, neutral_opening, track_video
from models.evaluation.eval_clip import EvalClip, generate, lip_frames, make_eval_clip
from models.evaluation.face_track import track_face
from tests.support.puppet import PuppetGenerator, write_clip

pytestmark = pytest.mark.unit


Case = tuple[EvalClip, VideoTracks]


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    """A small clip, and the landmark tracks of its truth."""
    data = tmp_path_factory.mktemp("data")
    clip = load_clip(write_clip(data, "900", "held_out", frames=50))
    eval_clip = make_eval_clip(clip, 60.0)
    return eval_clip, track_video(eval_clip.truth, eval_clip, None, "truth")


def measured(case: Case, generator: PuppetGenerator) -> dict[str, float]:
    """All metrics of one generator on the small clip, by landmarks alone."""
    eval_clip, truth = case
    frames = generate(generator, generator.prepare(), eval_clip, "test").windows
    return compare(frames, track_video(frames, eval_clip, None, "test"), eval_clip, truth, 4)


def test_an_exact_generator_is_perfect(case: Case) -> None:
    metrics = measured(case, PuppetGenerator())
    assert metrics["mouth_correlation.landmarks"] == pytest.approx(1, abs=1e-3)
    assert metrics["sync_offset_frames.landmarks"] == pytest.approx(0, abs=0.05)
    assert metrics["mouth_amplitude_percent.landmarks"] == pytest.approx(100, abs=3)
    assert metrics["jaw_ceiling.landmarks"] > 0.8
    assert metrics["rest_excess_percent.landmarks"] == pytest.approx(0, abs=10)
    assert metrics["closure_percent.landmarks"] == metrics["closure_truth_percent.landmarks"] == 100
    assert metrics["closure_chance_percent.landmarks"] < 50
    assert metrics["frame_change"] == pytest.approx(1, abs=0.05)  # compressed truth
    assert metrics["border_excess"] == pytest.approx(1, abs=0.02)
    assert metrics["drift_background"] == pytest.approx(0, abs=0.01)
    assert metrics["psnr"] > metrics["psnr_still"] + 10
    assert metrics["psnr_mouth"] > metrics["psnr_mouth_still"] + 10
    assert math.isnan(metrics["mouth_correlation.ruler"])


def test_a_late_generator_is_found_late(case: Case) -> None:
    metrics = measured(case, PuppetGenerator(late=3))
    assert metrics["sync_offset_frames.landmarks"] == pytest.approx(3, abs=0.4)
    assert metrics["mouth_correlation.landmarks"] < 0.5


def test_small_lips_have_a_small_amplitude(case: Case) -> None:
    metrics = measured(case, PuppetGenerator(scale=0.5))
    assert 30 < metrics["mouth_amplitude_percent.landmarks"] < 75
    assert metrics["mouth_correlation.landmarks"] > 0.6


def test_lip_sounds_come_from_their_times(tmp_path: Path) -> None:
    clip = load_clip(write_clip(tmp_path, "000", "train", frames=50))
    assert lip_frames(clip, 50).tolist() == [30]  # b in the middle of the pause; m is too late
    (clip.path / "speech.json").write_text("{")
    assert lip_frames(clip, 50).size == 0


def test_seconds_and_boxes_stay_inside(tmp_path: Path) -> None:
    clip = load_clip(write_clip(tmp_path, "000", "train", frames=50))
    eval_clip = make_eval_clip(clip, 1.0)
    assert eval_clip.truth.shape == (25, 256, 256, 3)
    assert eval_clip.audio.size == 25 * 640
    assert (eval_clip.boxes[:, 2:] > eval_clip.boxes[:, :2]).all()
    assert eval_clip.boxes.min() >= 0 and eval_clip.boxes.max() <= 256
    assert not (eval_clip.head * eval_clip.background).any()
    assert eval_clip.background.sum() > 0


def test_no_face_no_track() -> None:
    assert track_face(np.zeros((3, 256, 256, 3), np.uint8)) is None


def test_neutral_opening_is_that_of_silence() -> None:
    opening = np.concatenate([np.full(20, 0.1), np.full(60, 0.9), np.full(20, 0.5)])
    assert neutral_opening(opening, np.arange(100) < 20) == pytest.approx(0.1)
    assert neutral_opening(opening[30:], np.zeros(70, bool)) == pytest.approx(0.5)
    assert math.isnan(neutral_opening(np.full(9, np.nan), np.ones(9, bool)))
