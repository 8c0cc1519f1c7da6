"""OpenGL without a screen for puppets: layers of triangles with pictures on them, back to front."""

from __future__ import annotations

from functools import cache
from typing import Any

import cv2
import moderngl
import numpy as np
from numpy.typing import NDArray

from models.face.texture import Floats
from models.face.window import SIDE
from models.synth.headless import create_headless_context

EDGES = 64
"""Places along the mouth at which the shader knows the lips' edges."""
DRAWN = 384
"""Side of the drawn picture, which is then reduced to the window's."""
SAMPLES = 4
"""At the edges of triangles, for each drawn pixel."""
ROW = 8
"""Numbers of a vertex: place (2), texture (2), four more that the shaders explain."""

_VERTEX = """#version 330
in vec2 at; in vec2 uv; in vec4 more; out vec2 uv_; out vec4 more_;
void main() {
  uv_ = uv; more_ = more;
  gl_Position = vec4(at / HALF - 1., 0., 1.);
}
""".replace("HALF", f"{SIDE / 2:.1f}")
_SKIN = """#version 330
in vec2 uv_; in vec4 more_; out vec4 colour;  // more: lips closed here, brightness, lids closed
uniform sampler2D picture; uniform sampler2D parted;
void main() {
  colour = mix(texture(parted, uv_), texture(picture, uv_), more_.x);
  colour.rgb *= more_.y;
}
"""
_CLOSING = _SKIN.replace("sampler2D parted;", "sampler2D parted; uniform sampler2D lids;").replace(
    "  colour.rgb *=",
    """  vec4 lid = texture(lids, uv_);
  colour.rgb = mix(colour.rgb, lid.rgb, lid.a * more_.z);
  colour.rgb *=""",
)
_INSIDE = """#version 330
in vec2 uv_; in vec4 more_; out vec4 colour;  // more: place in the mouth's frame, light, opacity
uniform sampler2D picture; uniform sampler2D edges;
uniform vec3 cavity; uniform vec3 rim;
uniform vec3 frame;                            // left end, width, pixels for a millimetre
uniform int kind;                              // 0 cavity, 1 teeth or tongue
void main() {
  float t = clamp((more_.x - frame.x) / frame.y, 0., 1.), mm = frame.z;
  vec2 e = texture(edges, vec2(t, .5)).rg;
  float up = (more_.y - e.r) / mm, down = (e.g - more_.y) / mm, gap = (e.g - e.r) / mm;
  float corner = smoothstep(0., .26, min(t, 1. - t)), wide = smoothstep(0., 9., gap);
  vec3 c; float cover = 1.;
  if (kind == 0) {
    c = mix(rim * .45, cavity * mix(1., .6, smoothstep(0., 7., min(up, down))), corner);
  } else {
    vec4 p = texture(picture, uv_);
    float lit = mix(.70, 1., smoothstep(0., 3.0, up)) * mix(.78, 1., smoothstep(0., 2.4, down));
    lit *= mix(.55, 1., corner) * mix(.92, 1., wide);
    lit *= more_.z;
    vec3 warm = cavity / max(max(cavity.r, max(cavity.g, cavity.b)), .01);
    c = p.rgb * lit * mix(mix(vec3(1), warm, .4), vec3(1), smoothstep(.2, .9, lit));
    cover = more_.w * p.a;
  }
  // The lips' inner sides turn away from the light before they end.
  float band = mix(.5, 1.3, wide);
  float fall = mix(.7, 1., corner);
  c = mix(rim * .46 * fall, c, smoothstep(-.2, band, up));
  c = mix(rim * .60 * fall, c, smoothstep(-.2, band, down));
  colour = vec4(c, cover);
}
"""


class Painter:
    """Shaders and the picture they draw to, shared by all puppets of a process.

    Attributes:
        skin, closing, inside: shaders of skin, of skin while the lids close, of mouths.

    Raises:
        RuntimeError: no OpenGL 3.3 context without a screen (EGL) can be made.
    """

    def __init__(self) -> None:
        self.context: Any = create_headless_context()
        self.skin: Any = self.context.program(_VERTEX, _SKIN)
        self.inside: Any = self.context.program(_VERTEX, _INSIDE)
        self.closing: Any = self.context.program(_VERTEX, _CLOSING)
        self.skin["picture"], self.skin["parted"] = 0, 1
        self.closing["picture"], self.closing["parted"], self.closing["lids"] = 0, 1, 2
        self.inside["picture"], self.inside["edges"] = 0, 1
        size = (DRAWN, DRAWN)
        self._target = self.context.framebuffer(
            [self.context.renderbuffer(size, 4, samples=SAMPLES)]
        )
        self._plain = self.context.framebuffer([self.context.renderbuffer(size, 4)])
        self.edges: Any = self.context.texture((EDGES, 1), 2, dtype="f4")
        self.edges.filter = (moderngl.LINEAR, moderngl.LINEAR)
        self.edges.repeat_x = self.edges.repeat_y = False

    def picture(self, rgba: NDArray[np.uint8]) -> Any:
        """A texture of RGBA uint8 [H, W, 4]."""
        texture = self.context.texture(rgba.shape[1::-1], 4, np.ascontiguousarray(rgba).tobytes())
        texture.filter = (moderngl.LINEAR, moderngl.LINEAR)
        texture.repeat_x = texture.repeat_y = False
        return texture

    def begin(self) -> None:
        """Start a picture; layers are blended over each other."""
        self._target.use()
        self.context.viewport = (0, 0, DRAWN, DRAWN)
        self._target.clear(0.0, 0.0, 0.0, 0.0)
        self.context.enable_only(moderngl.BLEND)
        over = (moderngl.SRC_ALPHA, moderngl.ONE_MINUS_SRC_ALPHA)
        self.context.blend_func = (*over, moderngl.ONE, moderngl.ONE_MINUS_SRC_ALPHA)

    def solid(self) -> None:
        """Draw the next layers without blending."""
        self.context.enable_only(moderngl.NOTHING)

    def end(self) -> NDArray[np.uint8]:
        """The picture, RGB uint8 [256, 256, 3]."""
        self.context.copy_framebuffer(self._plain, self._target)
        data = np.frombuffer(self._plain.read(components=3), np.uint8)
        drawn = data.reshape(DRAWN, DRAWN, 3)
        return np.asarray(cv2.resize(drawn, (SIDE, SIDE), interpolation=cv2.INTER_AREA), np.uint8)


@cache
def shared_painter() -> Painter:
    """The painter of this process."""
    return Painter()


class Layer:
    """Triangles whose vertices move.

    Attributes:
        rows: what the shaders read of each vertex, float32 [N, 8]; change them before ``draw``.
    """

    def __init__(
        self, painter: Painter, program: Any, faces: NDArray[np.int64], uv: Floats
    ) -> None:
        self.rows = np.zeros((len(uv), ROW), np.float32)
        self.rows[:, 2:4] = uv
        context = painter.context
        self._buffer = context.buffer(reserve=self.rows.nbytes)
        index = context.buffer(faces.astype("i4").tobytes())
        names = [("at", "2f"), ("uv", "2f"), ("more", "4f")]
        form = " ".join(form for _, form in names)
        self._array = context.vertex_array(
            program, [(self._buffer, form, *(n for n, _ in names))], index
        )

    def draw(self) -> None:
        """Put ``rows`` on the picture."""
        self._buffer.write(self.rows.tobytes())
        self._array.render()


def grid_faces(rows: int, columns: int) -> NDArray[np.int64]:
    """Triangles [F, 3] of a grid of points, counted row by row."""
    k = np.arange(rows * columns).reshape(rows, columns)
    a, b, c, d = (part.ravel() for part in (k[:-1, :-1], k[:-1, 1:], k[1:, :-1], k[1:, 1:]))
    return np.concatenate([np.column_stack([a, b, c]), np.column_stack([b, d, c])])
