"""What the SD 1.5 models take from a portrait: landmarks, masks, face tokens, face embedding."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from models.errors import PortraitError
from models.face.insightface import DETECTOR, InsightFaceEmbedder
from models.face.portrait import find_face, find_person, report_on
from models.face.report import PortraitReport
from models.io.console import warn
from models.io.face_box import FaceBox, part_in_box
from models.io.image import check_picture
from models.lightning.dfa import token_indices

FOLDERS = ("face_analysis/models", "misc/face_analysis/models")
BOX_MARGIN = 0.5  # of a box's sides, all around it
FACE_RATIO = 1.2  # by which the rectangle around the face is larger than its oval
Pixels = NDArray[np.uint8]


class FaceEmbedder(Protocol):
    """A face recognition network."""

    def embed(self, picture: Pixels) -> NDArray[np.float32]:
        """RGB uint8 [H, W, 3] -> float32 [D]."""
        ...


class NoFaceEmbedder:
    """Zeros, which the published code gives the models for a face that was not found."""

    def __init__(self, size: int) -> None:
        self.size = size

    def embed(self, _: Pixels) -> NDArray[np.float32]:
        """Zeros [D]."""
        return np.zeros(self.size, np.float32)


def load_face_embedder(folder: Path | None, size: int, *, small: bool) -> FaceEmbedder:
    """The publisher's networks, or zeros where there can be none.

    Args:
        folder: the publisher's; None with random weights.
        size: of an embedding.
        small: the folder holds networks of other sizes than the published ones, whose files need
            not be there.

    Raises:
        WeightsError: a file of a published folder is missing or damaged.
    """
    if folder is not None:
        folders = [folder / name for name in FOLDERS]
        complete = next((each for each in folders if (each / DETECTOR).is_file()), None)
        if complete is not None or not small:
            present = next((each for each in folders if each.is_dir()), folders[0])
            return InsightFaceEmbedder(complete or present)
    warn("no face embedding: these weights come without face networks, likeness is not kept")
    return NoFaceEmbedder(size)


def part_around(picture: Pixels, box: FaceBox | None) -> Pixels:
    """What these models show of RGB uint8 [H, W, 3]: all of it, or what is around a box.

    Raises:
        PortraitError: the box lies beside the picture.
    """
    return picture if box is None else part_in_box(picture, box, BOX_MARGIN)


def detect_landmarks(picture: Pixels) -> NDArray[np.float32]:
    """Landmarks [468, 2] in pixels of a face in RGB uint8 [H, W, 3]: of several the largest.

    Raises:
        PortraitError: there is no face, or it is too small or turned.
    """
    check_picture(picture)
    return find_face(picture).points[:, :2]


def report_of_picture(
    picture: Pixels, box: FaceBox | None, *, aspect: float = 1.0
) -> PortraitReport | None:
    """What is found in RGB uint8 [H, W, 3]; None where another detector alone sees a face to take.

    Args:
        box: around the person who was chosen.
        aspect: width over height of what is pressed into a square.
    """
    try:
        return report_on(picture, find_person(picture, box), aspect=aspect)
    except PortraitError:
        return None


def face_tokens_of_mask(mask: Pixels, size: tuple[int, int]) -> Tensor:
    """Face tokens [1, K] of a mask [H, W], 0 or 255, on latents of a size (height, width).

    No token is listed twice: light steps take keys and values of these tokens alone, where one
    that stands twice would weigh twice.
    """
    small = cv2.resize(mask, size[::-1], interpolation=cv2.INTER_AREA)
    return token_indices(torch.from_numpy(np.asarray(small, np.float32) / 255), multiple=1)


def rectangle(points: NDArray[np.floating], shape: tuple[int, int], ratio: float) -> Pixels:
    """A filled rectangle [H, W], 0 or 255, around points [N, 2], grown by ``ratio``."""
    rounded = np.round(points).astype(int)
    sides = []
    for low, high, limit in zip(rounded.min(0), rounded.max(0), shape[::-1], strict=True):
        middle, half = (high + low) // 2, (high - low) * ratio // 2
        begin, end = middle - half, middle + half
        if begin < 0:
            begin, end = 0, end - begin
        if end > limit:
            begin, end = begin - (end - limit), limit
        sides.append((round(begin), round(end)))
    (left, right), (top, bottom) = sides
    mask: Pixels = np.zeros(shape, np.uint8)
    mask[max(top, 0) : bottom, max(left, 0) : right] = 255
    return mask


def resized(picture: Pixels, side: int) -> Pixels:
    """To a square, bilinear and antialiased; the aspect is not kept (as published)."""
    image = Image.fromarray(picture).resize((side, side), Image.Resampling.BILINEAR)
    return np.array(image, np.uint8)
