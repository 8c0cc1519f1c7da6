"""Dataclasses of tensors as trees: one function applied to every tensor in them.

The only module that imports ``torch.utils._pytree``, which is semi-private.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils import _pytree

T = TypeVar("T")


def register(cls: type[T]) -> type[T]:
    """Class decorator: a dataclass whose fields, in order, are the branches of a tree."""
    _pytree.register_dataclass(cls)
    return cls


def map_tensors(f: Callable[..., Tensor], tree: T, *others: T) -> T:
    """Apply ``f`` to the tensors at the same place of all trees.

    What is no tensor comes from the first tree.

    Raises:
        ValueError: the trees have different forms.
    """

    def apply(first: Any, *rest: Any) -> Any:
        return f(first, *rest) if isinstance(first, Tensor) else first

    mapped: T = _pytree.tree_map(apply, tree, *others)
    return mapped


def to_device(tree: T, device: torch.device) -> T:
    """The same tree with its tensors on ``device``."""
    return map_tensors(lambda value: value.to(device, non_blocking=True), tree)
