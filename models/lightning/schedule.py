"""The noise schedule and the DDIM step, as plain functions of tensors.

z = a x + s e with a^2 + s^2 = 1 (``a`` signal, ``s`` noise); the network predicts v = a e - s x.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from models.spec import ScheduleSpec


class Schedule(NamedTuple):
    """Signal and noise amplitudes by training step, float32 [train_steps]."""

    a: Tensor
    s: Tensor


def make_schedule(spec: ScheduleSpec) -> Schedule:
    """Amplitudes of a linear beta schedule, optionally rescaled to zero terminal SNR."""
    betas = torch.linspace(spec.beta_start, spec.beta_end, spec.train_steps, dtype=torch.float64)
    a = torch.cumprod(1 - betas, 0).sqrt()
    if spec.zero_terminal_snr:
        a = (a - a[-1]) * a[0] / (a[0] - a[-1])
    return Schedule(a.float(), (1 - a * a).clamp(min=0).sqrt().float())


def trailing_steps(train_steps: int, steps: int) -> list[int]:
    """Training steps visited by T trailing sampling steps: T - 1 spacings below the last one."""
    return [round(train_steps - i * train_steps / steps) - 1 for i in range(steps)]


def split(z: Tensor, v: Tensor, a: float, s: float) -> tuple[Tensor, Tensor]:
    """Clean latents x and noise e from state and v-prediction: x = a z - s v, e = a v + s z."""
    return a * z - s * v, a * v + s * z


def ddim(x: Tensor, e: Tensor, a_next: float, s_next: float) -> Tensor:
    """The deterministic step: z' = a' x + s' e (DDIM, arXiv 2010.02502, eq. 12 with sigma = 0)."""
    return a_next * x + s_next * e
