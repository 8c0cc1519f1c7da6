"""Photo puppets: one portrait photo becomes a talking clip with its truth for every frame.

A mesh lies over the photo, cut open along the lips and the eyes. Each of its points knows how far every
face unit of the project's 3D heads takes it, how deep it lies and how much of the head's turn it shares.
Behind the cuts lie the photo's eyes and a mouth: teeth on the skull, teeth and tongue on the jaw, in the
photo's own colours. Coordinates are pixels of the product's 256x256 crop; z away from the camera.

    python puppet.py --photo P --tracks T.npz --out clip.mp4 [--audio T.wav] [--clip FOLDER]
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from models.face.landmarks import Landmarks
from models.face.window import face_window
from models.mini.motion import MOTION, MOUTH_UNITS
from models.puppets import inside
from models.puppets.cuts import Slit, lid_slits, mouth_slit
from models.puppets.draw import EDGES, Layer, Painter, grid_faces
from models.puppets.photo import FINE, MARGIN, SIDE, Floats, Photo, read_photo
from models.puppets.relief import Relief
from models.puppets.skin import JAW, Template, build_skin
from models.puppets.teeth import tinted_row
from models.synth.blendshapes import ARKIT_BLENDSHAPES, to_arkit

TEMPLATE = Path(__file__).with_name("template.npz")
SEAM = np.array([0.0, 63.7, -30.0])
"""Middle of the template's lips, millimetres."""
DARK_SEAM = 1.3
"""Gap in pixels at which the dark line between closed lips has mostly gone."""
STICKY = 0.5
"""Gap in pixels that lips lose to each other."""
CORNER = 0.18
"""Share of half the mouth's width in which lips part less, towards the corner."""
RIM = 1.7
"""Pixels beside the lips' line that are shadow rather than lip."""
JAW_FOLLOWS_LIP = 1.17
"""The lower teeth go down nearly as far as the lip before them."""
CLOSE, TONGUE_OUT = ARKIT_BLENDSHAPES.index("mouthClose"), ARKIT_BLENDSHAPES.index("tongueOut")


@dataclass(frozen=True)
class Frame:
    """One picture and its truth.

    Attributes:
        rgb: the face window, uint8 [256, 256, 3].
        mouth: middle of the lips [2]; eyes: of the picture's left and right eye [4]; window pixels.
        marks: where the 468 landmarks went [468, 2], window pixels.
    """

    rgb: NDArray[np.uint8]
    mouth: Floats
    eyes: Floats
    marks: Floats


class Puppet:
    """One photo, ready to be moved.

    Raises:
        PortraitError: the photo shows no face that the product would take.
    """

    def __init__(
        self,
        picture: NDArray[np.uint8],
        landmarks: Landmarks,
        *,
        glasses: bool = False,
    ) -> None:
        template = _template()
        self.photo = photo = read_photo(picture, landmarks, template.marks)
        self.window = face_window(Landmarks(photo.marks.astype(np.float32), 1.0))
        self.mouth, self.eyes = mouth_slit(photo), lid_slits(photo)
        self.skin = build_skin(photo, template, self.mouth, self.eyes, glasses)
        skin = self.skin
        self._relief = Relief(
            photo, skin.rest, skin.base, skin.faces, skin.average, self.mouth, self.eyes
        )
        ends = (1 - np.abs(self.mouth.x) / self.mouth.half) / CORNER
        self._ends = np.clip(ends, 0, 1) ** 0.7
        self.eyeballs = Landmarks(photo.marks.astype(np.float32), 1.0).eyes
        self._behind = _Behind(self, template)
        painter = self._painter = _painter()
        uv = (self.skin.rest[:, :2] + MARGIN) / (SIDE + 2 * MARGIN)
        self._layer = Layer(painter, painter.skin, self.skin.faces, uv)
        self._pictures = [painter.picture(t) for t in textures(photo, self.mouth, self.eyes)]
        self._behind.photo = painter.picture(photo.texture)
        self.neutral = self.frame(np.zeros(len(MOUTH_UNITS)), np.zeros(len(MOTION))).rgb

    def frame(self, mouth: Floats, motion: Floats, more: Floats | None = None) -> Frame:
        """Draw one row of each track: mouth [13], motion [7]; ``more``: other face units [52] on top."""
        value = dict(zip(MOTION, np.asarray(motion).tolist(), strict=True))
        drive = to_arkit(np.asarray(mouth, np.float32)[None], np.asarray(motion, np.float32)[None])[
            0
        ]
        drive = drive if more is None else drive + more
        points, gap = self._pose(drive)
        painter = self._painter
        painter.begin()
        self._behind.draw(points, drive, (value["gaze_yaw"], value["gaze_pitch"]), self._pictures)
        painter.solid()
        closed = 1.0 - np.clip(self.skin.near @ (1.0 - np.exp(-((gap / DARK_SEAM) ** 2))), 0, 1)
        rows = self._layer.rows
        rows[:, :2] = self.window.apply(points[:, :2])
        rows[:, 4], rows[:, 5] = closed, self._relief(points)
        for unit, picture in enumerate(self._pictures):
            picture.use(unit)
        self._layer.draw()
        rgb = painter.end()
        moved = self.photo.marks + (points - self.skin.rest)[self.skin.carriers]
        marks = self.window.apply(moved[:, :2])
        middle = Landmarks(np.column_stack([marks, moved[:, 2]]).astype(np.float32), 1.0).mouth
        return Frame(rgb, middle, self.window.apply(self.eyeballs).reshape(4), marks)

    def _pose(self, drive: Floats) -> tuple[Floats, Floats]:
        """Points [V, 3] before the head turns, and the gap between the lips along them [K]."""
        skin = self.skin
        drive = drive.copy()
        drive[CLOSE] = min(drive[CLOSE], drive[JAW])  # it undoes an open jaw, no more
        used = np.flatnonzero(drive)
        points = skin.rest + skin.base + np.tensordot(drive[used], skin.moves[used], 1)
        up, low = (self.mouth.local(points[skin.pairs[:, k], :2]) for k in (0, 1))
        gaps = _at(up[:, 0], low) - up[:, 1], low[:, 1] - _at(low[:, 0], up)
        # Lips stop each other; they stick together a little, and more towards the corners.
        kept = [np.maximum(gap, 0.0) for gap in gaps]
        kept = [(k - STICKY * (1 - np.exp(-k / STICKY))) * self._ends for k in kept]
        over = [skin.pull @ (k - gap) / 2 for k, gap in zip(kept, gaps, strict=True)]
        points[:, :2] += np.where(skin.side < 0, -over[0], over[1])[:, None] * self.mouth.axes[1]
        gap = (kept[0] + kept[1]) / 2
        return points, gap


class _Behind:
    """What is seen through the cuts: cavity, tongue, two rows of teeth, the photo's own teeth, eyes."""

    def __init__(self, puppet: Puppet, template: Template) -> None:
        photo, mouth = puppet.photo, puppet.mouth
        self.puppet, self.painter = puppet, _painter()
        self.tones = inside.own_tooth(photo, mouth, inside.tones(photo, mouth, puppet.eyes))
        jaw = template.mouth[5:8] * np.array([1.0, JAW_FOLLOWS_LIP, 1.0])
        self.eyeball, self.jaw = 13.0 * photo.scale, photo.scale * photo.turn @ jaw
        self.out = photo.scale * photo.turn @ np.array([0.0, -9.0, -9.0])
        line = float(np.interp(0.0, mouth.x, mouth.upper))
        anchor = np.append(mouth.world(np.array([0.0, line])), photo.place(SEAM)[2])
        depth = float(template.mouth[1] - SEAM[2])
        shown, behind = 3.4, 0.2
        if mouth.parted:  # the rows meet where the photo's teeth end
            edge = inside.own_edge(photo, mouth, self.tones.tooth)
            middle = np.abs(mouth.x) < 0.3 * mouth.half
            shown = max(float(np.median(edge[middle])) / photo.scale, 2.0)
            behind = shown - 2.5
        soft = 0.12 + 0.25 * (photo.upsampled - 1.0)

        def layer(
            strip: Floats, uv: Floats, picture: NDArray[np.uint8]
        ) -> tuple[Layer, Floats, object]:
            points = anchor + photo.scale * strip @ photo.turn.T
            made = Layer(
                self.painter, self.painter.inside, grid_faces(*strip.shape[:2]), uv.reshape(-1, 2)
            )
            made.rows[:, 6:] = 1.0
            return made, points.reshape(-1, 3), self.painter.picture(picture)

        x, y = np.meshgrid(np.linspace(-30, 30, 3), np.linspace(-30, 60, 3))
        wall = np.stack([x, y, np.full_like(x, depth + 20.0)], -1)
        self.cavity = layer(wall, np.zeros((*x.shape, 2)), np.zeros((2, 2, 4), np.uint8))
        x, y = np.meshgrid(np.linspace(-19, 19, 9), np.linspace(0, 26, 5))
        dome = np.stack([x, y - 8.5, depth + 6.0 + 0.01 * x**2 - 0.1 * y], -1)
        self.tongue = layer(dome, np.stack([x / 38 + 0.5, y / 26], -1), inside.tongue(self.tones))
        self.rows = []
        for lower in (True, False):
            strip, u = inside.arch(lower)
            uv = np.stack(np.broadcast_arrays(u, np.array([[0.0], [1.0]])), -1)
            place = np.array([0.0, behind if lower else shown, depth + (2.0 if lower else 0.0)])
            self.rows.append(
                layer(strip + place, uv, tinted_row(lower, self.tones.tooth, self.tones.gum, soft))
            )
            self.rows[-1][0].rows[:, 6] = 0.84 if lower else 1.0
        self.eyes = [self._eye(eye, _depth_of(photo, k)) for k, eye in enumerate(puppet.eyes)]

    def _eye(self, eye: Slit, depth: float) -> tuple[Layer, Floats, Floats]:
        """A grid behind an eye's opening, and how much of the gaze each point takes."""
        x = np.linspace(-eye.half - 2, eye.half + 2, 15)
        y = np.linspace(eye.upper.min() - 3, eye.lower.max() + 3, 7)
        grid = eye.world(np.stack(np.meshgrid(x, y), -1)).reshape(-1, 2)
        share = np.tile(np.clip((1.0 - np.abs(x) / eye.half) / 0.45, 0, 1), len(y))
        made = Layer(
            self.painter,
            self.painter.skin,
            grid_faces(len(y), len(x)),
            (grid + MARGIN) / (SIDE + 2 * MARGIN),
        )
        return (
            made,
            np.column_stack([grid, np.full(len(grid), depth)]),
            share * share * (3 - 2 * share),
        )

    def draw(
        self, still: Floats, drive: Floats, gaze: tuple[float, float], pictures: list[Any]
    ) -> None:
        """Paint all of it; ``still`` are the skin's points."""
        slit, skin, program = self.puppet.mouth, self.puppet.skin, self.painter.inside
        up, low = (slit.local(still[skin.pairs[:, k], :2]) for k in (0, 1))
        left, right = up[0, 0], up[-1, 0]
        x = left + (np.arange(EDGES) + 0.5) / EDGES * (right - left)
        edges = np.column_stack([_at(x, up), _at(x, low)])
        self.painter.edges.write(edges.astype("f4").tobytes())
        program["frame"] = (left, right - left, self.puppet.photo.scale)
        program["cavity"], program["rim"] = tuple(self.tones.cavity), tuple(self.tones.inner)
        jaw = self.jaw * drive[JAW]
        layers = [
            (self.cavity, 0, 0.5 * jaw),
            (self.tongue, 1, 0.9 * jaw + self.out * drive[TONGUE_OUT]),
        ]
        layers += [(self.rows[0], 1, jaw), (self.rows[1], 1, np.zeros(3))]
        for (layer, points, picture), kind, moved in layers:
            picture.use(0)
            self._inside(layer, points + moved, kind)
        for unit in (0, 1):
            pictures[1].use(unit)
        shift = self.eyeball * np.sin(np.array(gaze))
        self.painter.solid()
        for layer, points, share in self.eyes:
            moved = points[:, :2] + share[:, None] * shift
            layer.rows[:, 5] = 1.0
            layer.rows[:, :2] = self.puppet.window.apply(moved)
            layer.draw()

    def _inside(self, layer: Layer, points: Floats, kind: int) -> None:
        self.painter.inside["kind"] = kind
        self.painter.edges.use(1)
        layer.rows[:, 4:6] = self.puppet.mouth.local(points[:, :2])
        layer.rows[:, :2] = self.puppet.window.apply(points[:, :2])
        layer.draw()


def _at(x: Floats, edge: Floats) -> Floats:
    order = np.argsort(edge[:, 0])
    return np.interp(x, edge[order, 0], edge[order, 1])


def _depth_of(photo: Photo, eye: int) -> float:
    return float(photo.marks[[(33, 133), (362, 263)][eye], 2].mean())


def textures(
    photo: Photo, mouth: Slit, eyes: tuple[Slit, Slit]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The skin's picture where the lips touch, and where they are parted and eyes move.

    Parted lips have no shadow line at their edges; behind the lids lies white. Where the photo shows
    teeth, lips that touch get a shadow line.
    """
    yy, xx = np.mgrid[0 : photo.texture.shape[0], 0 : photo.texture.shape[1]]
    plane = (np.stack([xx, yy], -1) + 0.5) / FINE - MARGIN
    touching, out = photo.texture.copy(), photo.texture.copy()
    q = mouth.local(plane)
    ends = np.clip((mouth.half - np.abs(q[..., 0])) / 4.0, 0, 1)
    for edge, way, shadow in ((mouth.upper, -1.0, 0.24), (mouth.lower, 1.0, 0.12)):
        away = (q[..., 1] - np.interp(q[..., 0], mouth.x, edge)) * way
        use = (away >= (-0.75 if mouth.parted else 0.0)) & (away < RIM) & (ends > 0)
        moved = plane[use] + (((RIM - away) * ends)[use] * way)[:, None] * mouth.axes[1]
        at = ((moved + MARGIN) * FINE - 0.5).astype(np.float32)[:, None]
        fresh = cv2.remap(photo.texture, at, None, cv2.INTER_LINEAR)[:, 0].astype(np.float64)
        near = np.exp(-np.maximum(away[use], 0) / 0.8)[:, None]
        out[use, :3] = fresh[:, :3] * (1 - shadow * near)
        if mouth.parted:
            touching[use, :3] = fresh[:, :3] * (1 - 0.5 * near)
    for eye in eyes:
        e = eye.local(plane)
        box = (
            (np.abs(e[..., 0]) < eye.half + 4)
            & (e[..., 1] > eye.upper.min() - 5)
            & (e[..., 1] < eye.lower.max() + 5)
        )
        high, low = np.interp(e[..., 0], eye.x, eye.upper), np.interp(e[..., 0], eye.x, eye.lower)
        seen = (
            (e[..., 1] > high + 0.4)
            & (e[..., 1] < low - 0.2)
            & (np.abs(e[..., 0]) < eye.half - 0.5)
        )
        rows, columns = np.flatnonzero(box.any(1)), np.flatnonzero(box.any(0))
        part = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
        lid = ((box & ~seen)[part] * 255).astype(np.uint8)
        fresh = cv2.inpaint(
            np.ascontiguousarray(photo.texture[part][..., :3]), lid, 3, cv2.INPAINT_TELEA
        )
        out[part][..., :3] = np.where(lid[..., None] > 0, fresh, photo.texture[part][..., :3])
    return touching, out


@cache
def _painter() -> Painter:
    return Painter()


@cache
def _template() -> Template:
    return Template(TEMPLATE)
