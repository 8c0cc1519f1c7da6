"""OpenGL without a screen: programs, textures, vertex buffers and one draw call."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import moderngl
import numpy as np
from numpy.typing import NDArray

from models.synth import shaders
from models.synth.baking import MASK_SIZE, NOISE_SIZE, make_noise, read_masks
from models.synth.character import TRANSLUCENT, Character, Material
from models.synth.headless import create_headless_context
from models.synth.mesh import Floats, Ints

SUPERSAMPLE = 2
_SHADOW_SIZE = 640
_STATIC_ATTRIBUTES = {"in_rest": 3, "in_uv": 2, "in_ambient": 1, "in_mottle": 4}
"""What the static vertex buffer holds, and how many numbers of each."""
_SHADOW_CASTERS = (Material.SKIN, Material.HAIR)


class GlRenderer:
    """One OpenGL context with the programs, textures and framebuffers that all characters share.

    Raises:
        RuntimeError: no OpenGL 3.3 context without a screen (EGL) can be made.
    """

    def __init__(self, textures: Path, size: int) -> None:
        self.size = size
        self.noise = make_noise()
        self._pixels = size * SUPERSAMPLE
        # The library's types do not tell its uniforms, attributes and blocks apart.
        self.context: Any = create_headless_context()
        self.programs: dict[Material, Any] = {
            material: self.context.program(shaders.VERTEX, shaders.fragment(material))
            for material in Material
        }
        self.depth_program: Any = self.context.program(
            shaders.SHADOW_VERTEX, shaders.SHADOW_FRAGMENT
        )
        self._noise_texture = self._make_noise_texture()
        self._mask_texture = self._make_mask_texture(textures)
        self._shadow = self.context.depth_texture((_SHADOW_SIZE, _SHADOW_SIZE))
        self._shadow.compare_func = "<="
        self._shadow_target = self.context.framebuffer(depth_attachment=self._shadow)
        shape = (self._pixels, self._pixels)
        self._target = self.context.framebuffer(
            [self.context.texture(shape, 4)], self.context.depth_renderbuffer(shape)
        )

    def draw(
        self, buffers: CharacterBuffers, points: Floats, normals: Floats, uniforms: dict[str, Any]
    ) -> NDArray[np.uint8]:
        """Draw one picture: RGBA with premultiplied alpha, uint8 [S, S, 4].

        Args:
            buffers: of the character.
            points, normals: of this frame, [N, 3].
            uniforms: values for the programs; ``key_view`` and ``view`` are matrices [4, 4].
        """
        context = self.context
        buffers.dynamic.write(np.concatenate([points, normals], 1).astype("f4").tobytes())
        context.enable_only(moderngl.DEPTH_TEST)
        context.depth_func = "<="
        self._shadow_target.use()
        context.viewport = (0, 0, _SHADOW_SIZE, _SHADOW_SIZE)
        self._shadow_target.clear(depth=1.0)
        self.depth_program["view"].write(uniforms["key_view"].T.astype("f4").tobytes())
        buffers.shadow_casters.render()
        self._target.use()
        context.viewport = (0, 0, self._pixels, self._pixels)
        self._target.clear(0.0, 0.0, 0.0, 0.0, depth=1.0)
        for unit, texture in enumerate((self._noise_texture, self._mask_texture, self._shadow)):
            texture.use(unit)
        self._set_uniforms(uniforms)
        for array in buffers.opaque:
            array.render()
        context.enable(moderngl.BLEND)
        gl = moderngl
        context.blend_func = (gl.SRC_ALPHA, gl.ONE_MINUS_SRC_ALPHA, gl.ZERO, gl.ONE)
        for array in buffers.translucent:
            array.render()
        context.disable(moderngl.BLEND)
        data = np.frombuffer(self._target.read(components=4), np.uint8)
        supersampled = data.reshape(self._pixels, self._pixels, 4)[::-1]
        small = cv2.resize(supersampled, (self.size, self.size), interpolation=cv2.INTER_AREA)
        return np.asarray(small, np.uint8)

    def _set_uniforms(self, uniforms: dict[str, Any]) -> None:
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


class CharacterBuffers:
    """Vertex buffers of one character, N points.

    Attributes:
        dynamic: positions and normals, written for each frame.
        opaque, translucent: vertex arrays to draw, one for each material.
        shadow_casters: vertex array of the shadow pass.
    """

    def __init__(self, gl: GlRenderer, character: Character, static: Floats) -> None:
        """Upload ``static``: rest position, texture, ambient light and mottle, [N, 10]."""
        self._gl = gl
        context = gl.context
        self._static = context.buffer(static.astype("f4").tobytes())
        self.dynamic = context.buffer(reserve=len(character.rest) * 24)
        materials = character.material[character.triangles[:, 0]]
        arrays = {
            kind: self._vertex_array(kind, character.triangles[materials == kind])
            for kind in Material
            if (materials == kind).any()
        }
        self.opaque = [array for kind, array in arrays.items() if kind not in TRANSLUCENT]
        self.translucent = [array for kind, array in arrays.items() if kind in TRANSLUCENT]
        casting = np.isin(materials, _SHADOW_CASTERS)
        self.shadow_casters = self._vertex_array(None, character.triangles[casting])

    def release(self) -> None:
        """Free the buffers; the character cannot be drawn any more."""
        for item in (*self.opaque, *self.translucent, self.shadow_casters):
            item.index_buffer.release()
            item.release()
        self._static.release()
        self.dynamic.release()

    def _vertex_array(self, material: Material | None, triangles: Ints) -> Any:
        """Triangles with the program of their material; None is the shadow pass."""
        context = self._gl.context
        index = context.buffer(triangles.astype("i4").tobytes())
        if material is None:
            layout: list[Any] = [(self.dynamic, "3f 12x", "in_pos")]
            return context.vertex_array(self._gl.depth_program, layout, index)
        program = self._gl.programs[material]
        names = [name for name in _STATIC_ATTRIBUTES if name in program]
        static_format = " ".join(
            f"{n}f" if name in program else f"{4 * n}x" for name, n in _STATIC_ATTRIBUTES.items()
        )
        has_normals = "in_normal" in program
        dynamic_layout = ("3f 3f", "in_pos", "in_normal") if has_normals else ("3f 12x", "in_pos")
        layout = [(self.dynamic, *dynamic_layout), (self._static, static_format, *names)]
        return context.vertex_array(program, layout, index)
