"""Names a generator and makes it, inside the worker process that will own it."""

from __future__ import annotations

from models.fake import FakeGenerator
from models.generator import Generator


def make_generator(name: str, threads: int | None = None) -> Generator:
    """A warm generator by its setting's name; heavy imports happen here and nowhere else.

    Raises:
        WeightsError: the model's weights are missing or do not fit.
        ValueError: no model has this name.
    """
    if name == "fake":
        return FakeGenerator()
    if name == "mini":
        from models.diffusion import load_generator

        return load_generator(name, threads=threads)
    raise ValueError(f"expected the model mini or fake, got {name!r}; check --model")
