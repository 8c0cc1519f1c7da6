"""Renders a character: poses it, turns its head, and locates mouth and eyes in the picture."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from models.mini.motion import MOTION
from models.synth.appearance import Appearance
from models.synth.assets import Assets
from models.synth.baking import bake_ambient_occlusion, bake_mottle
from models.synth.camera import frame_head, look_at, orthographic, rotation
from models.synth.character import NECKLINE, Character
from models.synth.character_builder import CharacterBuilder
from models.synth.gl_renderer import CharacterBuffers, GlRenderer, Pictures
from models.synth.lighting import Lighting, Rgb, read_lighting
from models.synth.mesh import Floats
from models.synth.photo_textures import PhotoTextures
from models.synth.skin_photo import SkinPhoto, find_head_area

_COLOURS = ("skin", "lips", "hair", "iris", "cloth")
_AMOUNTS = ("lashes", "seed", "blush", "stubble")
_EXPOSURE = 0.93
_TINT = 0.6
"""How far a photograph's brightness goes to that of the appearance, 0..1 (in logarithms)."""


@dataclass(frozen=True)
class RenderedFrame:
    """One picture of side S.

    Attributes:
        rgb: uint8 [S, S, 3].
        mask: coverage by the character, uint8 [S / 4, S / 4].
        mouth: centre of the mouth, float32 [2], pixels (x, y).
        eyes: centres of the picture's left and right eye, float32 [4], pixels (x, y, x, y).
    """

    rgb: NDArray[np.uint8]
    mask: NDArray[np.uint8]
    mouth: Floats
    eyes: Floats


class Renderer:
    """Builds characters that can be rendered, all at one picture size.

    Raises:
        RuntimeError: no OpenGL 3.3 context without a screen (EGL) can be made.
    """

    def __init__(self, assets: Assets, size: int = 256) -> None:
        self._assets = assets
        self._builder = CharacterBuilder(assets)
        self._photos: PhotoTextures | None = None
        if assets.photos is not None:
            head = self._builder.head
            area = find_head_area(head.mesh, head.group_faces("body"))
            self._photos = PhotoTextures(assets.photos, assets.meshes, area)
        self._gl = GlRenderer(assets.textures, size, photographic=self._photos is not None)

    def load(self, appearance: Appearance) -> CharacterRenderer:
        """Build, light and frame the character that an appearance describes."""
        character = self._builder.build(appearance.head_shape, appearance.outfit)
        lighting, background = read_lighting(
            self._assets.lights / appearance.environment,
            appearance.environment_turn,
            appearance.background_sharpness,
            self._gl.size,
        )
        skin = self._photos.skin(appearance.photos.skin) if self._photos else None
        pictures = self._photos.pictures(appearance) if self._photos else {}
        return CharacterRenderer(
            self._gl, character, appearance, lighting, background, skin, pictures
        )


class CharacterRenderer:
    """Renders one character with a static camera, lighting and background."""

    def __init__(
        self,
        gl: GlRenderer,
        character: Character,
        appearance: Appearance,
        lighting: Lighting,
        background: Floats,
        skin: SkinPhoto | None,
        pictures: Pictures,
    ) -> None:
        self.character = character
        self.appearance = appearance
        self._gl = gl
        self._background = background
        self._camera = frame_head(
            character.landmarks,
            yaw=appearance.camera_yaw,
            pitch=appearance.camera_pitch,
            shift=appearance.shift,
        )
        self._static_uniforms = self._make_static_uniforms(lighting)
        if skin is not None:
            self._static_uniforms |= _skin_uniforms(skin, appearance.skin)
        attributes = [
            character.rest,
            character.texture,
            bake_ambient_occlusion(character)[:, None],
            bake_mottle(gl.noise, character.rest, appearance.seed),
        ]
        static = np.concatenate(attributes, 1)
        self._buffers = CharacterBuffers(gl, character, static, pictures)

    def release(self) -> None:
        """Free the OpenGL buffers; the character cannot be rendered any more."""
        self._buffers.release()

    def render(self, mouth: Floats, motion: Floats) -> RenderedFrame:
        """Render one frame of the tracks: mouth [13] (``MOUTH_UNITS``), motion [7] (``MOTION``)."""
        character, landmarks = self.character, self.character.landmarks
        pose = dict(zip(MOTION, motion.tolist(), strict=True))
        head_rotation = rotation(pose["yaw"], pose["pitch"], pose["roll"])
        points = character.deform(mouth, motion)
        rotated = (points - landmarks.neck) @ head_rotation.T + landmarks.neck
        weights = character.head_rotation_weights[:, None]
        points = (points + (rotated - points) * weights).astype(np.float32)
        eyes = [head_rotation @ (eye - landmarks.neck) + landmarks.neck for eye in landmarks.eyes]
        gaze = (head_rotation @ rotation(pose["gaze_yaw"], pose["gaze_pitch"], 0.0))[:, 2]
        uniforms = {
            **self._static_uniforms,
            "eye_right": eyes[0],
            "eye_left": eyes[1],
            "gaze_right": gaze,
            "gaze_left": gaze,
        }
        normals = character.normals(points)
        rgba = self._gl.draw(self._buffers, points, normals, uniforms).astype(np.float32) / 255.0
        rgb = rgba[..., :3] + (1.0 - rgba[..., 3:]) * self._background
        size = self._gl.size
        mask = cv2.resize(rgba[..., 3], (size // 4, size // 4), interpolation=cv2.INTER_AREA)
        return RenderedFrame(
            rgb=(np.clip(rgb, 0, 1) * 255 + 0.5).astype(np.uint8),
            mask=(np.asarray(mask) * 255 + 0.5).astype(np.uint8),
            mouth=self._camera.project(points[character.mouth_points], size).mean(0),
            eyes=self._camera.project(np.stack(eyes), size).reshape(4),
        )

    def _make_static_uniforms(self, lighting: Lighting) -> dict[str, Any]:
        landmarks = self.character.landmarks
        eye, mouth = landmarks.eyes[1], landmarks.mouth
        key_light = mouth + 7.0 * np.asarray(lighting.key_dir)
        return {
            "view": self._camera.view_projection,
            "key_view": orthographic(2.4, 0.1, 14.0) @ look_at(key_light, mouth),
            "camera": self._camera.position,
            **{field.name: getattr(lighting, field.name) for field in fields(lighting)},
            **{name: getattr(self.appearance, name) for name in (*_COLOURS, *_AMOUNTS)},
            "mouth_centre": mouth,
            "cheek_centre": (1.25 * eye[0], 0.55 * mouth[1] + 0.45 * eye[1], eye[2]),
            "neckline": (landmarks.neck[1] + NECKLINE[0], NECKLINE[1], landmarks.neck[2]),
        }


def _skin_uniforms(skin: SkinPhoto, colour: Rgb) -> dict[str, Any]:
    ratio = np.asarray(colour) / np.asarray(skin.mean)
    brightness = float(ratio.mean())
    return {
        "skin_tint": np.clip(_EXPOSURE * ratio / brightness * brightness**_TINT, 0.4, 1.6),
        "skin_origin": skin.origin,
        "skin_extent": skin.extent,
    }
