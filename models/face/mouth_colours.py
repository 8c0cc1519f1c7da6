"""Colours of the mouth behind the lips, read off a picture: its lips, its skin, its eyes' whites.

Teeth that the picture shows give the teeth's colour.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from models.face.cuts import Slit
from models.face.texture import LUMA, FaceTexture, Floats

_CHEEKS = [50, 280, 205, 425, 101, 330, 117, 346]
_LEAST_GREY = 0.02
"""Colours darker than this have no hue that could be told from noise."""


@dataclass(frozen=True)
class MouthColours:
    """Colours in 0..1, [3] each, as the photo's light and film would show them.

    Attributes:
        inner: of the lips' inner sides, lit as the lips are.
    """

    tooth: Floats
    gum: Floats
    tongue: Floats
    cavity: Floats
    inner: Floats


def mouth_colours(face: FaceTexture, mouth: Slit, eyes: tuple[Slit, Slit]) -> MouthColours:
    """Colours from the lips, the skin and the whites of the eyes.

    Args:
        face: of a picture whose lips are as they were given; mouth, eyes: its cuts.
    """
    across = np.linspace(-0.5, 0.5, 15) * mouth.half
    line = np.interp(across, mouth.x, mouth.upper), np.interp(across, mouth.x, mouth.lower)
    lips = np.concatenate(
        [
            face.colours(mouth.world(np.column_stack([across, line[0] - 2.5]))),
            face.colours(mouth.world(np.column_stack([across, line[1] + 3.0]))),
        ]
    )
    lip = np.median(lips, 0)
    skin = np.median(face.colours(face.marks[_CHEEKS, :2]), 0)
    whites = []
    for eye in eyes:
        x, y = np.meshgrid(np.linspace(-0.8, 0.8, 25) * eye.half, np.linspace(0.25, 0.85, 9))
        high, low = np.interp(x, eye.x, eye.upper), np.interp(x, eye.x, eye.lower)
        inner = face.colours(eye.world(np.stack([x, high + y * (low - high)], -1)).reshape(-1, 2))
        light = inner.mean(1)
        used = (light > np.quantile(light, 0.65)) & (light < np.quantile(light, 0.93))
        whites.append(inner[used])
    found = np.concatenate(whites)
    white = np.median(found, 0) if len(found) else skin  # eyes painted in one colour show none
    bright = float(np.clip(max(1.02 * _light(white), 1.04 * _light(skin)), 0.30, 0.90))
    colour = float(np.clip((np.ptp(skin) / (skin.max() + 1e-6) - 0.02) / 0.25, 0, 1))
    cast = np.clip(white / max(_light(white), 1e-6), 0.75, 1.3)
    cast = 0.6 * cast + 0.4 * (0.55 + 0.45 * np.clip(skin / max(_light(skin), 1e-6), 0.5, 1.5))
    ivory = np.array([1.035, 0.985, 0.90]) ** (0.95 * colour)
    tooth = np.clip(bright * (0.5 * cast + 0.5) * ivory, 0, 0.96)
    flesh = 0.75 * lip + 0.25 * skin
    tongue = flesh * np.array([0.98, 0.86, 0.88]) ** colour * 0.80
    inner = lip * np.array([1.05, 0.80, 0.82]) ** colour
    cavity = 0.30 * lip * np.array([1.0, 0.78, 0.78]) ** colour
    colours = MouthColours(tooth, flesh * 0.85, tongue, cavity, inner)
    return _with_shown_teeth(face, mouth, colours)


def hue(colour: Floats) -> Floats:
    """A colour [3] scaled to a brightness of 1; greyer, the nearer it is to black."""
    bright: Floats = (colour + _LEAST_GREY) / (_light(colour) + _LEAST_GREY)
    return bright


def _with_shown_teeth(face: FaceTexture, mouth: Slit, known: MouthColours) -> MouthColours:
    """The same colours, but the teeth's from the picture where it shows some."""
    if not mouth.parted:
        return known
    x, y = np.meshgrid(np.linspace(-0.55, 0.55, 31) * mouth.half, np.linspace(0.2, 0.8, 9))
    high, low = np.interp(x, mouth.x, mouth.upper), np.interp(x, mouth.x, mouth.lower)
    shown = face.colours(mouth.world(np.stack([x, high + y * (low - high)], -1)).reshape(-1, 2))
    light = shown @ LUMA
    tooth = np.median(shown[light >= np.quantile(light, 0.6)], 0)
    if _light(tooth) < 0.6 * _light(known.tooth):
        return known  # an open mouth without teeth in view
    return replace(known, tooth=tooth)


def _light(colour: Floats) -> float:
    return float(colour @ np.array(LUMA))
