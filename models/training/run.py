"""What every training run shares: moving averages, learning rate, checkpoints and curves."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from models.errors import LiveheadError
from models.io.console import bar

AGAIN = 0.5
"""A training that begins with trained weights has this share of the usual peak learning rate."""

Origin = dict[str, Any]
"""What is recorded of the weights that a training began with: their sha256 and own training."""


@dataclass(frozen=True)
class Start:
    """Trained weights to begin with."""

    state: dict[str, torch.Tensor]
    origin: Origin


class Ema:
    """An exponential moving average of a module's state, with a warm-up of its decay."""

    def __init__(self, module: nn.Module, decay: float = 0.998) -> None:
        self.decay = decay
        self.updates = 0
        self.state = {k: v.detach().clone() for k, v in module.state_dict().items()}

    def update(self, module: nn.Module) -> None:
        """Move towards the module's present weights."""
        self.updates += 1
        rate = 1 - min(self.decay, 1 - 1 / (self.updates / 5 + 2))
        for key, value in module.state_dict().items():
            if value.dtype.is_floating_point:
                self.state[key].lerp_(value.detach(), rate)
            else:
                self.state[key].copy_(value)


def learning_rate(peak: float, fraction: float, step: int, *, warm: int = 100) -> float:
    """Linear warm-up over ``warm`` steps, then a cosine to 2 % of the peak at fraction 1."""
    return peak * min(1.0, (step + 1) / warm) * (0.02 + 0.49 * (1 + math.cos(math.pi * fraction)))


@dataclass
class Run:
    """One training run in a folder: ``last.pt`` to resume, ``ema.pt`` to use, ``curve.jsonl``.

    A run is as long as ``minutes`` of training time, summed over resumes; the learning rate
    follows that clock, so that the same recipe suits machines of any speed. Its ``origin`` is None
    if it began with random weights; otherwise it learns at the share ``AGAIN`` of ``peak``.
    """

    folder: Path
    module: nn.Module
    optimiser: torch.optim.Optimizer
    ema: Ema
    peak: float
    minutes: float
    origin: Origin | None = None
    step: int = 0
    spent: float = 0.0
    totals: dict[str, list[float]] = field(default_factory=dict)

    def begin(self, start: Start | None, *, resume: bool) -> None:
        """Go on where the folder's run stopped, else begin with ``start`` if given.

        Raises:
            LiveheadError: the run to go on with began with other weights than ``start``.
        """
        if start is not None:
            self.module.load_state_dict(start.state)
            self.ema = Ema(self.module, self.ema.decay)
            self.origin = start.origin
        if resume:
            self.resume()

    def resume(self) -> bool:
        """Continue from ``last.pt`` when there is one.

        Raises:
            LiveheadError: it did not begin with the weights of ``origin``.
        """
        path = self.folder / "last.pt"
        if not path.exists():
            return False
        state = torch.load(path, weights_only=True)
        if self.origin is not None and self.origin != state["origin"]:
            raise LiveheadError(
                f"the training in {self.folder} did not begin with these weights; leave --start"
                " out to go on with it, or give --restart or another --out",
                code="bad_option",
            )
        self.origin = state["origin"]
        self.module.load_state_dict(state["module"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.ema.state, self.ema.updates = state["ema"], state["updates"]
        self.step, self.spent = state["step"], state["spent"]
        return True

    def save(self) -> None:
        """Write both checkpoints; each appears whole or not at all."""
        self.folder.mkdir(parents=True, exist_ok=True)
        last = {
            "module": self.module.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "ema": self.ema.state,
            "updates": self.ema.updates,
            "step": self.step,
            "spent": self.spent,
            "origin": self.origin,
        }
        for name, state in (("last.pt", last), ("ema.pt", self.ema.state)):
            temporary = self.folder / (name + ".part")
            torch.save(state, temporary)
            temporary.replace(self.folder / name)

    def steps(self, label: str, *, every: int = 100, save_every: int = 500) -> Iterator[int]:
        """Yield step numbers until the time is spent; logs, saves and shows a progress bar."""
        peak = self.peak if self.origin is None else AGAIN * self.peak
        began, before = time.monotonic(), self.spent
        with bar(label, total=self.minutes, unit="min") as shown:
            shown.update(min(self.spent / 60, self.minutes))
            while self.spent < self.minutes * 60:
                rate = learning_rate(peak, self.spent / 60 / self.minutes, self.step)
                for group in self.optimiser.param_groups:
                    group["lr"] = rate
                yield self.step
                self.step += 1
                spent = before + time.monotonic() - began
                shown.update(min(spent, self.minutes * 60) / 60 - shown.n)
                self.spent = spent
                if self.step % every == 0:
                    shown.set_postfix(self.log(), refresh=False)
                if self.step % save_every == 0:
                    self.save()
        self.save()

    def descend(self, loss: torch.Tensor) -> None:
        """One optimiser step with clipped gradients, and the moving average after it."""
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.module.parameters(), 1.0)
        self.optimiser.step()
        self.ema.update(self.module)

    def note(self, **values: float) -> None:
        """Remember values of this step for the next line of the curve."""
        for key, value in values.items():
            self.totals.setdefault(key, []).append(value)

    def log(self, **extra: Any) -> dict[str, Any]:
        """Append the means since the last call to ``curve.jsonl`` and return them."""
        means = {key: round(sum(v) / len(v), 5) for key, v in self.totals.items() if v}
        self.totals.clear()
        self.folder.mkdir(parents=True, exist_ok=True)
        record = {"step": self.step, "minutes": round(self.spent / 60, 2), **means, **extra}
        with (self.folder / "curve.jsonl").open("a") as file:
            file.write(json.dumps(record) + "\n")
        return means
