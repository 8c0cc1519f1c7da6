"""Makes the generator that a worker's settings name, inside the process that will own it."""

from __future__ import annotations

from models.fake import FakeGenerator
from models.generator import Generator
from models.published import PUBLISHED, PublishedOptions
from server.worker.messages import WorkerConfig


def make_generator(config: WorkerConfig) -> Generator:
    """A warm generator; heavy imports happen here and nowhere else.

    Raises:
        WeightsError: the model's weights are missing or do not fit.
        LiveheadError: an option makes no sense.
        ValueError: no model has this name.
    """
    name = config.model
    if name == "fake":
        return FakeGenerator()
    if name in ("mini", *PUBLISHED):
        options = PublishedOptions(
            config.size,
            config.dtype,
            tuple(config.devices.split(",")),
            without_reference=config.without_reference,
        )
        from models.pipeline import load_generator

        return load_generator(
            name,
            weights=config.weights or None,
            threads=config.threads,
            plan=config.plan or None,
            engine=config.engine,
            options=options,
        )
    names = ", ".join(("mini", *PUBLISHED, "fake"))
    raise ValueError(f"expected a model out of {names}; got {name!r}; check --model")
