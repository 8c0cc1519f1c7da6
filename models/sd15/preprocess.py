"""What published models look at in a portrait: landmarks, box, foreground and face vector."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.echomimic.mtcnn import FILES, Mtcnn
from models.face.insightface import DETECTOR, InsightFaceEmbedder
from models.face.landmarks import FACE_OVAL
from models.face.portrait import find_face
from models.io.console import warn
from models.io.image import check_picture
from models.lightning.dfa import token_indices

MTCNN = "mtcnn"
"""Where MTCNN's files lie in a folder of weights."""
FOLDERS = ("face_analysis/models", "misc/face_analysis/models")
Pixels = NDArray[np.uint8]


class FaceEmbedder(Protocol):
    """Gives face vectors."""

    def vector(self, picture: Pixels) -> NDArray[np.float32]:
        """RGB uint8 [H, W, 3] -> float32 [D]."""
        ...


class NoFaceEmbedder:
    """Zeros, which published models take for a face that was not found."""

    def __init__(self, size: int) -> None:
        self.size = size

    def vector(self, _: Pixels) -> NDArray[np.float32]:
        """Zeros [D]."""
        return np.zeros(self.size, np.float32)


def load_face_embedder(folder: Path | None, size: int, *, small: bool) -> FaceEmbedder:
    """The publisher's networks, or zeros where there can be none.

    Args:
        folder: the publisher's; None with random weights.
        size: of a vector.
        small: the folder holds networks of other sizes than the published ones, whose files need
            not be there.

    Raises:
        WeightsError: a file of a published folder is missing or damaged.
    """
    if folder is not None:
        rooms = [folder / name for name in FOLDERS]
        room = next((room for room in rooms if (room / DETECTOR).is_file()), None)
        if room is not None or not small:
            return InsightFaceEmbedder(room or next((r for r in rooms if r.is_dir()), rooms[0]))
    warn("no face vectors: these weights come without face networks, likeness is not kept")
    return NoFaceEmbedder(size)


class FaceDetector:
    """The box that EchoMimic crops a face by.

    Args:
        mtcnn: the published detector; without it the box is the bundled landmarks' oval.
    """

    def __init__(self, mtcnn: Mtcnn | None = None) -> None:
        self.mtcnn = mtcnn

    def box(self, picture: Pixels) -> NDArray[np.floating]:
        """RGB uint8 [H, W, 3] -> left, top, right, bottom of the face [4] in pixels.

        MTCNN's largest sure face counts, as published: several faces, or one turned aside, are no
        reason to refuse. Where it is sure of none, the published code masks the whole picture and
        does not crop it, which works only if the picture already has the model's size. Here the
        bundled detector then looks, and a warning says so.

        Raises:
            PortraitError: the picture cannot be used; for its faces only where the bundled
                detector looks: there is none, there are several, or it is too small or turned.
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


def detect_landmarks(picture: Pixels) -> NDArray[np.float32]:
    """Landmarks [468, 2] in pixels of the one face in RGB uint8 [H, W, 3].

    Raises:
        PortraitError: there is no face, there are several, or it is too small or turned.
    """
    check_picture(picture)
    return find_face(picture).points[:, :2]


def box_of(points: NDArray[np.floating]) -> NDArray[np.float64]:
    """The box of the face's oval: left, top, right, bottom."""
    oval = points[list(FACE_OVAL)]
    return np.concatenate([oval.min(0), oval.max(0)]).astype(np.float64)


def face_tokens_of_mask(mask: Pixels, cells: tuple[int, int]) -> Tensor:
    """Face tokens [1, K] of a mask [H, W], 0 or 255, on a grid of cells (height, width).

    No token is listed twice: light steps take keys and values of these tokens alone, where one
    that stands twice would weigh twice.
    """
    small = cv2.resize(mask, cells[::-1], interpolation=cv2.INTER_AREA)
    return token_indices(torch.from_numpy(np.asarray(small, np.float32) / 255), multiple=1)
