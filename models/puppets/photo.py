"""Reads a portrait for a puppet: its face with the pose against the template."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.face.geometry import fit_similarity
from models.face.landmarks import Landmarks
from models.face.texture import FaceTexture, Floats, read_texture


@dataclass(frozen=True)
class Photo(FaceTexture):
    """A portrait's face and its pose.

    Attributes:
        scale, turn, shift: template point p lies at scale * turn @ p + shift in the crop.
    """

    scale: float
    turn: Floats
    shift: Floats

    def place(self, points: Floats) -> Floats:
        """Template points [..., 3] in the crop."""
        return self.scale * points @ self.turn.T + self.shift


def read_photo(picture: NDArray[np.uint8], landmarks: Landmarks, template_marks: Floats) -> Photo:
    """Cut out the face of a portrait.

    Args:
        picture: RGB uint8 [H, W, 3].
        landmarks: of the face in it, as steady as they can be.
        template_marks: landmarks of the template [468, 3], millimetres.
    """
    face = read_texture(picture, landmarks)
    pose = fit_similarity(template_marks, face.marks)
    return Photo(face.texture, face.marks, face.to_crop, *pose)
