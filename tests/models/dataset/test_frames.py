"""Tests the compressed pictures of a clip: close to the originals, in any order, checked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from models.dataset.frames import Frames, write_frames

pytestmark = pytest.mark.unit


def pictures(photo: NDArray[np.uint8], count: int) -> list[NDArray[np.uint8]]:
    """Different sections of a photograph, RGB uint8 [256, 256, 3]."""
    return [np.ascontiguousarray(photo[k : k + 256, 2 * k : 2 * k + 256]) for k in range(count)]


def psnr(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """Peak signal-to-noise ratio, dB."""
    error = float(((one.astype(float) - other.astype(float)) ** 2).mean())
    return float(10 * np.log10(255**2 / max(error, 1e-9)))


def test_pictures_survive(photo: NDArray[np.uint8], tmp_path: Path) -> None:
    original = pictures(photo, 5)
    assert write_frames(tmp_path / "video.npz", iter(original)) == 5
    frames = Frames(tmp_path / "video.npz")
    assert frames.shape == (5, 256, 256, 3)
    assert [psnr(frames[k], picture) > 38 for k, picture in enumerate(original)] == [True] * 5


def test_any_picture_can_be_read(photo: NDArray[np.uint8], tmp_path: Path) -> None:
    write_frames(tmp_path / "video.npz", pictures(photo, 5))
    frames = Frames(tmp_path / "video.npz")
    in_order = [frames[k] for k in range(5)]
    for k in (3, 0, 4, 3):
        np.testing.assert_array_equal(frames[k], in_order[k])
    np.testing.assert_array_equal(frames[-1], in_order[4])
    with pytest.raises(IndexError):
        frames[5]


def test_refuses_a_file_cut_short(photo: NDArray[np.uint8], tmp_path: Path) -> None:
    path = tmp_path / "video.npz"
    write_frames(path, pictures(photo, 2))
    with np.load(path) as archive:
        arrays = dict(archive)
    np.savez(path, **{**arrays, "data": arrays["data"][:-9]})
    with pytest.raises(ValueError, match=r"video\.npz is damaged"):
        Frames(path)


def test_names_a_damaged_picture(photo: NDArray[np.uint8], tmp_path: Path) -> None:
    path = tmp_path / "video.npz"
    write_frames(path, pictures(photo, 2))
    with np.load(path) as archive:
        arrays = dict(archive)
    arrays["data"][: arrays["ends"][0]] = 0
    np.savez(path, **arrays)
    frames = Frames(path)
    with pytest.raises(ValueError, match="picture 0 is damaged"):
        frames[0]
    assert frames[1].shape == (256, 256, 3)
