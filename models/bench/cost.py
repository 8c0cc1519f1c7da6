"""What the published models cost: operations of every part, and the gain that a plan promises.

Everything is counted through the networks' own code on shapes alone. Three ways to run a step:

    published  as the publishers' code runs it, with work that it throws away (``waste.py``)
    key        the same result without that work: what Livehead runs at key steps
    light      conv_in, the last layer and the head, with attention on face tokens only (DFA)

The gain of a plan is T published steps over its K key steps and T - K light ones.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Protocol

from models.bench.flops import Label, by_kind, total
from models.errors import LiveheadError


@dataclass(frozen=True)
class Costs:
    """Operations of one chunk, in MAC.

    Attributes:
        frames: F of the chunk.
        published, key, light: of one step.
        plain_light: of a light step with attention everywhere.
        once: what runs once for a chunk or an identity, by name; what the publishers' code does
            again at every step is named in ``MOVED``.
    """

    frames: int
    published: Counter[Label]
    key: Counter[Label]
    light: Counter[Label]
    plain_light: Counter[Label]
    once: dict[str, int]


MOVED = ("reference keys", "face keys", "audio keys", "memory")
"""Of what runs once: what a published step holds, and a step of ours does not."""


@dataclass(frozen=True)
class Gain:
    """One plan's promise.

    Attributes:
        steps, keys: T and K.
        lightning: ratio with light steps that attend everywhere; lightning_dfa: on the face only.
        lean: what leaving out discarded and repeated work alone gives, all steps key steps.
    """

    steps: int
    keys: int
    lightning: float
    lightning_dfa: float
    lean: float


def gain(costs: Costs, steps: int, keys: int) -> Gain:
    """Plain published steps over those of a plan with ``keys`` key steps out of ``steps``."""
    plain = steps * total(costs.published)
    moved = sum(costs.once.get(what, 0) for what in MOVED)
    head, lights = moved + keys * total(costs.key), steps - keys
    return Gain(
        steps,
        keys,
        plain / (head + lights * total(costs.plain_light)),
        plain / (head + lights * total(costs.light)),
        plain / (moved + steps * total(costs.key)),
    )


class Probe(Protocol):
    """Counts one model."""

    def __call__(
        self, size: int, frames: int, share: float, without: frozenset[str] = frozenset()
    ) -> Costs:
        """Costs of one chunk.

        Args:
            size: pixels; frames: F; share: face tokens in all tokens.
            without: paths of transformers that, in our steps, do not read the reference.
        """
        ...


def probe(name: str) -> Probe:
    """The counter of one model.

    Raises:
        LiveheadError: no published model has this name (``unknown_model``).
    """
    from models.bench import probes

    if name not in probes.PROBES:
        raise LiveheadError(
            f"expected a published model out of {', '.join(probes.PROBES)}; got {name!r}",
            code="unknown_model",
        )
    return probes.PROBES[name]


def table(macs: Counter[Label]) -> list[list[object]]:
    """Rows for people: kind, GMAC at every level, and their sum."""
    return [
        [kind, *(f"{value / 1e9:.1f}" for value in values), f"{sum(values) / 1e9:.1f}"]
        for kind, values in by_kind(macs).items()
    ]
