"""How a face moves: the template that ``bake_template`` reads off the project's own 3D heads."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import LinearNDInterpolator, NearestNDInterpolator

from models.face.cuts import LOWER_LIP, UPPER_LIP
from models.face.texture import Floats

TEMPLATE = Path(__file__).with_name("template.npz")
SEAM = np.array([0.0, 63.7, -30.0])
"""Middle of the template's lips, millimetres."""


class Template:
    """The mean of several neutral heads, S points of skin.

    Lengths are millimetres from the middle between the eyes; x to the picture's right, y down, z
    away from the camera.

    Attributes:
        rest: [S, 3].
        moves: how far each of ``ARKIT_BLENDSHAPES`` takes each point, [52, S, 3].
        lower: whether a point lies below the lips' line, bool [S].
        marks: the 468 face landmarks [468, 3].
        neck: joint of the neck, [3].
        teeth_depth: z of the upper front teeth.
        jaw_move: how far ``jawOpen`` takes the lower front teeth, [3].
    """

    def __init__(self, path: Path) -> None:
        with np.load(path) as archive:
            self.rest: Floats = archive["rest"]
            self.moves: Floats = archive["moves"]
            self.lower: NDArray[np.bool_] = archive["lower"]
            self.marks: Floats = archive["marks"]
            self.neck: Floats = archive["joints"][0]
            self.teeth_depth = float(archive["mouth"][1])
            self.jaw_move: Floats = archive["mouth"][5:8]
        self._tables = {lower: self._table(lower) for lower in (False, True)}

    def field(self, places: Floats, lower: bool) -> Floats:
        """The blendshapes' moves [N, 52, 3] at places [N, 2], as on one side of the lips."""
        linear, nearest = self._tables[lower]
        out: Floats = linear(places)
        lost = np.isnan(out[:, 0])
        out[lost] = nearest(places[lost])
        return out.reshape(len(places), -1, 3)

    def _table(self, lower: bool) -> tuple[LinearNDInterpolator, NearestNDInterpolator]:
        """Interpolators of one side; the lip's edge goes on beyond the lips' line without end."""
        side = self.lower == lower
        known = self.rest[side, :2]
        values = self.moves[:, side].transpose(1, 0, 2).reshape(int(side.sum()), -1)
        seam = (self.marks[list(UPPER_LIP), :2] + self.marks[list(LOWER_LIP), :2]) / 2
        off = known[:, 1] - np.interp(known[:, 0], seam[:, 0], seam[:, 1])
        edge = (np.abs(off) < 1.6) & (known[:, 0] > seam[0, 0]) & (known[:, 0] < seam[-1, 0])
        away = np.array([0.0, -1.0 if lower else 1.0])
        copies = [known[edge] + k * away for k in (2.0, 4.0)]
        known = np.concatenate([known, *copies])
        values = np.concatenate([values, values[edge], values[edge]])
        return LinearNDInterpolator(known, values), NearestNDInterpolator(known, values)


@cache
def load_template() -> Template:
    """The template that lies beside this file."""
    return Template(TEMPLATE)
