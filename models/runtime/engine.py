"""The engine protocol: compiles a network of fixed weights and, mostly, fixed input shapes."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from torch import Tensor, nn


class Program(Protocol):
    """A compiled network; not to be called from two threads at once."""

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Run it; outputs are float32 and belong to the caller."""
        ...


class Engine(Protocol):
    """Compiles networks whose inputs and outputs are plain tuples of tensors.

    Attributes:
        name: for records and logs.
    """

    name: str

    def compile(
        self,
        module: nn.Module,
        example: tuple[Tensor, ...],
        free: Collection[tuple[int, int]] = (),
    ) -> Program:
        """Compile a float32 module.

        Args:
            example: inputs of the shapes to come.
            free: (input, axis) pairs whose length may differ from the example's.
        """
        ...
