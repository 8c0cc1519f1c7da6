"""InsightFace's detector and face embedding, run from the publisher's files by ONNX Runtime.

The two files are not free to distribute: what is here follows their documented inputs and outputs
(detector: for strides 8, 16 and 32, two anchors a cell, scores, distances to the sides of the box
and to five points, in strides; embedding: a face of 112 x 112 with the five points at fixed
positions). Tests run it on small networks of the same form.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from models.errors import WeightsError

DETECTOR, RECOGNISER = "scrfd_10g_bnkps.onnx", "glintr100.onnx"
SIDE = 640  # of the square that the detector sees
STRIDES = (8, 16, 32)
ANCHORS_PER_CELL = 2
MIN_SCORE, MAX_OVERLAP = 0.5, 0.4
ALIGNED_SIDE = 112
ALIGNED_POINTS = np.array(
    [
        [38.2946, 51.6963],
        [73.5318, 51.5014],
        [56.0252, 71.7366],
        [41.5493, 92.3655],
        [70.7299, 92.2041],
    ]
)
"""Eyes, nose and corners of the mouth in an aligned face, pixels."""
Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class FaceDetection:
    """A face: box [4] (left, top, right, bottom), score, and five points [5, 2], in pixels."""

    box: NDArray[np.float32]
    score: float
    points: NDArray[np.float32]


class InsightFaceEmbedder:
    """Computes the ArcFace embedding of a portrait.

    Args:
        folder: holds both files.

    Raises:
        WeightsError: a file is missing or no ONNX network.
    """

    def __init__(self, folder: Path) -> None:
        self.detector = _session(folder / DETECTOR)
        self.recogniser = _session(folder / RECOGNISER)

    def embed(self, picture: Pixels) -> NDArray[np.float32]:
        """RGB uint8 [H, W, 3] -> the largest face's embedding, not normalised; zeros without a
        face (both as published)."""
        faces = self.detect(picture)
        if not faces:
            size = self.recogniser.get_outputs()[0].shape[-1]
            return np.zeros(int(size), np.float32)
        face = max(faces, key=lambda found: float(np.prod(found.box[2:] - found.box[:2])))
        aligned = align(picture, face.points)
        return _run(self.recogniser, aligned, 127.5, 127.5)[0].reshape(-1)

    def detect(self, picture: Pixels) -> list[FaceDetection]:
        """Faces in RGB uint8 [H, W, 3], by descending score."""
        scale = SIDE / max(picture.shape[:2])
        height, width = (max(1, int(side * scale)) for side in picture.shape[:2])
        canvas = np.zeros((SIDE, SIDE, 3), np.uint8)
        canvas[:height, :width] = cv2.resize(picture, (width, height))
        outputs = _run(self.detector, canvas, 127.5, 128.0)
        return [
            FaceDetection(face.box / scale, face.score, face.points / scale)
            for face in decode_detections(outputs)
        ]


def decode_detections(outputs: list[NDArray[np.float32]]) -> list[FaceDetection]:
    """The detector's nine outputs (scores, boxes, points of each stride) -> faces in its input."""
    found = []
    count = len(STRIDES)
    for k, stride in enumerate(STRIDES):
        scores = outputs[k].reshape(-1)
        boxes = outputs[k + count].reshape(-1, 4) * stride
        points = outputs[k + 2 * count].reshape(-1, 5, 2) * stride
        side = SIDE // stride
        y, x = np.divmod(np.arange(side * side), side)
        origins = (np.stack([x, y], 1) * stride).astype(np.float32)
        centres = np.repeat(origins, ANCHORS_PER_CELL, axis=0)
        for row in np.flatnonzero(scores >= MIN_SCORE):
            at, box = centres[row], boxes[row]
            corners = np.concatenate([at - box[:2], at + box[2:]])
            found.append(FaceDetection(corners, float(scores[row]), at + points[row]))
    return _distinct(found)


def align(picture: Pixels, points: NDArray[np.floating]) -> Pixels:
    """The face with its five points where ``ALIGNED_POINTS`` has them, [112, 112, 3].

    The similarity z -> a z + b that fits best in least squares, points as complex numbers.
    """
    source, target = (
        p[:, 0] + 1j * p[:, 1] for p in (np.asarray(points, np.float64), ALIGNED_POINTS)
    )
    centred = source - source.mean()
    a = np.vdot(centred, target - target.mean()) / np.vdot(centred, centred)
    b = target.mean() - a * source.mean()
    matrix = np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])
    return np.asarray(cv2.warpAffine(picture, matrix, (ALIGNED_SIDE, ALIGNED_SIDE)), np.uint8)


def _distinct(faces: list[FaceDetection]) -> list[FaceDetection]:
    """Non-maximum suppression: drop boxes that overlap one of a higher score."""
    distinct: list[FaceDetection] = []
    for face in sorted(faces, key=lambda found: found.score, reverse=True):
        if all(_overlap(face.box, other.box) <= MAX_OVERLAP for other in distinct):
            distinct.append(face)
    return distinct


def _overlap(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    near, far = np.maximum(one[:2], other[:2]), np.minimum(one[2:], other[2:])
    common = float(np.prod(np.maximum(far - near, 0)))
    union = sum(float(np.prod(box[2:] - box[:2])) for box in (one, other)) - common
    return common / max(union, 1e-6)


def _run(
    session: ort.InferenceSession, picture: Pixels, mean: float, deviation: float
) -> list[NDArray[np.float32]]:
    normalised = (picture.astype(np.float32) - np.float32(mean)) / np.float32(deviation)
    inputs = {session.get_inputs()[0].name: normalised.transpose(2, 0, 1)[None]}
    return [np.asarray(output) for output in session.run(None, inputs)]


def _session(path: Path) -> ort.InferenceSession:
    if not path.is_file():
        raise WeightsError(
            f"expected {path.name} in {path.parent}, found none; put the publisher's files there"
            " (docs/published-weights.md), nothing is downloaded",
            code="missing_weights",
        )
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    try:
        return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's own errors share no public base
        raise WeightsError(
            f"{path} is truncated or no ONNX network ({str(error).splitlines()[0]}); copy it again",
            code="bad_weights",
        ) from error
