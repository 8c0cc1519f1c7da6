"""A published model, ready to generate: networks with values, in the family that drives them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from models.checkpoints.build import build_networks, model_module
from models.checkpoints.layout import LAYOUTS, check_folder
from models.checkpoints.load import load_networks, read_config
from models.checkpoints.random_init import randomise, seed_of
from models.errors import LiveheadError
from models.lightning.plan import StepPlan, parse
from models.pipeline import Pipeline
from models.published import RANDOM, PublishedOptions
from models.spec import PUBLISHED_PLANS, PUBLISHED_SPECS

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def load_pipeline(name: str, weights: str, options: PublishedOptions) -> tuple[Pipeline, StepPlan]:
    """The family of a published model and its own plan.

    Args:
        weights: the publisher's folder, or ``random:SEED``.

    Raises:
        WeightsError: a file or tensor is missing, extra, misshapen, truncated or foreign.
        LiveheadError: a device is not there (``bad_option``).
    """
    device, *_ = [_device(name) for name in options.devices]
    dtype = DTYPES[options.dtype or ("fp32" if device.type == "cpu" else "bf16")]
    folder = None if weights.startswith(RANDOM) else Path(weights)
    config: dict[str, Any] | None = None
    if folder is not None:
        check_folder(folder, name)
        config = read_config(folder)
    networks = build_networks(name, config, folder)
    if folder is None:
        randomise(networks, seed_of(weights), dtypes_of(name, dtype), device)
    else:
        load_networks(name, folder, networks, dtype, device)
    family = make_pipeline(name, networks, config, folder, options)
    return family, parse(PUBLISHED_PLANS[name])


def dtypes_of(name: str, dtype: torch.dtype) -> dict[str, torch.dtype]:
    """What each network computes in: audio encoders keep float32, as published."""
    return {part.network: torch.float32 if part.exact else dtype for part in LAYOUTS[name]}


def make_pipeline(
    name: str,
    networks: Mapping[str, nn.Module],
    config: Mapping[str, Any] | None,
    folder: Path | None,
    options: PublishedOptions,
) -> Pipeline:
    """The family around networks; each package's ``family.make`` knows what it needs of them."""
    module = model_module(name, "pipeline")
    spec = PUBLISHED_SPECS[name]
    cells = options.size // 8
    spec = replace(
        spec,
        latent=(spec.latent[0], cells, cells),
        chunk_frames=options.frames - spec.overlap if options.frames else spec.chunk_frames,
        without_reference=options.without_reference or spec.without_reference,
    )
    family: Pipeline = module.make(spec, networks, folder=folder, small=config is not None)
    return family


def _device(name: str) -> torch.device:
    """A device that is there.

    Raises:
        LiveheadError: it is not (``bad_option``).
    """
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise LiveheadError(
            f"expected a device that PyTorch finds, got {name!r}: {str(error).splitlines()[0]};"
            " check --devices",
            code="bad_option",
        ) from error
    return device
