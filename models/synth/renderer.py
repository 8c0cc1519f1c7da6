"""Draws a person: frames the head, turns it, and says where mouth and eyes are."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from models.mini.motion import MOTION
from models.synth.appearance import Look
from models.synth.assets import Assets
from models.synth.baking import mottle
from models.synth.camera import Matrix, look_at, ortho, perspective, rotation
from models.synth.character import COLLAR, Figure
from models.synth.character_builder import Wardrobe
from models.synth.gl_renderer import Scene, Stage
from models.synth.lighting import Light, read_light
from models.synth.mesh import Floats
from models.synth.occlusion import openness

FACE_SHARE = 0.455
"""Height from chin to brows, as a share of the picture's height."""
_FIELD = 0.26
_HEAD_ROOM = 0.035
_MOST_HEAD = 0.90
_COLOURS = ("skin", "lips", "hair", "iris", "cloth")
_AMOUNTS = ("lashes", "seed", "blush", "stubble")


@dataclass(frozen=True)
class Frame:
    """One picture.

    Attributes:
        rgb: uint8 [S, S, 3]; mask: cover of the figure, uint8 [S / 4, S / 4].
        mouth: centre of the mouth, pixels (x, y).
        eyes: centres of the picture's left and right eye, pixels (x, y, x, y).
    """

    rgb: NDArray[np.uint8]
    mask: NDArray[np.uint8]
    mouth: Floats
    eyes: Floats


class Renderer:
    """Makes models that draw themselves, all of one picture size.

    Raises:
        RuntimeError: no OpenGL 3.3 context without a screen (EGL) can be made.
    """

    def __init__(self, assets: Assets, size: int = 256) -> None:
        self._assets = assets
        self._wardrobe = Wardrobe(assets)
        self._stage = Stage(assets.textures, size)

    def model(self, look: Look) -> Model:
        """Build, light and frame the person of a look."""
        figure = self._wardrobe.dress(look.person, look.outfit)
        path = self._assets.lights / look.environment
        light, background = read_light(path, look.turn, look.blur, self._stage.size)
        return Model(self._stage, figure, look, light, background)


class Model:
    """One person on the stage, with a static camera, light and background."""

    def __init__(
        self, stage: Stage, figure: Figure, look: Look, light: Light, background: Floats
    ) -> None:
        self.figure = figure
        self.look = look
        self._stage = stage
        self._background = background
        self._camera, self._view = self._frame_head()
        self._fixed = self._fixed_uniforms(light)
        still = [
            figure.rest,
            figure.texture,
            openness(figure)[:, None],
            mottle(stage.noise, figure.rest, look.seed),
        ]
        self._scene = Scene(stage, figure, np.concatenate(still, 1))

    def release(self) -> None:
        """Free its buffers; the model cannot be drawn any more."""
        self._scene.release()

    def frame(self, mouth: Floats, motion: Floats) -> Frame:
        """Draw one row of each track: mouth [13], motion [7]."""
        figure, marks = self.figure, self.figure.landmarks
        value = dict(zip(MOTION, motion.tolist(), strict=True))
        turn = rotation(value["yaw"], value["pitch"], value["roll"])
        points = figure.posed(mouth, motion)
        turned = (points - marks.neck) @ turn.T + marks.neck
        points = (points + (turned - points) * figure.turns[:, None]).astype(np.float32)
        eyes = [turn @ (eye - marks.neck) + marks.neck for eye in marks.eyes]
        gaze = (turn @ rotation(value["gaze_yaw"], value["gaze_pitch"], 0.0))[:, 2]
        moving = {
            "eye_right": eyes[0],
            "eye_left": eyes[1],
            "gaze_right": gaze,
            "gaze_left": gaze,
        }
        uniforms = {**self._fixed, **moving}
        normals = figure.normals(points)
        raw = self._stage.draw(self._scene, points, normals, uniforms).astype(np.float32) / 255.0
        cover = raw[..., 3]
        rgb = raw[..., :3] + (1.0 - raw[..., 3:]) * self._background
        quarter = (self._stage.size // 4,) * 2
        mask = np.asarray(cv2.resize(cover, quarter, interpolation=cv2.INTER_AREA))
        return Frame(
            rgb=(np.clip(rgb, 0, 1) * 255 + 0.5).astype(np.uint8),
            mask=(mask * 255 + 0.5).astype(np.uint8),
            mouth=self._project(points[figure.mouth_points]).mean(0),
            eyes=self._project(np.stack(eyes)).reshape(4),
        )

    def _frame_head(self) -> tuple[Matrix, Matrix]:
        """Camera position [3] and view matrix: face of fixed height, crown just inside."""
        marks, look = self.figure.landmarks, self.look
        chin = float(marks.chin[1])
        height = (marks.brow_height - chin) / FACE_SHARE
        top = marks.crown_height + _HEAD_ROOM * height
        height = max(height, (top - chin) / _MOST_HEAD)
        across, up = look.shift
        target = np.array([-across * height, top - height / 2.0 - up * height, marks.eyes[0][2]])
        away = height / 2.0 / math.tan(_FIELD / 2.0)
        turn = rotation(look.camera_yaw, look.camera_pitch, 0.0)
        camera = target + turn @ np.array([0.0, 0.0, away])
        return camera, perspective(_FIELD, 2.0, 40.0) @ look_at(camera, target)

    def _fixed_uniforms(self, light: Light) -> dict[str, Any]:
        marks = self.figure.landmarks
        eye, mouth = marks.eyes[1], marks.mouth
        lamp = mouth + 7.0 * np.asarray(light.key_dir)
        return {
            "view": self._view,
            "lamp": ortho(2.4, 0.1, 14.0) @ look_at(lamp, mouth),
            "camera": self._camera,
            **{field.name: getattr(light, field.name) for field in fields(light)},
            **{name: getattr(self.look, name) for name in (*_COLOURS, *_AMOUNTS)},
            "mouth_at": mouth,
            "cheek_at": (1.25 * eye[0], 0.55 * mouth[1] + 0.45 * eye[1], eye[2]),
            "collar": (marks.neck[1] + COLLAR[0], COLLAR[1], marks.neck[2]),
        }

    def _project(self, points: NDArray[np.floating[Any]]) -> Floats:
        """Pixels (x, y) [K, 2] of points [K, 3]."""
        whole = np.concatenate([points, np.ones((len(points), 1))], 1) @ self._view.T
        flat = whole[:, :2] / whole[:, 3:]
        pixels = (0.5 + flat * np.array([0.5, -0.5])) * self._stage.size
        out: Floats = pixels.astype(np.float32)
        return out
