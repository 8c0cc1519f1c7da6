"""Operations of the SD 1.5 models by part, and the ratio by which a step plan reduces them.

The networks run on the meta device under a counter. Four kinds of step:

    published  as in the publisher's code, including redundant work
    key        the same result without redundant work: a key step of Livehead
    light      conv_in, the last layer and the head
    light_dfa  the same with attention on face tokens only (DFA)

The gain of a plan is the cost of T published steps divided by that of K key and T - K light steps.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Protocol

from models.bench.flops import Label, by_kind, total


@dataclass(frozen=True)
class Costs:
    """Operations of one chunk, in MACs.

    Attributes:
        frames: F of the chunk.
        published, key, light_dfa, light: of one step.
        once: of what runs once for a chunk or an identity, by name; ``HOISTED`` names what the
            publisher's code repeats at every step.
    """

    frames: int
    published: Counter[Label]
    key: Counter[Label]
    light_dfa: Counter[Label]
    light: Counter[Label]
    once: dict[str, int]


HOISTED = ("reference keys", "face keys", "audio keys", "memory")
"""Keys of ``Costs.once`` that a published step computes again and a step of Livehead does not."""


@dataclass(frozen=True)
class Gain:
    """Ratios of operations, published over ours, of one plan.

    Attributes:
        steps, keys: T and K.
        lightning: with light steps that attend to all tokens.
        lightning_dfa: with light steps that attend to face tokens only.
        redundant: of key steps alone, which leave out redundant work.
    """

    steps: int
    keys: int
    lightning: float
    lightning_dfa: float
    redundant: float


def gain(costs: Costs, steps: int, keys: int) -> Gain:
    """Gain of a plan with ``keys`` key steps out of ``steps``."""
    published = steps * total(costs.published)
    hoisted = sum(costs.once.get(what, 0) for what in HOISTED)
    keys_cost, lights = hoisted + keys * total(costs.key), steps - keys
    return Gain(
        steps,
        keys,
        published / (keys_cost + lights * total(costs.light)),
        published / (keys_cost + lights * total(costs.light_dfa)),
        published / (hoisted + steps * total(costs.key)),
    )


class CostCounter(Protocol):
    """Counts the operations of one model."""

    def __call__(
        self, size: int, frames: int, share: float, without: frozenset[str] = frozenset()
    ) -> Costs:
        """Costs of one chunk.

        Args:
            size: of frames, pixels.
            frames: F.
            share: of face tokens in all tokens.
            without: paths of transformers that do not attend to the reference in our steps.
        """
        ...


def rows_by_kind(macs: Counter[Label]) -> list[list[object]]:
    """Table rows: kind, GMAC at every level, and their sum."""
    return [
        [kind, *(f"{value / 1e9:.1f}" for value in values), f"{sum(values) / 1e9:.1f}"]
        for kind, values in by_kind(macs).items()
    ]
