"""How skin moves over the window when face units do: a few displacement maps per identity.

The portrait's own detail (pores, stubble) is carried along by them. The maps come from
the same landmarks' movement that training clips are made with, laid over a portrait's landmarks by
a thin-plate spline (Duchon 1977): f(x) = a + Bx + sum_i w_i U(|x - x_i|), U(r) = r^2 log r.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from models.face.geometry import fit_similarity
from models.face.window import SIDE
from models.mini.motion import EXPRESSION, MOUTH_UNITS

SKIN_MOTION = Path(__file__).with_name("skin_motion.npz")
UNITS = (*MOUTH_UNITS, "brow")
GRID = 32
SMOOTHING = 3.0
_JAW, _CLOSE = MOUTH_UNITS.index("jawOpen"), MOUTH_UNITS.index("mouthClose")
_BROW = EXPRESSION.index("brow")

Floats = NDArray[np.float32]


class SkinMotion:
    """Displacement maps of one identity."""

    def __init__(self, points: NDArray[np.floating], cover: Floats) -> None:
        """Compute once per identity.

        Args:
            points: landmarks [468, 3], window pixels; depth away from the camera.
            cover: where skin may move, float32 [h, w] in [0, 1].
        """
        moved = unit_moves(points)
        step = SIDE / GRID
        at = (np.arange(GRID) + 0.5) * step
        places = np.stack(np.meshgrid(at, at), -1).reshape(-1, 2)
        values = moved[..., :2].transpose(1, 0, 2).reshape(len(points), -1)
        maps = _spline(np.asarray(points[:, :2], float), values, places)
        weight = cv2.resize(cover, (GRID, GRID), interpolation=cv2.INTER_AREA).reshape(-1, 1)
        self._maps = (maps * weight).T.reshape(len(UNITS), 2 * GRID * GRID).astype(np.float32)

    def displacement(self, mouth: NDArray[np.floating], expression: NDArray[np.floating]) -> Floats:
        """How far skin that rests at a place has gone, window pixels, float32 [32, 32, 2].

        Args:
            mouth: [13], columns ``MOUTH_UNITS``; expression: [4], columns ``EXPRESSION``.
        """
        units = np.append(limit_close(mouth).astype(np.float32), np.float32(expression[_BROW]))
        moved: Floats = (units @ self._maps).reshape(2, GRID, GRID).transpose(1, 2, 0)
        return moved


def unit_moves(points: NDArray[np.floating]) -> NDArray[np.float64]:
    """How far each of ``UNITS`` takes each landmark of a face, [14, 468, 3].

    Args:
        points: landmarks [468, 3] of the neutral face; depth away from the camera, same scale.
    """
    with np.load(SKIN_MOTION) as archive:
        marks, moves = archive["marks"].astype(float), archive["moves"].astype(float)
    scale, turn, _ = fit_similarity(marks, points)
    moved: NDArray[np.float64] = scale * moves @ turn.T
    return moved


def limit_close(mouth: NDArray[np.floating]) -> NDArray[np.floating]:
    """Mouth units [..., 13] whose ``mouthClose`` undoes an open jaw, no more."""
    units = np.array(mouth)
    units[..., _CLOSE] = np.minimum(units[..., _CLOSE], units[..., _JAW])
    return units


def _spline(
    knots: NDArray[np.float64], values: NDArray[np.float64], places: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Smoothing thin-plate spline through values [N, D] at knots [N, 2], at places [M, 2]."""
    scale = 1.0 / SIDE
    knots, places = knots * scale, places * scale
    count = len(knots)
    system = np.zeros((count + 3, count + 3))
    system[:count, :count] = _kernel(knots, knots) + SMOOTHING * scale**2 * np.eye(count)
    affine = np.column_stack([np.ones(count), knots])
    system[:count, count:], system[count:, :count] = affine, affine.T
    weights = np.linalg.solve(system, np.concatenate([values, np.zeros((3, values.shape[1]))]))
    basis = np.column_stack([_kernel(places, knots), np.ones(len(places)), places])
    fitted: NDArray[np.float64] = basis @ weights
    return fitted


def _kernel(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    square = ((a[:, None] - b[None]) ** 2).sum(-1)
    kernel: NDArray[np.float64] = 0.5 * square * np.log(np.maximum(square, 1e-12))
    return kernel
