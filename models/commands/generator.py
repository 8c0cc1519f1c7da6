"""The generator that a command's model flags describe."""

from __future__ import annotations

import argparse
from typing import Any

from models.errors import LiveheadError
from models.generator import AnyGenerator
from models.io.console import warn
from models.options import RANDOM, ModelOptions, read_options
from models.pipeline import DiffusionGenerator
from models.registry import load_generator


def make_generator(args: argparse.Namespace) -> AnyGenerator:
    """The generator that the flags describe, warm; random weights are announced.

    Raises:
        WeightsError: weights are missing or do not fit.
        LiveheadError: an option makes no sense (``bad_option``, ``bad_plan``).
    """
    options = read_options(vars(args))
    if options.weights.startswith(RANDOM):
        warn("RANDOM WEIGHTS: the picture is noise; the times are those of the model")
    return load_generator(options)


def load_diffusion_generator(options: ModelOptions) -> DiffusionGenerator[Any, Any]:
    """As ``registry.load_generator``, of a model that samples.

    Raises:
        LiveheadError: the model samples nothing (``unknown_model``).
    """
    generator = load_generator(options)
    if not isinstance(generator, DiffusionGenerator):
        raise LiveheadError(
            f"expected a model that samples, got {options.model}", code="unknown_model"
        )
    return generator
