"""How sharp a video is, by the energy of its finest edges: the mouth, and all but the mouth."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from models.evaluation.eval_clip import WHOLE_EVERY, GeneratedVideo
from models.face.geometry import Similarity

Picture = NDArray[np.uint8]
Floats = NDArray[np.float32]
Boxes = NDArray[np.intp]

BLUR = 0.7
"""Pixels; scale of the Laplacian."""


def edge_energy(picture: Picture) -> Floats:
    """Squared Laplacian of the luma at one scale, [H, W], of RGB uint8 [H, W, 3]."""
    luma = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32)
    edges = cv2.Laplacian(cv2.GaussianBlur(luma, (0, 0), BLUR), cv2.CV_32F)
    return np.asarray(edges * edges, np.float32)


def mouth_energy(windows: NDArray[np.uint8], boxes: Boxes) -> float:
    """Edge energy within the mouth boxes [T, 4] of face windows [T, H, W, 3], summed over T of the
    boxes' means."""
    return sum(
        float(edge_energy(window)[top:bottom, left:right].mean())
        for window, (left, top, right, bottom) in zip(windows, boxes, strict=True)
    )


def rest_of_frame(
    box: NDArray[np.integer], to_window: Similarity, shape: tuple[int, int]
) -> Floats:
    """1 in a frame [H, W] but for the mouth's box of its face window, where it is 0."""
    left, top, right, bottom = (int(edge) for edge in box)
    corners = np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.float64)
    rest = np.ones(shape, np.float32)
    inside = to_window.inverse().apply(corners)
    cv2.fillConvexPoly(rest, np.round(inside).astype(np.int32), (0.0,))
    return rest


def sharpness_against_portrait(
    video: GeneratedVideo, portrait: Picture | None, boxes: Boxes
) -> dict[str, float]:
    """Edge energy of whole frames as a share of the portrait's, percent; NaN without a portrait.

    Args:
        portrait: as the frames show it, RGB uint8 [H, W, 3].
        boxes: around the mouth in every face window, [T, 4].

    Returns:
        ``sharpness_rest_percent``: of all but the mouth's box; ``sharpness_frame_percent``: of the
        whole frame, its moving mouth included.
    """
    shown, still = np.zeros(2), np.zeros(2)
    if portrait is not None:
        before = edge_energy(portrait)
        for whole, box in zip(video.whole, boxes[::WHOLE_EVERY], strict=True):
            rest = rest_of_frame(box, video.to_window, portrait.shape[:2])
            now = edge_energy(whole)
            shown += (now * rest).sum(), now.sum()
            still += (before * rest).sum(), before.sum()
    rest_of, frame_of = 100 * shown / np.where(still > 0, still, np.nan)
    return {"sharpness_rest_percent": float(rest_of), "sharpness_frame_percent": float(frame_of)}
