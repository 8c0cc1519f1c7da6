"""Draws a figure with OpenGL on the processor, without a screen."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import moderngl
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates, zoom

from models.motion import MOTION
from models.training.synth.assets import Assets
from models.training.synth.figure import COLLAR, TRANSLUCENT, Figure, Material, Wardrobe
from models.training.synth.looks import Look, read_light
from models.training.synth.mesh import Floats
from models.training.synth.occlusion import openness

SUPERSAMPLE = 2
FACE_SHARE = 0.455
"""Height from chin to brows, as a share of the picture's height."""
_FIELD = 0.26
_HEAD_ROOM = 0.035
_SHADOW_SIZE = 640
_NOISE_SIZE = 64
_MASK_NAMES = (("lips", 1.2), ("ears", 4.0), ("eyelids", 4.0), ("inside-mouth", 2.0))


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
    """An OpenGL context with the shared programs and textures; ``model`` puts a person in it.

    Raises:
        RuntimeError: no OpenGL 3.3 context without a screen (EGL) can be made.
    """

    def __init__(self, assets: Assets, size: int = 256) -> None:
        self.size = size
        self._assets = assets
        self._wardrobe = Wardrobe(assets)
        self._pixels = size * SUPERSAMPLE
        context = open_context()
        self._context = context
        from models.training.synth import shading

        self._program = context.program(shading.VERTEX, shading.FRAGMENT)
        self._depth = context.program(shading.SHADOW_VERTEX, shading.SHADOW_FRAGMENT)
        self._noise_values = _noise()
        self._noise = self._noise_texture()
        self._masks = self._mask_texture(assets.textures)
        self._shadow = context.depth_texture((_SHADOW_SIZE, _SHADOW_SIZE))
        self._shadow.compare_func = "<="
        self._shadow_target = context.framebuffer(depth_attachment=self._shadow)
        shape = (self._pixels, self._pixels)
        self._target = context.framebuffer(
            [context.texture(shape, 4)], context.depth_renderbuffer(shape)
        )

    def model(self, look: Look) -> Model:
        """Build, light and frame the person of a look."""
        figure = self._wardrobe.dress(look.person, look.outfit)
        return Model(self, figure, look)

    def _noise_texture(self) -> moderngl.Texture3D:
        data = (self._noise_values * 255).astype(np.uint8).tobytes()
        texture = self._context.texture3d((_NOISE_SIZE,) * 3, 3, data)
        texture.repeat_x = texture.repeat_y = texture.repeat_z = True
        texture.filter = (moderngl.LINEAR, moderngl.LINEAR)
        return texture

    def _mask_texture(self, folder: Path) -> moderngl.Texture:
        layers = []
        for name, blur in _MASK_NAMES:
            path = str(folder / f"mpfb_{name}.jpg")
            picture = cv2.imread(path, cv2.IMREAD_GRAYSCALE)
            if picture is None:
                raise RuntimeError(f"{path}: expected a readable picture")
            small = cv2.resize(picture, (1024, 1024), interpolation=cv2.INTER_AREA)
            layers.append(gaussian_filter(small.astype(np.float32), blur))
        data = np.stack(layers, -1).astype(np.uint8)[::-1]
        texture = self._context.texture((1024, 1024), 4, data.tobytes())
        texture.filter = (moderngl.LINEAR, moderngl.LINEAR)
        return texture

    def mottle(self, rest: Floats, seed: float) -> Floats:
        """Slow to fine noise at each point, [N, 4], for uneven skin."""
        shift = seed * 7.0
        scales = ((0.5, 0), (0.8, 1), (2.1, 2), (9.0, 0))
        fields = [
            map_coordinates(
                self._noise_values[..., channel],
                ((rest * scale + shift) * _NOISE_SIZE / 10 % _NOISE_SIZE).T,
                order=1,
                mode="grid-wrap",
            )
            for scale, channel in scales
        ]
        return np.stack(fields, 1).astype(np.float32)

    def draw(self, model: Model, points: Floats, uniforms: dict[str, Any]) -> NDArray[np.uint8]:
        """Colour and cover, premultiplied, uint8 [S, S, 4]."""
        context = self._context
        normals = model.figure.normals(points)
        model.dynamic.write(np.concatenate([points, normals], 1).astype("f4").tobytes())
        context.enable_only(moderngl.DEPTH_TEST)
        context.depth_func = "<="
        self._shadow_target.use()
        context.viewport = (0, 0, _SHADOW_SIZE, _SHADOW_SIZE)
        self._shadow_target.clear(depth=1.0)
        self._depth["view"].write(model.lamp.T.astype("f4").tobytes())
        model.casters.render()
        self._target.use()
        context.viewport = (0, 0, self._pixels, self._pixels)
        self._target.clear(0.0, 0.0, 0.0, 0.0, depth=1.0)
        self._depth["view"].write(model.view.T.astype("f4").tobytes())
        self._target.color_mask = (False, False, False, False)
        model.outline.render()
        self._target.color_mask = (True, True, True, True)
        for unit, texture in enumerate((self._noise, self._masks, self._shadow)):
            texture.use(unit)
        self._set(uniforms)
        self._program["layer"] = 0
        model.solid.render()
        context.enable(moderngl.BLEND)
        context.blend_func = (
            moderngl.SRC_ALPHA,
            moderngl.ONE_MINUS_SRC_ALPHA,
            moderngl.ZERO,
            moderngl.ONE,
        )
        self._program["layer"] = 1
        model.sheer.render()
        context.disable(moderngl.BLEND)
        data = np.frombuffer(self._target.read(components=4), np.uint8)
        picture = data.reshape(self._pixels, self._pixels, 4)[::-1]
        return cv2.resize(picture, (self.size, self.size), interpolation=cv2.INTER_AREA)

    def _set(self, uniforms: dict[str, Any]) -> None:
        for name, value in {"noise": 0, "masks": 1, "shadow": 2, **uniforms}.items():
            if name not in self._program:
                continue
            if isinstance(value, np.ndarray) and value.ndim == 2:
                self._program[name].write(value.T.astype("f4").tobytes())
            else:
                self._program[name] = tuple(value) if np.ndim(value) else value


class Model:
    """One person in the renderer, with a static camera, light and background."""

    def __init__(self, renderer: Renderer, figure: Figure, look: Look) -> None:
        self._renderer = renderer
        self.figure = figure
        self.look = look
        self.light, self.background = read_light(
            renderer._assets.lights / look.environment, look.turn, look.blur, renderer.size
        )
        self.camera, self.view = self._frame_head()
        centre = figure.landmarks.mouth
        self.lamp = _ortho(2.4, 0.1, 14.0) @ _look_at(
            centre + 7.0 * np.asarray(look.light.key_dir), centre
        )
        self._upload()

    def _upload(self) -> None:
        figure, context = self.figure, self._renderer._context
        mottle = self._renderer.mottle(figure.rest, self.look.seed)
        kind = np.stack([figure.material.astype("f4"), openness(figure)], 1)
        still = np.concatenate([figure.rest, figure.texture, kind, mottle], 1).astype("f4")
        self._still = context.buffer(still.tobytes())
        self.dynamic = context.buffer(reserve=len(figure.rest) * 24)
        kinds = figure.material[figure.triangles[:, 0]]
        sheer = np.isin(kinds, TRANSLUCENT)
        cloth = kinds == Material.CLOTH
        cast = np.isin(kinds, (Material.SKIN, Material.HAIR))
        self.solid = self._array(self._renderer._program, figure.triangles[~sheer])
        self.outline = self._array(self._renderer._depth, figure.triangles[~sheer & ~cloth])
        self.sheer = self._array(self._renderer._program, figure.triangles[sheer])
        self.casters = self._array(self._renderer._depth, figure.triangles[cast])

    def release(self) -> None:
        """Free its buffers; the model cannot be drawn any more."""
        for item in (self.solid, self.sheer, self.casters, self.outline):
            item.index_buffer.release()
            item.release()
        self._still.release()
        self.dynamic.release()

    def _array(self, program: moderngl.Program, triangles: NDArray[np.int64]) -> Any:
        context = self._renderer._context
        index = context.buffer(triangles.astype("i4").tobytes())
        if program is self._renderer._depth:
            return context.vertex_array(program, [(self.dynamic, "3f 12x", "in_pos")], index)
        layout = [
            (self.dynamic, "3f 3f", "in_pos", "in_nrm"),
            (self._still, "3f 2f 2f 4f", "in_rest", "in_uv", "in_kind", "in_mottle"),
        ]
        return context.vertex_array(program, layout, index)

    def _frame_head(self) -> tuple[Floats, Floats]:
        """Camera position and view matrix: face of fixed height, crown just inside."""
        marks, look = self.figure.landmarks, self.look
        face = marks.brow_height - float(marks.chin[1])
        height = face / FACE_SHARE
        top = marks.crown_height + _HEAD_ROOM * height
        height = max(height, (top - float(marks.chin[1])) / 0.90)
        middle = top - height / 2.0
        target = np.array(
            [-look.shift[0] * height, middle - look.shift[1] * height, marks.eyes[0][2]]
        )
        away = height / 2.0 / math.tan(_FIELD / 2.0)
        turn = rotation(look.camera_yaw, look.camera_pitch, 0.0)
        camera = target + turn @ np.array([0.0, 0.0, away])
        view = _perspective(_FIELD, 2.0, 40.0) @ _look_at(camera, target)
        return camera.astype("f4"), view.astype("f4")

    def frame(self, mouth: Floats, motion: Floats) -> Frame:
        """Draw one row of each track: mouth [13], motion [7]."""
        figure, marks = self.figure, self.figure.landmarks
        yaw, pitch, roll = (float(motion[MOTION.index(k)]) for k in ("yaw", "pitch", "roll"))
        turn = rotation(yaw, pitch, roll)
        points = figure.posed(mouth, motion)
        turned = (points - marks.neck) @ turn.T + marks.neck
        points = (points + (turned - points) * figure.turns[:, None]).astype("f4")
        eyes = [turn @ (eye - marks.neck) + marks.neck for eye in marks.eyes]
        gaze = turn @ rotation(
            float(motion[MOTION.index("gaze_yaw")]), float(motion[MOTION.index("gaze_pitch")]), 0.0
        )
        uniforms = self._uniforms(eyes, gaze @ np.array([0.0, 0.0, 1.0]))
        raw = self._renderer.draw(self, points, uniforms).astype(np.float32) / 255.0
        cover = raw[..., 3]
        rgb = raw[..., :3] + (1.0 - raw[..., 3:]) * self.background
        quarter = (self._renderer.size // 4,) * 2
        mask = cv2.resize(cover, quarter, interpolation=cv2.INTER_AREA)
        return Frame(
            rgb=(np.clip(rgb, 0, 1) * 255 + 0.5).astype(np.uint8),
            mask=(mask * 255 + 0.5).astype(np.uint8),
            mouth=self._project(points[figure.mouth_points]).mean(0),
            eyes=self._project(np.stack(eyes)).reshape(4),
        )

    def _uniforms(self, eyes: list[Floats], gaze: Floats) -> dict[str, Any]:
        look, marks, light = self.look, self.figure.landmarks, self.light
        eye = marks.eyes[1]
        cheek = (1.25 * eye[0], 0.55 * marks.mouth[1] + 0.45 * eye[1], eye[2])
        return {
            "view": self.view,
            "lamp": self.lamp,
            "camera": self.camera,
            **{name: getattr(light, name) for name in light.__dataclass_fields__},
            **{k: getattr(look, k) for k in ("skin", "lips", "hair", "iris", "cloth")},
            **{k: getattr(look, k) for k in ("lashes", "seed", "blush", "stubble")},
            "eye_right": eyes[0],
            "eye_left": eyes[1],
            "gaze_right": gaze,
            "gaze_left": gaze,
            "mouth_at": marks.mouth,
            "cheek_at": cheek,
            "collar": (marks.neck[1] + COLLAR[0], COLLAR[1], marks.neck[2]),
        }

    def _project(self, points: Floats) -> Floats:
        """Pixels (x, y) [K, 2] of points [K, 3]."""
        whole = np.concatenate([points, np.ones((len(points), 1))], 1) @ self.view.T
        flat = whole[:, :2] / whole[:, 3:]
        pixels = (0.5 + flat * np.array([0.5, -0.5])) * self._renderer.size
        out: Floats = pixels.astype(np.float32)
        return out


def open_context() -> moderngl.Context:
    """An OpenGL context without a screen.

    Raises:
        RuntimeError: EGL or its software driver is not installed.
    """
    try:
        return moderngl.create_context(standalone=True, backend="egl")
    except Exception as error:
        raise RuntimeError(
            "expected OpenGL 3.3 through EGL, got none; install libegl1 and libgl1-mesa-dri"
        ) from error


def rotation(yaw: float, pitch: float, roll: float) -> NDArray[np.float64]:
    """Rotation matrix [3, 3]: roll, then pitch, then yaw."""
    cy, sy, cp, sp = math.cos(yaw), math.sin(yaw), math.cos(pitch), math.sin(pitch)
    cr, sr = math.cos(roll), math.sin(roll)
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_x = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    about_z = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    whole: NDArray[np.float64] = about_y @ about_x @ about_z
    return whole


def _perspective(field: float, near: float, far: float) -> NDArray[np.float64]:
    t = 1.0 / math.tan(field / 2.0)
    a, b = (far + near) / (near - far), 2.0 * far * near / (near - far)
    return np.array([[t, 0, 0, 0], [0, t, 0, 0], [0, 0, a, b], [0, 0, -1, 0]])


def _ortho(radius: float, near: float, far: float) -> NDArray[np.float64]:
    span = far - near
    out = np.diag([1.0 / radius, 1.0 / radius, -2.0 / span, 1.0])
    out[2, 3] = -(far + near) / span
    return out


def _look_at(eye: Floats, target: Floats) -> NDArray[np.float64]:
    back = np.asarray(eye, np.float64) - target
    back /= np.linalg.norm(back)
    right = np.cross((0.0, 1.0, 0.0), back)
    right /= np.linalg.norm(right)
    out = np.eye(4)
    out[:3, :3] = right, np.cross(back, right), back
    out[:3, 3] = -out[:3, :3] @ eye
    return out


def _noise() -> Floats:
    rng = np.random.default_rng(5)

    def smooth(cells: int) -> Floats:
        values = rng.random((cells, cells, cells, 3)).astype(np.float32)
        factor = _NOISE_SIZE // cells
        padded = np.pad(values, ((1, 1),) * 3 + ((0, 0),), "wrap")
        fine = zoom(padded, (factor, factor, factor, 1), order=1)
        return fine[factor:-factor, factor:-factor, factor:-factor]

    mixed = smooth(16) * 0.5 + smooth(32) * 0.3 + rng.random((_NOISE_SIZE,) * 3 + (3,)) * 0.2
    out: Floats = np.clip((mixed - mixed.mean()) / mixed.std() * 0.19 + 0.5, 0, 1)
    return out.astype(np.float32)
