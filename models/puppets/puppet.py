"""Photo puppets: a portrait made to speak by warping it with blendshapes.

A mesh lies over the photo, cut open along the lips and the lids. Each of its points knows how far
every ARKit blendshape of the project's 3D heads takes it and how deep it lies. Behind the cuts lie
the photo's eyes and a mouth: upper teeth on the skull, lower teeth and tongue on the jaw, in the
photo's own colours. The head keeps the portrait's pose. A puppet is built in a crop of 256x256
pixels around the face; it is drawn into the face window.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.face.cuts import at_edge, lid_slits, mouth_slit
from models.face.geometry import ease
from models.face.landmarks import Landmarks
from models.face.texture import MARGIN, SIDE, Floats
from models.face.window import face_window
from models.mini.motion import MOTION, MOUTH_UNITS
from models.puppets.draw import Layer, shared_painter
from models.puppets.lids import lid_texture
from models.puppets.openings import Openings
from models.puppets.photo import read_photo
from models.puppets.relief import Relief
from models.puppets.rims import trace_rims
from models.puppets.skin import JAW, build_skin
from models.puppets.template import load_template
from models.puppets.textures import skin_textures
from models.synth.blendshapes import ARKIT_BLENDSHAPES, to_arkit

DARK_SEAM = 1.3
"""Gap in pixels at which the dark line between closed lips has mostly gone."""
STICKY = 0.5
"""Gap in pixels that lips lose to each other."""
CORNER = 0.18
"""Share of half the mouth's width in which lips part less, towards the corner."""
LIDS_SHOWN = 0.5
"""Share of a blink at which lids show all of their own skin."""
_CLOSE = ARKIT_BLENDSHAPES.index("mouthClose")
_BLINK = MOTION.index("blink")
_GAZE = [MOTION.index("gaze_yaw"), MOTION.index("gaze_pitch")]


@dataclass(frozen=True)
class Frame:
    """One picture and its truth, in window pixels.

    Attributes:
        rgb: the face window, uint8 [256, 256, 3].
        mouth: centre of the lips [2].
        eyes: centres of the picture's left and right eye [4].
        marks: where the 468 landmarks went [468, 2].
    """

    rgb: NDArray[np.uint8]
    mouth: Floats
    eyes: Floats
    marks: Floats


class Puppet:
    """One portrait, ready to be moved.

    Args:
        picture: RGB uint8 [H, W, 3].
        landmarks: of the face in it.
        glasses: the person wears some; their rims stay where they are.

    Attributes:
        mouth, eyes: the slits, crop pixels.
        neutral: the face window with closed lips and open eyes, RGB uint8 [256, 256, 3].

    Raises:
        RuntimeError: no OpenGL 3.3 context without a screen (EGL) can be made.
    """

    def __init__(
        self, picture: NDArray[np.uint8], landmarks: Landmarks, *, glasses: bool = False
    ) -> None:
        template, self._painter = load_template(), shared_painter()
        self._photo = photo = read_photo(picture, landmarks, template.marks)
        in_crop = Landmarks(photo.marks.astype(np.float32), landmarks.presence)
        self._window, self._eyeballs = face_window(in_crop), in_crop.eyes
        self.mouth, self.eyes = mouth_slit(photo), lid_slits(photo)
        rims = trace_rims(photo, self.eyes) if glasses else None
        self._skin = build_skin(photo, template, self.mouth, self.eyes, rims)
        self._relief = Relief(photo, self._skin, self.mouth, self.eyes)
        ends = (1 - np.abs(self.mouth.x) / self.mouth.half) / CORNER
        self._ends = np.clip(ends, 0, 1) ** 0.7
        self._openings = Openings(
            photo, template, self.mouth, self.eyes, self._window, self._painter
        )
        uv = (self._skin.rest[:, :2] + MARGIN) / (SIDE + 2 * MARGIN)
        shaders = self._painter.skin, self._painter.closing
        self._layers = [Layer(self._painter, shader, self._skin.faces, uv) for shader in shaders]
        touching, parted = skin_textures(photo, self.mouth, self.eyes)
        textures = touching, parted, lid_texture(photo, self.eyes, rims)
        self._pictures = [self._painter.picture(texture) for texture in textures]
        self.neutral = self.frame(np.zeros(len(MOUTH_UNITS)), np.zeros(len(MOTION))).rgb

    def frame(self, mouth: Floats, motion: Floats) -> Frame:
        """Draw one row of the tracks: mouth [13], ``MOUTH_UNITS``, and motion [7], ``MOTION``.

        The head's pose in ``motion`` is not used.
        """
        tracks = (np.asarray(track, np.float32)[None] for track in (mouth, motion))
        drive = to_arkit(*tracks)[0]
        points, gap = self._deform(drive)
        painter, skin = self._painter, self._skin
        painter.begin()
        gaze = np.asarray(motion)[_GAZE]
        self._openings.draw(skin, points, drive, gaze, self._pictures[1])
        painter.solid()
        closed = float(ease(np.asarray(motion[_BLINK] / LIDS_SHOWN)))
        layer = self._layers[int(closed > 0)]
        rows = layer.rows
        rows[:, :2] = self._window.apply(points[:, :2])
        rows[:, 4] = 1.0 - np.clip(skin.near @ (1.0 - np.exp(-((gap / DARK_SEAM) ** 2))), 0, 1)
        rows[:, 5] = self._relief(points)
        rows[:, 6] = closed
        for unit, picture in enumerate(self._pictures):
            picture.use(unit)
        layer.draw()
        return self._with_truth(painter.end(), points)

    def _with_truth(self, rgb: NDArray[np.uint8], points: Floats) -> Frame:
        """A picture with the landmarks where points [V, 3] take them."""
        moved = self._photo.marks + (points - self._skin.rest)[self._skin.carriers]
        marks = self._window.apply(moved[:, :2])
        middle = Landmarks(np.column_stack([marks, moved[:, 2]]).astype(np.float32), 1.0).mouth
        return Frame(rgb, middle, self._window.apply(self._eyeballs).reshape(4), marks)

    def _deform(self, drive: Floats) -> tuple[Floats, Floats]:
        """Blendshapes [52] to the skin's points [V, 3] and the gap between the lips [K], pixels."""
        skin = self._skin
        drive = drive.copy()
        drive[_CLOSE] = min(drive[_CLOSE], drive[JAW])  # it undoes an open jaw, no more
        used = np.flatnonzero(drive)
        points = skin.rest + skin.base + np.tensordot(drive[used], skin.moves[used], 1)
        up, low = (self.mouth.local(points[skin.pairs[:, k], :2]) for k in (0, 1))
        gaps = at_edge(up[:, 0], low) - up[:, 1], low[:, 1] - at_edge(low[:, 0], up)
        # Lips stop each other; they stick together a little, and more towards the corners.
        kept = [np.maximum(gap, 0.0) for gap in gaps]
        kept = [(k - STICKY * (1 - np.exp(-k / STICKY))) * self._ends for k in kept]
        over = [skin.pull @ (k - gap) / 2 for k, gap in zip(kept, gaps, strict=True)]
        points[:, :2] += np.where(skin.side < 0, -over[0], over[1])[:, None] * self.mouth.axes[1]
        return points, (kept[0] + kept[1]) / 2
