"""Distance between faces: dlib's recognition network, from the extra ``identity``."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from models.errors import LiveheadError

_CHIP = 150
_MIDDLE, _SIDE = (128.0, 104.0), 216.0
"""The part of a face window that the network sees, pixels."""


class IdentityEmbedder:
    """Face windows -> vectors; people differ by more than about 0.6.

    Raises:
        LiveheadError: ``missing_extra``: its packages are not installed.
    """

    def __init__(self) -> None:
        spec = find_spec("face_recognition_models")
        if spec is None or spec.origin is None or find_spec("dlib") is None:
            raise LiveheadError(
                "identity needs dlib and face_recognition_models;"
                " install the extra: pip install 'livehead[identity]'",
                code="missing_extra",
            )
        dlib = import_module("dlib")  # dlib-bin, which no lock holds
        path = Path(spec.origin).parent / "models" / "dlib_face_recognition_resnet_model_v1.dat"
        self._network = dlib.face_recognition_model_v1(str(path))

    def embed(self, window: NDArray[np.uint8]) -> NDArray[np.float64]:
        """RGB uint8 [256, 256, 3] -> [128]."""
        scale = _CHIP / _SIDE
        shift = [_CHIP / 2 - scale * middle for middle in _MIDDLE]
        matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
        chip = cv2.warpAffine(window, matrix, (_CHIP, _CHIP), flags=cv2.INTER_AREA)
        return np.array(self._network.compute_face_descriptor(np.ascontiguousarray(chip)))


def distance(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Euclidean distance of two vectors."""
    return float(np.linalg.norm(one - other))
