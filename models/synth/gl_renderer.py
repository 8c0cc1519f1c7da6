"""OpenGL without a screen: programs, textures, vertex buffers and one draw call."""

from __future__ import annotations

from collections.abc import Mapping
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
from models.synth.photo_shaders import PHOTO_SURFACES

SUPERSAMPLE = 2
Pictures = Mapping[Material, NDArray[np.uint8]]
_SHADOW_SIZE = 640
_STATIC_ATTRIBUTES = {"in_rest": 3, "in_uv": 2, "in_ambient": 1, "in_mottle": 4}
"""What the static vertex buffer holds, and how many numbers of each."""
_SHADOW_CASTERS = (Material.SKIN, Material.HAIR)
_FIRST_PHOTO = 3
"""Texture unit of the first material's photograph; those before it are shared."""
_FAINT, _DENSE = 0.03, 0.5
"""Alpha below which nothing is drawn, and from which on hair is drawn as if opaque."""


class GlRenderer:
    """One OpenGL context with the programs, textures and framebuffers that all characters share.

    Args:
        textures: folder of region masks.
        size: of a picture, pixels.
        photographic: whether characters bring photographs, or are painted.

    Raises:
        RuntimeError: no OpenGL 3.3 context without a screen (EGL) can be made.
    """

    def __init__(self, textures: Path, size: int, *, photographic: bool = False) -> None:
        self.size = size
        self.photographic = photographic
        surfaces = PHOTO_SURFACES if photographic else {}
        self.noise = make_noise()
        self._pixels = size * SUPERSAMPLE
        # The library's types do not tell its uniforms, attributes and blocks apart.
        self.context: Any = create_headless_context()
        self.programs: dict[Material, Any] = {
            material: self.context.program(
                shaders.VERTEX, shaders.fragment(material, surfaces.get(material))
            )
            for material in Material
        }
        self.depth_program: Any = self.context.program(
            shaders.SHADOW_VERTEX, shaders.SHADOW_FRAGMENT
        )
        self.strand_depth_program: Any = self.context.program(
            shaders.STRAND_SHADOW_VERTEX, shaders.STRAND_SHADOW_FRAGMENT
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
        for material, photo in buffers.photos.items():
            photo.use(_FIRST_PHOTO + material)
        for program in (self.depth_program, self.strand_depth_program):
            program["view"].write(uniforms["key_view"].T.astype("f4").tobytes())
        self.strand_depth_program["photo"] = _FIRST_PHOTO + Material.HAIR
        for array in buffers.shadow_casters:
            array.render()
        self._target.use()
        context.viewport = (0, 0, self._pixels, self._pixels)
        self._target.clear(0.0, 0.0, 0.0, 0.0, depth=1.0)
        for unit, texture in enumerate((self._noise_texture, self._mask_texture, self._shadow)):
            texture.use(unit)
        self._set_uniforms(uniforms)
        for array in buffers.opaque:
            array.render()
        self._draw_strands(buffers.near_first, _DENSE)
        context.enable(moderngl.BLEND)
        gl = moderngl
        context.blend_func = (gl.SRC_ALPHA, gl.ONE_MINUS_SRC_ALPHA, gl.ONE, gl.ONE_MINUS_SRC_ALPHA)
        for array in buffers.translucent:
            array.render()
        context.depth_func = "<"  # what was drawn as dense is not drawn again
        self._target.depth_mask = False
        self._draw_strands(buffers.far_first, _FAINT)
        self._target.depth_mask = True
        context.disable(moderngl.BLEND)
        data = np.frombuffer(self._target.read(components=4), np.uint8)
        supersampled = data.reshape(self._pixels, self._pixels, 4)[::-1]
        small = cv2.resize(supersampled, (self.size, self.size), interpolation=cv2.INTER_AREA)
        return np.asarray(small, np.uint8)

    def _draw_strands(self, hair: Any, cut: float) -> None:
        if hair is not None:
            self.programs[Material.HAIR]["cut"] = cut
            hair.render()

    def _set_uniforms(self, uniforms: dict[str, Any]) -> None:
        shared = {"noise": 0, "masks": 1, "shadow": 2, "cut": _FAINT, **uniforms}
        for material, program in self.programs.items():
            values = {**shared, "photo": _FIRST_PHOTO + material}
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
        near_first, far_first: vertex arrays of photographed hair in the two orders, or None.
        photos: texture of each material that shows a photograph.
        shadow_casters: vertex arrays of the shadow pass.
    """

    def __init__(
        self, gl: GlRenderer, character: Character, static: Floats, pictures: Pictures
    ) -> None:
        """Upload ``static`` (rest position, texture, ambient light and mottle, [N, 10]) and photos.

        ``pictures`` are uint8 [H, W, 1 to 4], first row lowest; none for a painted character.
        """
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
        self.near_first = self.far_first = None
        casting = np.isin(materials, _SHADOW_CASTERS)
        strand_shadows = []
        if gl.photographic and arrays.pop(Material.HAIR, None) is not None:
            strands = _far_first(character.rest, character.triangles[materials == Material.HAIR])
            self.far_first = self._vertex_array(Material.HAIR, strands)
            self.near_first = self._vertex_array(Material.HAIR, strands[::-1])
            strand_shadows = [self._strand_shadow(strands)]
            casting &= materials != Material.HAIR
        self.photos = {kind: self._photo(picture) for kind, picture in pictures.items()}
        self.opaque = [array for kind, array in arrays.items() if kind not in TRANSLUCENT]
        self.translucent = [array for kind, array in arrays.items() if kind in TRANSLUCENT]
        painted = self._vertex_array(None, character.triangles[casting])
        self.shadow_casters = [painted, *strand_shadows]

    def release(self) -> None:
        """Free the buffers; the character cannot be drawn any more."""
        hair = (self.near_first, self.far_first) if self.near_first is not None else ()
        for item in (*self.opaque, *self.translucent, *hair, *self.shadow_casters):
            item.index_buffer.release()
            item.release()
        for photo in self.photos.values():
            photo.release()
        self._static.release()
        self.dynamic.release()

    def _photo(self, picture: NDArray[np.uint8]) -> Any:
        height, width, channels = picture.shape
        texture = self._gl.context.texture(
            (width, height), channels, np.ascontiguousarray(picture).tobytes(), alignment=1
        )
        texture.build_mipmaps()
        texture.filter = (moderngl.LINEAR_MIPMAP_NEAREST, moderngl.LINEAR)
        texture.repeat_x = texture.repeat_y = False
        return texture

    def _strand_shadow(self, triangles: Ints) -> Any:
        context = self._gl.context
        layout = [(self.dynamic, "3f 12x", "in_pos"), (self._static, "12x 2f 20x", "in_uv")]
        index = context.buffer(triangles.astype("i4").tobytes())
        return context.vertex_array(self._gl.strand_depth_program, layout, index)

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


def _far_first(rest: Floats, triangles: Ints) -> Ints:
    """Triangles in the order in which a camera in front sees them from behind."""
    order = np.argsort(rest[triangles, 2].mean(1), kind="stable")
    ordered: Ints = triangles[order]
    return ordered
