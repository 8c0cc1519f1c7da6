"""The mouth metric: geometry of its crops, training, files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from models.dataset.clips import load_clip
from models.errors import WeightsError
from models.evaluation.measure import correlation
from models.evaluation.mouth_metric import (
    SIZE,
    MouthMetric,
    crop,
    load_mouth_metric,
    pose_of,
    save_mouth_metric,
    track_mouth,
    train_mouth_metric,
    true_mouth_tracks,
)
from tests.support.puppet import paint, portrait, to_window, write_clip

pytestmark = pytest.mark.unit


def test_pose_follows_the_eyes_not_the_mouth() -> None:
    eyes = np.tile(np.array([[100.0, 100.0], [160.0, 100.0]]), (40, 1, 1))
    mouth = np.tile(np.array([130.0, 160.0]), (40, 1))
    mouth[::4, 1] += 12
    pose = pose_of(eyes, mouth)
    assert np.ptp(pose.middle, axis=0).max() < 1e-9
    assert pose.unit == pytest.approx(60)
    assert pose.middle[0, 0] == pytest.approx(130)
    assert 160 < pose.middle[0, 1] < 170


def test_crops_turn_with_the_head() -> None:
    frame = np.zeros((256, 256, 3), np.uint8)
    frame[100:140, 128:] = 255  # bright on the right of (128, 120)
    level = crop(frame, np.array([128.0, 120.0]), 0.0, 64.0)
    assert level.shape == (*SIZE, 3)
    assert level[32, 24].max() == 0 and level[32, 72].min() == 255
    turned = crop(np.rot90(frame, -1), np.array([135.0, 128.0]), np.pi / 2, 64.0)
    assert turned[32, 24].max() == 0 and turned[32, 72].min() == 255


def test_mouth_tracks_of_the_truth() -> None:
    mouth = np.zeros((2, 13), np.float32)
    mouth[1, :3] = (0.5, 0.2, 0.3)
    mouth[1, 7] = 0.4
    assert true_mouth_tracks(mouth)[1] == pytest.approx([0.5, 0.5, 0.4])


@pytest.mark.slow
def test_learns_a_puppet(tmp_path: Path) -> None:
    clips = [load_clip(write_clip(tmp_path, "000", "train"))]
    mouth_metric = train_mouth_metric(clips, steps=60)
    wide = np.linspace(0, 1, 30)[np.random.default_rng(1).permutation(30)]
    frames = np.stack([paint(float(value)) for value in wide])
    pose = pose_of(
        np.tile(to_window(portrait().eyes_xy), (30, 1)),
        np.tile(to_window(portrait().mouth_xy) + 2, (30, 1)),
    )
    tracks = track_mouth(mouth_metric, frames, pose)
    assert tracks.shape == (30, 3)
    assert correlation(tracks[:, 0], wide) > 0.9


def test_a_file_gives_the_same_network(tmp_path: Path) -> None:
    torch.manual_seed(3)
    mouth_metric, path = MouthMetric().eval(), tmp_path / "ruler.pt"
    save_mouth_metric(mouth_metric, path, ["000", "001"])
    again, names = load_mouth_metric(path)
    picture = torch.rand(2, 3, *SIZE)
    assert torch.equal(mouth_metric(picture), again(picture))
    assert names == ["000", "001"]


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError) as caught:
        load_mouth_metric(tmp_path / "none.pt")
    assert caught.value.code == "missing_weights"
    (tmp_path / "noise.pt").write_bytes(b"noise")
    with pytest.raises(WeightsError) as caught:
        load_mouth_metric(tmp_path / "noise.pt")
    assert caught.value.code == "bad_weights"
