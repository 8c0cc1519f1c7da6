"""EchoMimic's face detector, and the crop and face mask that its box gives.

The mask is the box grown by a tenth, the crop the box grown by half and made square; both are
resized together. Integer arithmetic is that of the published preparation, except that a mask that
reaches beyond the picture's upper or left edge ends there: the published code counts negative
indices from the other end, which empties the mask.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.echomimic.mtcnn import FILES, Mtcnn
from models.face.landmarks import FACE_OVAL
from models.io.console import warn
from models.io.image import check_picture
from models.sd15.preprocess import detect_landmarks

MTCNN = "mtcnn"
"""Where MTCNN's files lie in a folder of weights."""
MASK_GROWTH, CROP_GROWTH = 0.1, 0.5
Pixels = NDArray[np.uint8]
Box = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels."""


class EchoMimicPortrait(NamedTuple):
    """What EchoMimic needs of a portrait.

    Attributes:
        pixels: RGB [3, S, S] from -1 to 1.
        mask: [1, S, S], 0 to 1.
    """

    pixels: Tensor
    mask: Tensor


def prepare_echomimic_portrait(
    picture: Pixels, box: NDArray[np.floating], size: int
) -> EchoMimicPortrait:
    """RGB uint8 [H, W, 3] and the face's box [4] in pixels -> what EchoMimic needs at ``size``."""
    left, top, right, bottom = square_of(crop_of(box, picture.shape[:2]))
    mask = mask_of(box, picture.shape[:2])[top:bottom, left:right]
    crop = picture[top:bottom, left:right]
    soft = np.asarray(cv2.resize(mask, (size, size)), np.float32) / 255
    small = np.asarray(cv2.resize(crop, (size, size)), np.float32)
    pixels = torch.from_numpy(small).permute(2, 0, 1) / 127.5 - 1
    return EchoMimicPortrait(pixels, torch.from_numpy(soft)[None])


def rounded(box: NDArray[np.floating]) -> Box:
    """A box in whole pixels."""
    left, top, right, bottom = (int(value) for value in np.round(box))
    return left, top, right, bottom


def mask_of(
    box: NDArray[np.floating],
    shape: tuple[int, int],
    *,
    growth: float = MASK_GROWTH,
    as_published: bool = False,
) -> Pixels:
    """The mask [H, W], 0 or 255; ``as_published`` with negative indices from the other end."""
    left, top, right, bottom = rounded(box)
    across, down = int(growth * (right - left)), int(growth * (bottom - top))
    begin = (top - down, left - across)
    if not as_published:
        begin = (max(0, begin[0]), max(0, begin[1]))
    mask: Pixels = np.zeros(shape, np.uint8)
    mask[begin[0] : bottom + down, begin[1] : right + across] = 255
    return mask


def crop_of(
    box: NDArray[np.floating], shape: tuple[int, int], *, growth: float = CROP_GROWTH
) -> Box:
    """The box grown on every side, within the picture."""
    left, top, right, bottom = rounded(box)
    across, down = int(growth * (right - left)), int(growth * (bottom - top))
    height, width = shape
    return (
        max(0, left - across),
        max(0, top - down),
        min(width, right + across),
        min(height, bottom + down),
    )


def square_of(crop: Box) -> Box:
    """The largest square of a crop, around its middle."""
    left, top, right, bottom = crop
    side = min(right - left, bottom - top)
    spans = []
    for low, high in ((left, right), (top, bottom)):
        begin = max(low, (low + high) // 2 - side // 2)
        spans.append((begin, min(high, begin + side)))
    side = min(end - begin for begin, end in spans)
    (x, _), (y, _) = spans
    return x, y, x + side, y + side


def box_of(points: NDArray[np.floating]) -> NDArray[np.float64]:
    """The box of the face's oval: left, top, right, bottom."""
    oval = points[list(FACE_OVAL)]
    return np.concatenate([oval.min(0), oval.max(0)]).astype(np.float64)


class FaceDetector:
    """The box that EchoMimic crops a face by.

    Args:
        mtcnn: the published detector; without it the box is the bundled landmarks' oval.
    """

    def __init__(self, mtcnn: Mtcnn | None = None) -> None:
        self.mtcnn = mtcnn

    def detect(self, picture: Pixels) -> NDArray[np.floating]:
        """RGB uint8 [H, W, 3] -> left, top, right, bottom of the face [4] in pixels.

        MTCNN's largest sure face counts, as published: several faces, or one turned aside, are no
        reason to refuse. Where it is sure of none, the published code masks the whole picture and
        does not crop it, which works only if the picture already has the model's size. Here the
        bundled detector then looks, and a warning says so.

        Raises:
            PortraitError: the picture cannot be used; for its faces only where the bundled
                detector looks: there is none, or it is too small or turned.
        """
        check_picture(picture)
        if self.mtcnn is not None:
            found = self.mtcnn.largest(picture)
            if found is not None:
                return found
            warn("MTCNN is sure of no face in this picture; the bundled detector frames it")
        return box_of(detect_landmarks(picture))


def load_face_detector(folder: Path | None) -> FaceDetector:
    """MTCNN where its three files lie in ``folder/mtcnn``, else the bundled detector.

    They come from another publisher than EchoMimic's, and without them a portrait speaks all the
    same: on the bundled avatars and a photograph, edges of the crop move by up to 8 % of its side.
    Their absence is therefore no error but a warning, once, that says what to do. A folder that
    holds only some of them is an error: somebody meant to use them.

    Args:
        folder: the publisher's; None with random weights, whose picture is noise in any frame.

    Raises:
        WeightsError: a file of MTCNN is missing while its folder exists, damaged or foreign.
    """
    if folder is None:
        return FaceDetector()
    if (folder / MTCNN).exists():
        return FaceDetector(Mtcnn(folder / MTCNN))
    warn(
        f"no MTCNN in {folder / MTCNN}: the bundled detector frames faces, a little differently"
        f" than published; for the published frame put {', '.join(FILES)} there"
        " (docs/published-weights.md)"
    )
    return FaceDetector()
