"""The skin of closed lids: continued from the skin around the eye, with the lashes as a line.

What a portrait shows above an open eye is a fold, its shadow and lashes that stand up. Pulled over
the eye by a blink they would be dark smudges, so they give way to skin as the lids close.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from models.face.cuts import Slit
from models.face.geometry import ease
from models.face.texture import FINE, LUMA, MARGIN, Floats
from models.puppets.photo import Photo
from models.puppets.rims import Rim, loose

BROW_EDGES = ((46, 53, 52, 65, 55), (285, 295, 282, 283, 276))
"""Lower edges of the brows of the picture's left and right eye, from left to right."""
DARK = (-0.35, -0.05)
"""Log brightness against the skin around at which a pixel is no skin at all, and all skin."""
GLARE = 0.4
"""The same above which it is a highlight."""
SPREAD = 3.0
"""How far skin is continued, crop pixels (the sigma of a Gaussian)."""
SHADOW, DEEPEST = 0.4, 0.5
"""Of the brow's shadow above an open eye, what stays on a closed lid; the deepest, as a log."""
BRIGHTEST = 0.8
"""Quantile of the brightness just below the eye that no lid exceeds: it may lie in a shadow."""
OWN_HUE = 0.2
"""Of a lid's hue, what the nearest skin gives; the skin below the eye gives the rest."""
EDGE_SHADE = 0.1
"""How much darker a lid is at its edge."""
LASHES = 0.6
"""Brightest lashes, as a share of the skin's brightness."""
LINE = 1.0
"""Half the height of the line of lashes, crop pixels."""
_ROUNDS = 6
_FLAT = (0.0, 0.05, 0.6)
"""How flat the light is taken to be across and down: eyes lie in a shadow that lids do not."""
_LEAST, _DOUBT = 0.02, 0.05
"""Brightness that is noise; weight of the plain hue where little skin is near."""


def lid_texture(
    photo: Photo, eyes: tuple[Slit, Slit], rims: tuple[Rim, Rim] | None
) -> NDArray[np.uint8]:
    """The skin that closing lids show, RGBA [640, 640, 4]; A is how much of it they show."""
    out = np.zeros_like(photo.texture)
    for eye, brow in zip(eyes, BROW_EDGES, strict=True):
        _paint(photo, eye, brow, rims, out)
    return out


@dataclass(frozen=True)
class _Places:
    """Where pixels [H, W] lie around an eye, crop pixels.

    Attributes:
        local: in the eye's frame, as shares of its half, [H, W, 2].
        above, under: how far above the upper lid's edge, and below the lower one's.
        room: from the upper lid's edge to the brow.
        inner: how far inside the eye's corners.
        free: 0 under the rims of glasses, 1 elsewhere.
    """

    local: Floats
    above: Floats
    under: Floats
    room: Floats
    inner: Floats
    free: Floats


def _paint(
    photo: Photo,
    eye: Slit,
    brow: tuple[int, ...],
    rims: tuple[Rim, Rim] | None,
    out: NDArray[np.uint8],
) -> None:
    """Paint one eye's lids into ``out`` [640, 640, 4]."""
    corners = eye.world(eye.half * np.array([(x, y) for x in (-1.6, 1.6) for y in (-1.4, 1.4)]))
    pixels = np.clip((corners + MARGIN) * FINE, 0, len(out)).astype(int)
    (left, top), (right, bottom) = pixels.min(0), pixels.max(0)
    part = (slice(top, bottom), slice(left, right))
    yy, xx = np.mgrid[part]
    places = _measure(photo, eye, brow, rims, (np.stack([xx, yy], -1) + 0.5) / FINE - MARGIN)
    rgb = cv2.GaussianBlur(photo.texture[part][..., :3], (0, 0), 0.6).astype(np.float64) / 255
    skin, hue = _continue_skin(rgb, places)
    above, under = places.above, places.under
    at_edge = (np.abs(above) < 1.2) & (places.inner > 0.15 * eye.half)
    darkest = np.quantile(rgb[at_edge] @ LUMA, 0.1)
    lash = hue * min(darkest, LASHES * float(skin[at_edge].mean(0) @ LUMA))
    skin *= (1 - EDGE_SHADE * np.exp(-np.maximum(above, 0) / 1.5))[..., None]
    line = np.where(above > -1.0, np.exp(-((above / LINE) ** 2)), 0.0)
    hanging = np.where(under > -0.5, 0.8 * np.exp(-((under / (1.4 * LINE)) ** 2)), 0.0)
    dark = np.where(above > under, line, hanging) * ease(places.inner / 4.0)
    cover = np.where(above > under, 1 - ease((above / places.room - 0.15) / 0.55), dark)
    cover = cover * ease((places.inner + 6.0) / 5.0) * ease(2 * places.free)
    painted = np.dstack([skin + (lash - skin) * dark[..., None], cover])
    out[part] = np.clip(painted * 255 + 0.5, 0, 255)


def _measure(
    photo: Photo,
    eye: Slit,
    brow: tuple[int, ...],
    rims: tuple[Rim, Rim] | None,
    places: Floats,
) -> _Places:
    """Where crop pixels [H, W, 2] lie."""
    q = eye.local(places)
    x, y = q[..., 0], q[..., 1]
    edge = eye.local(photo.marks[list(brow), :2])
    edge = edge[np.argsort(edge[:, 0])]
    high = np.interp(x, eye.x, eye.upper)
    inner = eye.half - np.abs(x)
    on_lid = (1 - ease((high - y - 2.0) / 2.0)) * ease(inner / 3.0)  # too near to be a rim
    return _Places(
        local=q / eye.half,
        above=high - y,
        under=y - np.interp(x, eye.x, eye.lower),
        room=np.maximum(high - np.interp(x, edge[:, 0], edge[:, 1]), 4.0),
        inner=inner,
        free=np.maximum(loose(places.reshape(-1, 2), rims).reshape(x.shape), on_lid),
    )


def _continue_skin(rgb: Floats, places: _Places) -> tuple[Floats, Floats]:
    """Skin all over RGB in 0..1 [H, W, 3], and its hue: colour over brightness [3]."""
    above, under = places.above, places.under
    light = np.log(rgb @ LUMA + _LEAST)
    around = (above > 1.5) & (above < 0.8 * places.room)
    around |= (under > 2.5) & (np.abs(places.local[..., 1]) < 1.25)
    around &= (np.abs(places.local[..., 0]) < 1.25) & (places.free > 0.5)
    close = (places.inner > 0) & (places.free > 0.5) & (under > 2.5) & (under < 0.6 * places.room)
    bound = float(np.quantile(light[close], BRIGHTEST)) if close.any() else 0.0
    level = np.minimum(_skin_level(light, places.local, around), bound)
    off = light - level
    share = ease((off - DARK[0]) / (DARK[1] - DARK[0])) * (1 - ease((off - GLARE) / 0.3)) * around
    plain = rgb[share > 0.7] if (share > 0.7).any() else rgb[around]
    hue = np.median((plain + _LEAST) / (plain @ LUMA + _LEAST)[:, None], 0)
    share, up = share[..., None], (above > 1.2) * 1.0
    near, known, shadow, seen = np.split(
        _spread(np.dstack([rgb * share, share, light * up, up])), (3, 4, 5), axis=2
    )
    skin = (near + _DOUBT * hue * np.exp(level)[..., None]) / (known + _DOUBT)
    bright = skin @ LUMA + _LEAST
    top = np.minimum(bright, np.exp(bound))
    lack = (shadow / np.maximum(seen, 1e-3))[..., 0] - np.log(top)
    lit = top * np.exp(SHADOW * np.clip(lack, -DEEPEST, 0.0) * (seen[..., 0] > 1e-3))
    own = skin / bright[..., None]
    skin = (OWN_HUE * own + (1 - OWN_HUE) * hue) * lit[..., None]
    return share * rgb + (1 - share) * skin, hue


def _spread(values: Floats) -> Floats:
    """Values [H, W, C], each pixel's shared out around it."""
    return np.asarray(cv2.GaussianBlur(values, (0, 0), SPREAD * FINE))


def _skin_level(light: Floats, local: Floats, around: NDArray[np.bool_]) -> Floats:
    """Log brightness of skin everywhere [H, W], a plane through that of skin ``around`` the eye."""
    known = np.dstack([np.ones(light.shape), local])
    use, plane = around, np.zeros(3)
    for _ in range(_ROUNDS):
        a, b = known[use], light[use]
        pull = len(b) * np.diag(_FLAT)
        plane = np.linalg.solve(a.T @ a + pull, a.T @ b)
        off = light - known @ plane
        use = around & (off > -0.12) & (off < 0.5)
    return np.asarray(known @ plane)
