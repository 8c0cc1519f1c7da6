"""Makes the generator that a worker's settings name, inside the process that will own it."""

from __future__ import annotations

from models.generator import AnyGenerator
from models.options import ModelOptions
from models.registry import load_generator
from server.worker.messages import WorkerConfig


def make_generator(config: WorkerConfig) -> AnyGenerator:
    """A warm generator; heavy imports happen here and nowhere else.

    Raises:
        WeightsError: the model's weights are missing or do not fit.
        LiveheadError: an option makes no sense.
    """
    return load_generator(
        ModelOptions(
            model=config.model,
            weights=config.weights,
            plan=config.plan,
            engine=config.engine,
            threads=config.threads or 0,
            size=config.size,
            dtype=config.dtype,
            devices=tuple(config.devices.split(",")),
            without_reference=config.without_reference,
        )
    )
