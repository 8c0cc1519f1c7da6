"""What the trainings share: a resumable run with its EMA and curve, and results kept on disk."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from models.errors import LiveheadError
from models.io.console import bar

CPU = torch.device("cpu")
FINETUNE_LR_SCALE = 0.5
"""Scale of the peak learning rate of a run that starts from trained weights."""

Origin = dict[str, Any]
"""Provenance of the initial weights: their sha256 and the record of their own training."""


@dataclass(frozen=True)
class InitFrom:
    """Trained weights that a run starts from."""

    state: dict[str, torch.Tensor]
    origin: Origin


class ExponentialMovingAverage:
    """Exponential moving average of a module's state, with a warm-up of its decay."""

    def __init__(self, module: nn.Module, decay: float = 0.998) -> None:
        self.decay = decay
        self.updates = 0
        self.state = {k: v.detach().clone() for k, v in module.state_dict().items()}

    def update(self, module: nn.Module) -> None:
        """Move towards the module's weights."""
        self.updates += 1
        rate = 1 - min(self.decay, 1 - 1 / (self.updates / 5 + 2))
        averages, values = [], []
        for key, value in module.state_dict().items():
            if value.dtype.is_floating_point:
                averages.append(self.state[key])
                values.append(value.detach())
            else:
                self.state[key].copy_(value)
        torch._foreach_lerp_(averages, values, rate)  # on a GPU every call costs


def learning_rate(peak: float, fraction: float, step: int, *, warm: int = 100) -> float:
    """Linear warm-up over ``warm`` steps, then a cosine to 2 % of the peak at fraction 1."""
    return peak * min(1.0, (step + 1) / warm) * (0.02 + 0.49 * (1 + math.cos(math.pi * fraction)))


@dataclass
class TrainingRun:
    """One training run in a folder: ``last.pt`` to resume, ``ema.pt`` to use, ``curve.jsonl``.

    A run is as long as ``minutes`` of training time, summed over resumes; the learning rate
    follows that clock, so that the same recipe suits machines of any speed. ``origin`` is None if
    it started from random weights; otherwise ``peak`` is scaled by ``FINETUNE_LR_SCALE``.
    """

    folder: Path
    module: nn.Module
    optimizer: torch.optim.Optimizer
    ema: ExponentialMovingAverage
    peak: float
    minutes: float
    origin: Origin | None = None
    step: int = 0
    spent: float = 0.0
    pending: dict[str, list[float | torch.Tensor]] = field(default_factory=dict)

    @property
    def device(self) -> torch.device:
        """Where the module's weights are."""
        return next(self.module.parameters()).device

    def start(self, init: InitFrom | None, *, resume: bool) -> None:
        """Resume the folder's run if there is one, else start from ``init`` if given.

        Raises:
            LiveheadError: the run to resume started from other weights than ``init``.
        """
        if init is not None:
            self.module.load_state_dict(init.state)
            self.ema = ExponentialMovingAverage(self.module, self.ema.decay)
            self.origin = init.origin
        if resume:
            self.resume()

    def resume(self) -> bool:
        """Load ``last.pt`` if there is one, and say whether there was.

        Raises:
            LiveheadError: that run did not start from the weights of ``origin``.
        """
        path = self.folder / "last.pt"
        if not path.exists():
            return False
        state = torch.load(path, weights_only=True, map_location=self.device)
        if self.origin is not None and self.origin != state["origin"]:
            raise LiveheadError(
                f"the training in {self.folder} did not begin with these weights; leave --start"
                " out to go on with it, or give --restart or another --out",
                code="bad_option",
            )
        self.origin = state["origin"]
        self.module.load_state_dict(state["module"])
        self.optimizer.load_state_dict(state["optimiser"])
        self.ema.state, self.ema.updates = state["ema"], state["updates"]
        self.step, self.spent = state["step"], state["spent"]
        return True

    def save(self) -> None:
        """Write both checkpoints, each atomically."""
        self.folder.mkdir(parents=True, exist_ok=True)
        last = {
            "module": self.module.state_dict(),
            "optimiser": self.optimizer.state_dict(),
            "ema": self.ema.state,
            "updates": self.ema.updates,
            "step": self.step,
            "spent": self.spent,
            "origin": self.origin,
        }
        for name, state in (("last.pt", last), ("ema.pt", self.ema.state)):
            partial = self.folder / (name + ".part")
            torch.save(state, partial)
            partial.replace(self.folder / name)

    def steps(self, label: str, *, every: int = 100, save_every: int = 500) -> Iterator[int]:
        """Yield step numbers until the time is spent; log, save and show a progress bar."""
        peak = self.peak if self.origin is None else FINETUNE_LR_SCALE * self.peak
        started_at, spent_before = time.monotonic(), self.spent
        with bar(label, total=self.minutes, unit="min") as progress_bar:
            progress_bar.update(min(self.spent / 60, self.minutes))
            while self.spent < self.minutes * 60:
                lr = learning_rate(peak, self.spent / 60 / self.minutes, self.step)
                for group in self.optimizer.param_groups:
                    group["lr"] = lr
                yield self.step
                self.step += 1
                spent = spent_before + time.monotonic() - started_at
                progress_bar.update(min(spent, self.minutes * 60) / 60 - progress_bar.n)
                self.spent = spent
                if self.step % every == 0:
                    progress_bar.set_postfix(self.write_curve(), refresh=False)
                if self.step % save_every == 0:
                    self.save()
        self.save()

    def optimizer_step(self, loss: torch.Tensor) -> None:
        """Take one optimizer step with clipped gradients and update the EMA."""
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.module.parameters(), 1.0)
        self.optimizer.step()
        self.ema.update(self.module)

    def log(self, **values: float | torch.Tensor) -> None:
        """Log values of this step for the next line of the curve; tensors are read only then."""
        for key, value in values.items():
            self.pending.setdefault(key, []).append(
                value.detach() if isinstance(value, torch.Tensor) else value
            )

    def write_curve(self, **extra: Any) -> dict[str, Any]:
        """Append the means since the last call to ``curve.jsonl``; return them."""
        means = {key: round(sum(map(float, v)) / len(v), 5) for key, v in self.pending.items() if v}
        self.pending.clear()
        self.folder.mkdir(parents=True, exist_ok=True)
        record = {"step": self.step, "minutes": round(self.spent / 60, 2), **means, **extra}
        with (self.folder / "curve.jsonl").open("a") as file:
            file.write(json.dumps(record) + "\n")
        return means


def load_or_compute(
    path: Path, cache_key: str, compute: Callable[[], dict[str, Any]]
) -> dict[str, Any]:
    """Load what ``path`` holds if it was saved under ``cache_key``, else compute and save it."""
    if path.exists():
        stored = torch.load(path, weights_only=True)
        if isinstance(stored, dict) and stored.get("made_of") == cache_key:
            return stored
    result = {"made_of": cache_key, **compute()}
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".part")
    torch.save(result, partial)
    partial.replace(path)
    return result
