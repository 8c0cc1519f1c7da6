"""The four bundled networks for portraits, each loaded once per process."""

from __future__ import annotations

from enum import Enum
from functools import cache

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from models.weights.bundled import WEIGHTS, read_pinned

FOLDER = WEIGHTS / "portrait"


class Network(Enum):
    """A bundled file and its pinned SHA-256."""

    SHORT_RANGE = (
        "face_short_range.onnx",
        "8506262d6270aa611ef5ce56024f9f2f0c931befc41a9103222ce39f7f8eed44",
    )
    FULL_RANGE = (
        "face_full_range.onnx",
        "c7342a92a9fba04a778fed74f8a12b580b112952b0ee19ba73a0fab58d3eb4c1",
    )
    LANDMARKS = (
        "face_landmarks.onnx",
        "1f31d9dc2c24e6b85a617ef2df1af929645ea119a03144d2066a44ead1744f8c",
    )
    PERSON = (
        "person_mask.onnx",
        "da016304cc9f3117b98ac9473add6b57fdde1870ec6082f4ee75e3c31c513d15",
    )


def run_network(network: Network, picture: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """All outputs of a network for one picture, float32 [side, side, 3] in the network's range.

    Raises:
        WeightsError: the bundled file is missing or damaged.
    """
    session = _session(network)
    outputs = session.run(None, {session.get_inputs()[0].name: picture[None]})
    return [np.asarray(output)[0] for output in outputs]


@cache
def _session(network: Network) -> ort.InferenceSession:
    name, sha256 = network.value
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    return ort.InferenceSession(
        read_pinned(FOLDER / name, sha256), options, providers=["CPUExecutionProvider"]
    )
