"""Step plans: which sampling steps are key steps, and how light steps follow them; plus their cost.

A plan is data. Steps are numbered 0 .. T - 1 in sampling order; every group is one key step and the
light steps that share its cache.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import PlanError

MAX_STEPS = 1000
"""As many as any of the models has noise levels."""
_WRITTEN = re.compile(
    r"(?P<steps>\d+)(:(?P<keys>\d+(,\d+)*))?(?P<flags>(\+(dfa|parallel|from\d+))*)"
)


@dataclass(frozen=True)
class StepPlan:
    """How T steps are run.

    Attributes:
        steps: T.
        keys: indices of key steps, ascending, the first one 0.
        parallel: light steps of a group are predicted in one batch from estimated inputs; else one
            after another from the real ones.
        estimate_from: parallel light steps whose key step is before this index all take the state
            after the key step as their input; from it on, inputs are estimated (t_thresh).
        foreground: light steps attend over face tokens only (DFA).
    """

    steps: int
    keys: tuple[int, ...]
    parallel: bool = False
    estimate_from: int = 0
    foreground: bool = False

    def __post_init__(self) -> None:
        if self.steps < 1 or not self.keys or self.keys[0] != 0:
            raise PlanError(
                f"expected at least one step and keys that begin with 0, got {self}",
                code="bad_plan",
            )
        if list(self.keys) != sorted(set(self.keys)) or self.keys[-1] >= self.steps:
            raise PlanError(
                f"keys must ascend and stay below {self.steps}, got {self.keys}", code="bad_plan"
            )

    @property
    def groups(self) -> tuple[tuple[int, ...], ...]:
        """Steps grouped by key: each group is (key, light, light, ...)."""
        ends = (*self.keys[1:], self.steps)
        return tuple(tuple(range(k, end)) for k, end in zip(self.keys, ends, strict=True))

    @property
    def light_steps(self) -> int:
        """Number of steps that run the last layer only."""
        return self.steps - len(self.keys)

    def cost(self, full: float, light: float) -> float:
        """K full + (T - K) light, in whatever unit the two are given."""
        return len(self.keys) * full + self.light_steps * light

    def at_once(self) -> StepPlan:
        """The same keys with light steps predicted at once, estimated from a quarter of the way on.

        Published for 40 steps: predictions before the tenth are not steady enough to extrapolate.
        """
        return replace(self, parallel=True, estimate_from=self.steps // 4)

    def to_json(self) -> dict[str, Any]:
        """A record that JSON can hold, the inverse of ``from_json``."""
        return {
            "steps": self.steps,
            "keys": list(self.keys),
            "parallel": self.parallel,
            "estimate_from": self.estimate_from,
            "foreground": self.foreground,
        }

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> StepPlan:
        """Read what ``to_json`` wrote.

        Raises:
            PlanError: an unknown or missing field.
        """
        try:
            return cls(**{**record, "keys": tuple(record["keys"])})
        except (TypeError, KeyError) as error:
            raise PlanError(
                f"expected the fields of a step plan, got {json.dumps(record)}", code="bad_plan"
            ) from error

    def __str__(self) -> str:
        """As it is written on command lines: ``10:0,4,8+dfa``; ``parse`` is the inverse."""
        flags = "+parallel" * self.parallel + "+dfa" * self.foreground
        since = f"+from{self.estimate_from}" if self.estimate_from else ""
        return f"{self.steps}:{','.join(map(str, self.keys))}{flags}{since}"


def full_plan(steps: int) -> StepPlan:
    """Every step a key step: full sampling."""
    return StepPlan(steps, tuple(range(steps)))


def parse(text: str) -> StepPlan:
    """A plan from a command line: ``10`` (every step a key), ``10:0,4,8+dfa+parallel+from4``.

    Raises:
        PlanError: the text is not a plan.
    """
    match = _WRITTEN.fullmatch(text.strip())
    if not match:
        raise PlanError(
            f"expected a plan like 10:0,4,8+dfa (steps, key steps, and any of +dfa, +parallel,"
            f" +from4), got {text!r}",
            code="bad_plan",
        )
    flags = match["flags"].split("+")
    since = [int(flag.removeprefix("from")) for flag in flags if flag.startswith("from")]
    steps = int(match["steps"])
    if steps > MAX_STEPS:
        raise PlanError(f"expected at most {MAX_STEPS} steps, got {steps}", code="bad_plan")
    keys = tuple(map(int, match["keys"].split(","))) if match["keys"] else tuple(range(steps))
    return StepPlan(
        steps,
        keys,
        parallel="parallel" in flags,
        estimate_from=max(since, default=0),
        foreground="dfa" in flags,
    )


def uniform(steps: int, keys: int) -> StepPlan:
    """``keys`` key steps spread evenly, the first one at 0."""
    return StepPlan(steps, tuple(sorted({k * steps // keys for k in range(keys)})))


def placed_by_drift(drift: NDArray[np.float64] | Sequence[Sequence[float]], keys: int) -> StepPlan:
    """The plan that minimises the summed drift between light steps and their key step.

    Args:
        drift: [T, T]; ``drift[k, j]`` is how far the cached feature at step j has moved from k.
        keys: number of key steps, 1 .. T.

    Raises:
        PlanError: the matrix is not square or there are not so many steps.

    A small dynamic programme: best[n][j] over "n groups cover the first j steps".
    """
    d = np.asarray(drift, dtype=np.float64)
    steps = len(d)
    if d.shape != (steps, steps) or not 1 <= keys <= steps:
        raise PlanError(
            f"expected a square drift matrix and at most as many keys as steps, got {d.shape}"
            f" and {keys} keys",
            code="bad_plan",
        )
    group = np.full((steps, steps + 1), np.inf)  # group[k, j]: key k covers k .. j - 1
    for k in range(steps):
        group[k, k + 1 :] = np.cumsum(d[k, k:]) - d[k, k]
    best = np.full((keys + 1, steps + 1), np.inf)
    best[0, 0] = 0.0
    origin = np.zeros((keys + 1, steps + 1), dtype=int)
    for n in range(1, keys + 1):
        for j in range(n, steps + 1):
            totals = best[n - 1, :j] + group[:j, j]
            origin[n, j] = int(np.argmin(totals))
            best[n, j] = totals[origin[n, j]]
    chosen, j = [], steps
    for n in range(keys, 0, -1):
        j = int(origin[n, j])
        chosen.append(j)
    return StepPlan(steps, tuple(reversed(chosen)))


def placed_to_the_end(drift: NDArray[np.float64], keys: int) -> StepPlan:
    """As ``placed_by_drift``, with a key at the last step too.

    Background outputs that foreground attention reuses drift most in the last steps.

    Args:
        drift: [T, T]; keys: 2 .. T.

    Raises:
        PlanError: see ``placed_by_drift``.
    """
    d = np.asarray(drift, dtype=np.float64)
    before = placed_by_drift(d[:-1, :-1], keys - 1)
    return StepPlan(before.steps + 1, (*before.keys, before.steps))


def same_cost(plan: StepPlan, full: float, light: float) -> StepPlan:
    """Full sampling at the cost nearest to ``plan``'s: its fair baseline."""
    return full_plan(max(1, round(plan.cost(full, light) / full)))


def describe(plans: Iterable[StepPlan], full: float, light: float) -> list[list[object]]:
    """Rows (plan, keys, light steps, cost in full steps) for a table."""
    return [[str(p), len(p.keys), p.light_steps, p.cost(full, light) / full] for p in plans]
