"""Gaussian prior per latent pixel: how far it may leave the reference, and v in those terms.

With the prior x ~ N(mu, q) per latent pixel, q = sigma^2, z = a x + s e and D = a^2 q + s^2, the
v-prediction splits into what the prior alone gives and a unit-variance rest that the network
learns:

    v = s (a (1 - q) z - mu) / D + sqrt(q / D) net

Where sigma is near zero (the background) the picture stays on the reference whatever the network
says. The network sees the state in the same terms: (z - a mu) / sqrt(D).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from models.mini.config import MiniSpec

MOUTH_SPREAD, EYE_SPREAD = (5.7, 5.1), (3.1, 2.6)
"""Of the bumps on mouth and eyes (x, y), latent pixels of the face window."""
COVERED = 0.05
"""Least cover of a latent pixel that may move."""


class Prior(NamedTuple):
    """``latent`` mu [B, 1, C, H, W] and ``sigma`` [B, 1, 1, H, W], float32."""

    latent: Tensor
    sigma: Tensor


def precondition(z: Tensor, a: Tensor, s: Tensor, anchor: Prior) -> Tensor:
    """The state as the network sees it, [B, F, C, H, W], about unit variance."""
    return (z - a * anchor.latent) * (a * a * anchor.sigma**2 + s * s).rsqrt()


def v_from_output(net: Tensor, z: Tensor, a: Tensor, s: Tensor, anchor: Prior) -> Tensor:
    """v-prediction [B, F, C, H, W] from the network's output; the equation above."""
    q = anchor.sigma**2
    d = a * a * q + s * s
    return s * (a * (1 - q) * z - anchor.latent) / d + (q / d).sqrt() * net


def sigma_map(mask: Tensor, mouth_xy: Tensor, eyes_xy: Tensor, spec: MiniSpec) -> Tensor:
    """Sigma per latent pixel [B, 1, H, W]: background pinned, face free, mouth and eyes freest.

    Args:
        mask: where skin may move, in [0, 1], [B, H, W] at latent resolution.
        mouth_xy: mouth centre, [B, 2], latent pixels (x right, y down).
        eyes_xy: both eye centres, [B, 4], latent pixels.
    """
    rise = spec.sigma_mouth - spec.sigma_face
    mouth = gaussian(mouth_xy, mask.shape[1:], MOUTH_SPREAD)
    eyes = torch.maximum(
        gaussian(eyes_xy[:, :2], mask.shape[1:], EYE_SPREAD),
        gaussian(eyes_xy[:, 2:], mask.shape[1:], EYE_SPREAD),
    )
    face = spec.sigma_face + rise * torch.maximum(mouth, eyes)
    return torch.where(mask[:, None] > COVERED, face, torch.full_like(face, spec.sigma_background))


def geometry_planes(mask: Tensor, mouth_xy: Tensor, eyes_xy: Tensor) -> Tensor:
    """Constant inputs [B, 5, H, W]: mask, mouth, eyes, and coordinates relative to the face.

    Coordinates are in units of the distance between eyes and mouth, from the middle of the two, so
    that a shift or zoom of the portrait moves them along.
    """
    height, width = mask.shape[1:]
    eyes = (eyes_xy[:, :2] + eyes_xy[:, 2:]) / 2
    centre, unit = (eyes + mouth_xy) / 2, (mouth_xy - eyes).norm(dim=1).clamp(min=1.0)
    y, x = _grid(height, width, mask)
    relative_x = ((x - centre[:, 0, None, None]) / unit[:, None, None] / 2).expand(mask.shape)
    relative_y = ((y - centre[:, 1, None, None]) / unit[:, None, None] / 2).expand(mask.shape)
    both = torch.maximum(
        gaussian(eyes_xy[:, :2], (height, width), EYE_SPREAD),
        gaussian(eyes_xy[:, 2:], (height, width), EYE_SPREAD),
    )
    mouth = gaussian(mouth_xy, (height, width), MOUTH_SPREAD)
    return torch.cat([mask[:, None], mouth, both, relative_x[:, None], relative_y[:, None]], dim=1)


def gaussian(xy: Tensor, size: tuple[int, ...], spread: tuple[float, float]) -> Tensor:
    """A Gaussian bump [B, 1, H, W] of height 1 at ``xy`` [B, 2], spread (x, y) in latent pixels."""
    y, x = _grid(size[0], size[1], xy)
    dx, dy = x - xy[:, 0, None, None], y - xy[:, 1, None, None]
    return torch.exp(-((dx / spread[0]) ** 2) - (dy / spread[1]) ** 2)[:, None]


def _grid(height: int, width: int, like: Tensor) -> tuple[Tensor, Tensor]:
    y = torch.arange(height, dtype=like.dtype, device=like.device) + 0.5
    x = torch.arange(width, dtype=like.dtype, device=like.device) + 0.5
    return y[None, :, None], x[None, None, :]
