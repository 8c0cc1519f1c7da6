"""Trees of tensors: what is mapped, what stays, and that forms must agree."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from models.lightning.pytree import map_tensors, register, to_device
from models.nn.attention import KeyValue

pytestmark = pytest.mark.unit


@register
@dataclass(frozen=True, kw_only=True)
class Tree:
    name: str
    kv: dict[str, KeyValue]
    levels: tuple[Tensor, ...]
    index: Tensor | None = None


def tree(name: str, value: float, levels: int = 2) -> Tree:
    one = torch.full((1, 2), value)
    return Tree(name=name, kv={"a": KeyValue(one, -one)}, levels=(one,) * levels)


def test_tensors_are_mapped_at_every_depth_and_the_rest_is_the_first_trees() -> None:
    joined = map_tensors(lambda *parts: torch.cat(parts), tree("x", 1.0), tree("y", 2.0))
    assert joined.name == "x" and joined.index is None
    assert isinstance(joined.kv["a"], KeyValue)
    assert joined.kv["a"].value.tolist() == [[-1.0, -1.0], [-2.0, -2.0]]
    assert [level.shape for level in joined.levels] == [(2, 2), (2, 2)]


def test_trees_of_different_forms_are_refused() -> None:
    with pytest.raises(ValueError, match="mismatch"):
        map_tensors(lambda *parts: torch.cat(parts), tree("x", 1.0), tree("y", 2.0, levels=3))


def test_a_tree_moves_to_a_device() -> None:
    moved = to_device(tree("x", 1.0), torch.device("meta"))
    assert moved.kv["a"].key.is_meta and all(level.is_meta for level in moved.levels)
