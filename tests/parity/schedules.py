"""The schedule of a directory's runs, from the scheduler arguments that its configuration gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from models.errors import WeightsError
from models.sd15.config import DDIM_ZERO_SNR
from models.spec import ScheduleSpec

# What the published DDIM is beside its numbers; nothing else is built.
_FIXED: dict[str, Any] = {
    "beta_schedule": "linear",
    "clip_sample": False,
    "prediction_type": "v_prediction",
    "timestep_spacing": "trailing",
    "set_alpha_to_one": True,
    "thresholding": False,
    "trained_betas": None,
}


def ddim(arguments: Mapping[str, Any]) -> ScheduleSpec:
    """From the arguments of diffusers' ``DDIMScheduler``; what is left out is as published.

    Raises:
        WeightsError: they describe a scheduler that the published models do not have.
    """
    for name, value in _FIXED.items():
        if arguments.get(name, value) != value:
            raise WeightsError(
                f"expected a scheduler with {name} {value!r}, got {arguments[name]!r}; the"
                " published models run no other",
                code="bad_weights",
            )
    known = DDIM_ZERO_SNR
    return replace(
        known,
        train_steps=int(arguments.get("num_train_timesteps", known.train_steps)),
        beta_start=float(arguments.get("beta_start", known.beta_start)),
        beta_end=float(arguments.get("beta_end", known.beta_end)),
        zero_terminal_snr=bool(arguments.get("rescale_betas_zero_snr", known.zero_terminal_snr)),
    )
