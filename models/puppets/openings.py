"""What is seen through the cuts: the mouth with its teeth and tongue, and the eyes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.face.cuts import Slit, at_edge
from models.face.geometry import Similarity, ease
from models.face.mouth_colours import mouth_colours
from models.face.texture import MARGIN, SIDE, Floats
from models.puppets.draw import EDGES, Layer, Painter, grid_faces
from models.puppets.inside import dental_arch, shown_edge, tongue_texture
from models.puppets.photo import Photo
from models.puppets.skin import JAW, Skin
from models.puppets.teeth import tinted_row
from models.puppets.template import SEAM, Template
from models.synth.blendshapes import ARKIT_BLENDSHAPES

JAW_FOLLOWS_LIP = 1.17
"""The lower teeth go down nearly as far as the lip before them."""
UPPER_SHOWN, LOWER_SHOWN = 3.4, 0.2
"""How far below the lips' line the upper teeth end and the lower ones begin, millimetres."""
ROW_REACH = 0.9
"""Share of the way to the lips' corners that the rows of teeth are to reach."""
FRONT_TEETH, MOST_REACH = 8.0, 10.0
"""Half the width of the teeth that stay, and the most that a side is widened by, millimetres."""
EYEBALL = 13.0
"""Radius, millimetres."""
_TONGUE_OUT = ARKIT_BLENDSHAPES.index("tongueOut")
_CAVITY, _FLESH = 0, 1
"""What the mouth's shader calls the two kinds of its layers."""


@dataclass(frozen=True)
class _Part:
    """One layer of the mouth: its points at rest [N, 3], crop pixels, and its picture."""

    layer: Layer
    points: Floats
    picture: Any


@dataclass(frozen=True)
class _Eye:
    """A grid behind an eye's opening: points [N, 2], and the share of the gaze each takes [N]."""

    layer: Layer
    points: Floats
    share: Floats


class Openings:
    """The layers behind the skin of one puppet; its teeth and tongue are in the photo's colours."""

    def __init__(
        self,
        photo: Photo,
        template: Template,
        mouth: Slit,
        eyes: tuple[Slit, Slit],
        window: Similarity,
        painter: Painter,
    ) -> None:
        self._photo, self._mouth, self._window, self._painter = photo, mouth, window, painter
        self._colours = mouth_colours(photo, mouth, eyes)
        self._eyeball = EYEBALL * photo.scale
        jaw = template.jaw_move * np.array([1.0, JAW_FOLLOWS_LIP, 1.0])
        self._jaw = photo.scale * photo.turn @ jaw
        self._out = photo.scale * photo.turn @ np.array([0.0, -9.0, -9.0])
        line = float(np.interp(0.0, mouth.x, mouth.upper))
        self._anchor = np.append(mouth.world(np.array([0.0, line])), photo.place(SEAM)[2])
        depth = template.teeth_depth - float(SEAM[2])
        self._cavity, self._tongue = self._make_cavity(depth), self._make_tongue(depth)
        self._teeth = self._make_teeth(depth)
        self._eyes = [self._make_eye(eye) for eye in eyes]

    def draw(self, skin: Skin, points: Floats, drive: Floats, gaze: Floats, behind: Any) -> None:
        """Draw all layers.

        Args:
            points: of the skin [V, 3], as they are now.
            drive: blendshapes [52].
            gaze: yaw and pitch [2], radians.
            behind: the skin's picture of eyes cut open.
        """
        self._tell_edges(skin, points)
        jaw = self._jaw * drive[JAW]
        lower, upper = self._teeth
        self._draw_part(self._cavity, 0.5 * jaw, _CAVITY)
        self._draw_part(self._tongue, 0.9 * jaw + self._out * drive[_TONGUE_OUT], _FLESH)
        self._draw_part(lower, jaw, _FLESH)
        self._draw_part(upper, np.zeros(3), _FLESH)
        for unit in (0, 1):
            behind.use(unit)
        shift = self._eyeball * np.sin(gaze)
        self._painter.solid()
        for eye in self._eyes:
            eye.layer.rows[:, 5] = 1.0
            eye.layer.rows[:, :2] = self._window.apply(eye.points + eye.share[:, None] * shift)
            eye.layer.draw()

    def _tell_edges(self, skin: Skin, points: Floats) -> None:
        """Tell the mouth's shader where the lips' edges are."""
        up, low = (self._mouth.local(points[skin.pairs[:, k], :2]) for k in (0, 1))
        left, right = up[0, 0], up[-1, 0]
        x = left + (np.arange(EDGES) + 0.5) / EDGES * (right - left)
        edges = np.column_stack([at_edge(x, up), at_edge(x, low)])
        self._painter.edges.write(edges.astype("f4").tobytes())
        program = self._painter.inside
        program["frame"] = (left, right - left, self._photo.scale)
        program["cavity"] = tuple(self._colours.cavity)
        program["rim"] = tuple(self._colours.inner)

    def _draw_part(self, part: _Part, moved: Floats, kind: int) -> None:
        part.picture.use(0)
        self._painter.inside["kind"] = kind
        self._painter.edges.use(1)
        places = (part.points + moved)[:, :2]
        part.layer.rows[:, 4:6] = self._mouth.local(places)
        part.layer.rows[:, :2] = self._window.apply(places)
        part.layer.draw()

    def _make_part(
        self, grid: Floats, uv: Floats, picture: NDArray[np.uint8], light: float = 1.0
    ) -> _Part:
        """A layer of a grid [rows, columns, 3], millimetres from the middle of the lips' line."""
        points = self._anchor + self._photo.scale * grid @ self._photo.turn.T
        faces = grid_faces(*grid.shape[:2])
        layer = Layer(self._painter, self._painter.inside, faces, uv.reshape(-1, 2))
        layer.rows[:, 6], layer.rows[:, 7] = light, 1.0
        return _Part(layer, points.reshape(-1, 3), self._painter.picture(picture))

    def _make_cavity(self, depth: float) -> _Part:
        back = depth + 20.0
        aside = abs(float(self._photo.turn[0, 2])) * back  # a turned head shows it beside the lips
        half = 1.15 * self._mouth.half / self._photo.scale + aside
        x, y = np.meshgrid(np.linspace(-half, half, 3), np.linspace(-20, 60, 3))
        wall = np.stack([x, y, np.full_like(x, back)], -1)
        return self._make_part(wall, np.zeros((*x.shape, 2)), np.zeros((2, 2, 4), np.uint8))

    def _make_tongue(self, depth: float) -> _Part:
        x, y = np.meshgrid(np.linspace(-19, 19, 9), np.linspace(0, 26, 5))
        dome = np.stack([x, y - 8.5, depth + 6.0 + 0.01 * x**2 - 0.1 * y], -1)
        uv = np.stack([x / 38 + 0.5, y / 26], -1)
        return self._make_part(dome, uv, tongue_texture(self._colours.tongue))

    def _make_teeth(self, depth: float) -> tuple[_Part, _Part]:
        """The lower and the upper row."""
        photo, mouth, colours = self._photo, self._mouth, self._colours
        ends = {False: UPPER_SHOWN, True: LOWER_SHOWN}
        if mouth.parted:  # the rows meet where the photo's teeth end
            edge = shown_edge(photo, mouth, colours.tooth)
            middle = np.abs(mouth.x) < 0.3 * mouth.half
            shown = max(float(np.median(edge[middle])) / photo.scale, 2.0)
            ends = {False: shown, True: shown - 2.5}
        blur = 0.12 + 0.25 * (photo.upsampled - 1.0)

        def row(lower: bool) -> _Part:
            strip, u = dental_arch(lower)
            uv = np.stack(np.broadcast_arrays(u, np.array([[0.0], [1.0]])), -1)
            place = np.array([0.0, ends[lower], depth + (2.0 if lower else 0.0)])
            picture = tinted_row(lower, colours.tooth, colours.gum, blur)
            return self._make_part(
                self._reach_corners(strip + place), uv, picture, 0.84 if lower else 1.0
            )

        return row(True), row(False)

    def _reach_corners(self, strip: Floats) -> Floats:
        """A row of teeth [2, columns, 3] whose side teeth are wider where it ends in sight."""
        seen = self._mouth.local(
            (self._anchor + self._photo.scale * strip @ self._photo.turn.T)[..., :2]
        )
        out = strip.copy()
        for side, end in ((-1.0, seen[..., 0].min()), (1.0, seen[..., 0].max())):
            lacks = (ROW_REACH * self._mouth.half - side * end) / self._photo.scale
            x = side * strip[..., 0]
            share = ease((x - FRONT_TEETH) / (x.max() - FRONT_TEETH))
            out[..., 0] += side * share * np.clip(lacks, 0.0, MOST_REACH)
        return out

    def _make_eye(self, eye: Slit) -> _Eye:
        x = np.linspace(-eye.half - 2, eye.half + 2, 15)
        y = np.linspace(eye.upper.min() - 3, eye.lower.max() + 3, 7)
        grid = eye.world(np.stack(np.meshgrid(x, y), -1)).reshape(-1, 2)
        share = np.tile(ease((1.0 - np.abs(x) / eye.half) / 0.45), len(y))
        uv = (grid + MARGIN) / (SIDE + 2 * MARGIN)
        layer = Layer(self._painter, self._painter.skin, grid_faces(len(y), len(x)), uv)
        return _Eye(layer, grid, share)
