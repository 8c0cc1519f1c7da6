"""The mouth behind the lips: its colours, read off the photo, its tongue and its dental arches."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d, median_filter

from models.face.cuts import Slit
from models.face.texture import LUMA, Floats
from models.puppets.photo import Photo
from models.puppets.teeth import ABOVE_EDGE, BELOW_EDGE, HALF_WIDTH

HALF_ARC = 34.0
"""Half the length of a row along its arch, millimetres."""


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


def mouth_colours(photo: Photo, mouth: Slit, eyes: tuple[Slit, Slit]) -> MouthColours:
    """Colours from the lips, the skin and the whites of the eyes.

    Teeth that the photo shows give the teeth's colour.
    """
    across = np.linspace(-0.5, 0.5, 15) * mouth.half
    line = np.interp(across, mouth.x, mouth.upper), np.interp(across, mouth.x, mouth.lower)
    lips = np.concatenate(
        [
            photo.colours(mouth.world(np.column_stack([across, line[0] - 2.5]))),
            photo.colours(mouth.world(np.column_stack([across, line[1] + 3.0]))),
        ]
    )
    lip = np.median(lips, 0)
    cheeks = photo.colours(photo.marks[[50, 280, 205, 425, 101, 330, 117, 346], :2])
    skin = np.median(cheeks, 0)
    whites = []
    for eye in eyes:
        x, y = np.meshgrid(np.linspace(-0.8, 0.8, 25) * eye.half, np.linspace(0.25, 0.85, 9))
        high, low = np.interp(x, eye.x, eye.upper), np.interp(x, eye.x, eye.lower)
        inner = photo.colours(eye.world(np.stack([x, high + y * (low - high)], -1)).reshape(-1, 2))
        light = inner.mean(1)
        used = (light > np.quantile(light, 0.65)) & (light < np.quantile(light, 0.93))
        whites.append(inner[used])
    white = np.median(np.concatenate(whites), 0)
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
    return _with_shown_teeth(photo, mouth, colours)


def shown_edge(photo: Photo, mouth: Slit, tooth: Floats) -> Floats:
    """How far below the upper lip's edge the photo's own teeth end, along the slit, [K] pixels."""
    depth = np.linspace(0.0, 1.0, 33)
    y = mouth.upper[:, None] + depth * (mouth.lower - mouth.upper)[:, None]
    shown = photo.colours(
        mouth.world(np.stack([np.broadcast_to(mouth.x[:, None], y.shape), y], -1)).reshape(-1, 2)
    )
    bright = (shown @ LUMA).reshape(y.shape) > 0.62 * _light(tooth)
    last = np.where(bright.any(1), 32 - bright[:, ::-1].argmax(1), 0) / 32.0
    edge: Floats = gaussian_filter1d(median_filter(last, 7, mode="nearest"), 1.2) * (
        mouth.lower - mouth.upper
    )
    return edge


def _with_shown_teeth(photo: Photo, mouth: Slit, known: MouthColours) -> MouthColours:
    """The same colours, but the teeth's from the photo where it shows some."""
    if not mouth.parted:
        return known
    x, y = np.meshgrid(np.linspace(-0.55, 0.55, 31) * mouth.half, np.linspace(0.2, 0.8, 9))
    high, low = np.interp(x, mouth.x, mouth.upper), np.interp(x, mouth.x, mouth.lower)
    shown = photo.colours(mouth.world(np.stack([x, high + y * (low - high)], -1)).reshape(-1, 2))
    light = shown @ LUMA
    tooth = np.median(shown[light >= np.quantile(light, 0.6)], 0)
    if _light(tooth) < 0.6 * _light(known.tooth):
        return known  # an open mouth without teeth in view
    return replace(known, tooth=tooth)


def _light(colour: Floats) -> float:
    return float(colour @ np.array(LUMA))


def tongue_texture(tongue: Floats) -> NDArray[np.uint8]:
    """The tongue's front, RGBA uint8 [64, 128, 4]: a soft dome with a furrow."""
    x, y = np.meshgrid(np.linspace(-1, 1, 128), np.linspace(0, 1, 64))
    edge = 0.03 + 0.6 * np.abs(x) ** 2.4
    alpha = np.clip((y - edge) / 0.16, 0, 1)
    shade = 0.55 + 0.50 * np.clip((y - edge) / 0.4, 0, 1) - 0.12 * np.exp(-((x / 0.12) ** 2))
    rgb = tongue * shade[..., None]
    return (np.clip(np.dstack([rgb, alpha]), 0, 1) * 255 + 0.5).astype(np.uint8)


def dental_arch(lower: bool, columns: int = 28) -> tuple[Floats, Floats]:
    """A row of teeth as a curved strip, millimetres from the middle of their edges.

    Returns:
        Points [2, columns, 3], and where each column lies in the row's picture, 0..1, [columns].
    """
    arc = np.linspace(-HALF_ARC, HALF_ARC, columns)
    wide, deep = (24.0, 30.0) if lower else (26.5, 32.0)
    angle = np.linspace(-1.35, 1.35, 400)
    x, z = wide * np.sin(angle), deep * (1 - np.cos(angle))
    length = np.concatenate([[0], np.cumsum(np.hypot(np.diff(x), np.diff(z)))])
    length -= length[-1] / 2
    x, z = np.interp(arc, length, x), np.interp(arc, length, z)
    heights = (-BELOW_EDGE, ABOVE_EDGE) if lower else (-ABOVE_EDGE, BELOW_EDGE)
    rows = [np.column_stack([x, np.full(columns, y), z]) for y in heights]
    return np.stack(rows), x / (2 * HALF_WIDTH) + 0.5
