"""OpenGL on the processor, without a screen: programs, textures, buffers, one draw call."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import moderngl
import numpy as np
from numpy.typing import NDArray

from models.synth import shaders
from models.synth.baking import MASK_SIZE, NOISE_SIZE, make_noise, read_masks
from models.synth.character import TRANSLUCENT, Figure, Material
from models.synth.mesh import Floats, Ints

SUPERSAMPLE = 2
_SHADOW_SIZE = 640
_STILL = {"in_rest": 3, "in_uv": 2, "in_open": 1, "in_mottle": 4}
"""What the static vertex buffer holds, and how many numbers of each."""
_CASTERS = (Material.SKIN, Material.HAIR)


class Stage:
    """One OpenGL context with the programs, textures and targets that all figures share.

    Raises:
        RuntimeError: no OpenGL 3.3 context without a screen (EGL) can be made.
    """

    def __init__(self, textures: Path, size: int) -> None:
        self.size = size
        self.noise = make_noise()
        self._pixels = size * SUPERSAMPLE
        # The library's types do not tell its uniforms, attributes and blocks apart.
        self.context: Any = open_context()
        self.programs: dict[Material, Any] = {
            kind: self.context.program(shaders.VERTEX, shaders.fragment(kind)) for kind in Material
        }
        self.depth: Any = self.context.program(shaders.SHADOW_VERTEX, shaders.SHADOW_FRAGMENT)
        self._noise_texture = self._make_noise_texture()
        self._masks = self._make_mask_texture(textures)
        self._shadow = self.context.depth_texture((_SHADOW_SIZE, _SHADOW_SIZE))
        self._shadow.compare_func = "<="
        self._shadow_target = self.context.framebuffer(depth_attachment=self._shadow)
        shape = (self._pixels, self._pixels)
        self._target = self.context.framebuffer(
            [self.context.texture(shape, 4)], self.context.depth_renderbuffer(shape)
        )

    def draw(
        self, scene: Scene, points: Floats, normals: Floats, uniforms: dict[str, Any]
    ) -> NDArray[np.uint8]:
        """Colour and cover, premultiplied, uint8 [S, S, 4].

        Args:
            scene: the figure's buffers; points, normals: [N, 3] now.
            uniforms: values for the programs; ``lamp`` and ``view`` are matrices [4, 4].
        """
        context = self.context
        scene.dynamic.write(np.concatenate([points, normals], 1).astype("f4").tobytes())
        context.enable_only(moderngl.DEPTH_TEST)
        context.depth_func = "<="
        self._shadow_target.use()
        context.viewport = (0, 0, _SHADOW_SIZE, _SHADOW_SIZE)
        self._shadow_target.clear(depth=1.0)
        self.depth["view"].write(uniforms["lamp"].T.astype("f4").tobytes())
        scene.casters.render()
        self._target.use()
        context.viewport = (0, 0, self._pixels, self._pixels)
        self._target.clear(0.0, 0.0, 0.0, 0.0, depth=1.0)
        for unit, texture in enumerate((self._noise_texture, self._masks, self._shadow)):
            texture.use(unit)
        self._set(uniforms)
        for array in scene.solid:
            array.render()
        context.enable(moderngl.BLEND)
        gl = moderngl
        context.blend_func = (gl.SRC_ALPHA, gl.ONE_MINUS_SRC_ALPHA, gl.ZERO, gl.ONE)
        for array in scene.sheer:
            array.render()
        context.disable(moderngl.BLEND)
        data = np.frombuffer(self._target.read(components=4), np.uint8)
        picture = data.reshape(self._pixels, self._pixels, 4)[::-1]
        small = cv2.resize(picture, (self.size, self.size), interpolation=cv2.INTER_AREA)
        return np.asarray(small, np.uint8)

    def _set(self, uniforms: dict[str, Any]) -> None:
        values = {"noise": 0, "masks": 1, "shadow": 2, **uniforms}
        for program in self.programs.values():
            for name in program:
                if name not in values:
                    continue
                value = values[name]
                if np.ndim(value) == 2:
                    program[name].write(np.asarray(value).T.astype("f4").tobytes())
                else:
                    program[name] = tuple(value) if np.ndim(value) else value

    def _make_noise_texture(self) -> Any:
        data = (self.noise * 255).astype(np.uint8).tobytes()
        texture = self.context.texture3d((NOISE_SIZE,) * 3, 3, data)
        texture.repeat_x = texture.repeat_y = texture.repeat_z = True
        texture.filter = (moderngl.LINEAR, moderngl.LINEAR)
        return texture

    def _make_mask_texture(self, folder: Path) -> Any:
        data = read_masks(folder).tobytes()
        texture = self.context.texture((MASK_SIZE, MASK_SIZE), 4, data)
        texture.filter = (moderngl.LINEAR, moderngl.LINEAR)
        return texture


class Scene:
    """One figure's buffers.

    Attributes:
        dynamic: positions and normals; solid, sheer: arrays to draw, by material.
        casters: what throws shadows.
    """

    def __init__(self, stage: Stage, figure: Figure, still: Floats) -> None:
        """``still``: rest position, texture, openness and mottle of each point, [N, 10]."""
        self._stage = stage
        context = stage.context
        self._still = context.buffer(still.astype("f4").tobytes())
        self.dynamic = context.buffer(reserve=len(figure.rest) * 24)
        kinds = figure.material[figure.triangles[:, 0]]
        arrays = {
            kind: self._array(kind, figure.triangles[kinds == kind])
            for kind in Material
            if (kinds == kind).any()
        }
        self.solid = [array for kind, array in arrays.items() if kind not in TRANSLUCENT]
        self.sheer = [array for kind, array in arrays.items() if kind in TRANSLUCENT]
        self.casters = self._array(None, figure.triangles[np.isin(kinds, _CASTERS)])

    def release(self) -> None:
        """Free the buffers; the scene cannot be drawn any more."""
        for item in (*self.solid, *self.sheer, self.casters):
            item.index_buffer.release()
            item.release()
        self._still.release()
        self.dynamic.release()

    def _array(self, kind: Material | None, triangles: Ints) -> Any:
        """The triangles with the program of their material, or of the depth pass."""
        context = self._stage.context
        index = context.buffer(triangles.astype("i4").tobytes())
        if kind is None:
            layout: list[Any] = [(self.dynamic, "3f 12x", "in_pos")]
            return context.vertex_array(self._stage.depth, layout, index)
        program = self._stage.programs[kind]
        names = [name for name in _STILL if name in program]
        form = " ".join(f"{n}f" if name in program else f"{4 * n}x" for name, n in _STILL.items())
        lit = "in_nrm" in program
        moving = ("3f 3f", "in_pos", "in_nrm") if lit else ("3f 12x", "in_pos")
        layout = [(self.dynamic, *moving), (self._still, form, *names)]
        return context.vertex_array(program, layout, index)


def open_context() -> moderngl.Context:
    """An OpenGL context without a screen.

    Raises:
        RuntimeError: EGL or its software driver is not installed.
    """
    options: dict[str, Any] = {"standalone": True, "backend": "egl"}
    try:
        return moderngl.create_context(**options)
    except Exception as error:
        raise RuntimeError(
            "expected OpenGL 3.3 through EGL, got none; install libegl1 and libgl1-mesa-dri"
        ) from error
