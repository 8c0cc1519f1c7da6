"""Loads a model on the Stable Diffusion 1.5 UNet: networks with values, in its pipeline."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import nn

from models.checkpoints.build import build_networks
from models.checkpoints.layout import check_folder
from models.checkpoints.load import load_networks, read_config
from models.checkpoints.random_init import randomise, seed_of
from models.errors import LiveheadError, WeightsError
from models.lightning.devices import make_replicas
from models.lightning.plan import parse
from models.options import RANDOM, ModelOptions
from models.pipeline import AnyPipeline, DiffusionGenerator
from models.runtime.choose import prepare_engine
from models.sd15.compiled import compile_backbone
from models.sd15.config import SD15Card

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def load_generator(card: SD15Card, options: ModelOptions) -> DiffusionGenerator[Any, Any]:
    """The model with the replicas that its devices make.

    Raises:
        WeightsError: a file or tensor is missing, extra, misshapen, truncated or foreign.
        LiveheadError: a device is not there (``bad_option``).
        PlanError: the plan is none, or its light steps wait for each other on several devices.
    """
    if not options.weights:
        raise WeightsError(
            f"expected --weights with the folder of {card.name}'s publisher, or random:SEED, got"
            " none; docs/published-weights.md says what is in it",
            code="missing_weights",
        )
    prepare_engine("eager", options.threads or None)
    pipeline = load_pipeline(card, options)
    plan, several = parse(options.plan or card.plan), len(options.devices) > 1
    if several and not options.plan:  # light steps that wait for each other leave nothing to share
        plan = plan.at_once()
    replicas = make_replicas(pipeline.backbone, options.devices) if several else []
    if options.engine == "compiled":
        compile_backbone(pipeline.backbone, replicas)
    return DiffusionGenerator(pipeline, plan, replicas=replicas)


def load_pipeline(card: SD15Card, options: ModelOptions) -> AnyPipeline:
    """The pipeline around the publisher's weights, or random ones.

    Raises:
        WeightsError: a file or tensor is missing, extra, misshapen, truncated or foreign.
        LiveheadError: a device is not there (``bad_option``).
    """
    device, *_ = [_device(name) for name in options.devices]
    dtype = DTYPES[options.dtype or ("fp32" if device.type == "cpu" else "bf16")]
    folder = None if options.weights.startswith(RANDOM) else Path(options.weights)
    config: dict[str, Any] | None = None
    if folder is not None:
        check_folder(folder, card.name, card.files)
        config = read_config(folder)
    networks = build_card_networks(card, config, folder)
    if folder is None:
        randomise(networks, seed_of(options.weights), dtypes_of(card, dtype), device)
    else:
        load_networks(folder, card.files, networks, dtype, device)
    return make_pipeline(card, networks, config, folder, options)


def build_card_networks(
    card: SD15Card, config: Mapping[str, Any] | None = None, folder: Path | None = None
) -> dict[str, nn.Module]:
    """All networks of a card on the meta device; see ``checkpoints.build.build_networks``."""
    own = import_module(card.networks).networks
    return build_networks(card.name, own, card.files, config, folder)


def dtypes_of(card: SD15Card, dtype: torch.dtype) -> dict[str, torch.dtype]:
    """What each network computes in: audio encoders keep float32, as published."""
    return {file.network: torch.float32 if file.fp32 else dtype for file in card.files}


def make_pipeline(
    card: SD15Card,
    networks: Mapping[str, nn.Module],
    config: Mapping[str, Any] | None,
    folder: Path | None,
    options: ModelOptions,
) -> AnyPipeline:
    """The pipeline around networks; the card's module knows what it needs of them."""
    spec, side = card.spec, options.size[0] // 8
    spec = replace(
        spec,
        latent=(spec.latent[0], side, side),
        chunk_frames=options.frames - spec.overlap if options.frames else spec.chunk_frames,
        without_reference=options.without_reference or spec.without_reference,
    )
    pipeline: AnyPipeline = import_module(card.pipeline).make(
        spec, networks, options, folder=folder, small=config is not None
    )
    return pipeline


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
