"""Pictures of a clip on disk, each compressed by itself, so that any can be read at random."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

QUALITY = 96
_OPTIONS = [
    cv2.IMWRITE_JPEG_QUALITY,
    QUALITY,
    cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
    cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
]


class Frames:
    """RGB pictures uint8 [T, H, W, 3] that are decoded when they are read.

    Raises:
        OSError, ValueError, KeyError: the file is missing or another one.
    """

    def __init__(self, path: Path) -> None:
        with np.load(path) as archive:
            self._data, ends = archive["data"], archive["ends"]
            self.shape: tuple[int, ...] = (len(ends), *archive["shape"].tolist())
        self._starts = np.concatenate([[0], ends]).astype(np.int64)
        if self._data.dtype != np.uint8 or len(self._data) != self._starts[-1]:
            raise ValueError(f"{path} is damaged")

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, k: int) -> NDArray[np.uint8]:
        """Picture k, RGB uint8 [H, W, 3]."""
        if not -len(self) <= k < len(self):
            raise IndexError(k)
        k %= len(self)
        coded = self._data[self._starts[k] : self._starts[k + 1]]
        picture = cv2.imdecode(coded, cv2.IMREAD_COLOR_RGB)
        if picture is None or picture.shape != self.shape[1:]:
            raise ValueError(f"picture {k} is damaged")
        return np.asarray(picture, np.uint8)


def write_frames(path: Path, pictures: Iterable[NDArray[np.uint8]]) -> int:
    """Write RGB pictures uint8 [H, W, 3]; returns how many there were."""
    coded, shape = [], (0, 0, 3)
    for picture in pictures:
        shape = picture.shape
        done, data = cv2.imencode(".jpg", picture[..., ::-1], _OPTIONS)
        assert done
        coded.append(data)
    ends = np.cumsum([len(data) for data in coded])
    with path.open("wb") as file:
        np.savez(file, data=np.concatenate(coded), ends=ends, shape=np.array(shape))
    return len(coded)
