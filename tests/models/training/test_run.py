"""Training runs resume where they stopped, and their averages and rates are what they claim."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from models.training.run import ExponentialMovingAverage, TrainingRun, learning_rate

pytestmark = pytest.mark.unit


def make_run(folder: Path, minutes: float = 1e-4) -> TrainingRun:
    torch.manual_seed(0)
    module = nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(module.parameters(), 1e-2)
    return TrainingRun(
        folder, module, optimizer, ExponentialMovingAverage(module), peak=1e-2, minutes=minutes
    )


def take_step(run: TrainingRun) -> None:
    loss = run.module(torch.ones(4, 3)).pow(2).mean()
    run.optimizer_step(loss)
    run.log(loss=loss.item())


def test_average_moves_towards_the_weights_and_never_past_them() -> None:
    module = nn.Linear(2, 1, bias=False)
    nn.init.zeros_(module.weight)
    ema = ExponentialMovingAverage(module, decay=0.9)
    nn.init.ones_(module.weight)
    averages = []
    for _ in range(200):
        ema.update(module)
        averages.append(float(ema.state["weight"].mean()))
    assert averages == sorted(averages)
    assert 0.99 < averages[-1] <= 1.0


def test_learning_rate_warms_up_and_ends_at_two_per_cent() -> None:
    assert learning_rate(1.0, 0.0, 0) == pytest.approx(0.01)
    assert learning_rate(1.0, 0.0, 500) == pytest.approx(1.0)
    assert learning_rate(1.0, 1.0, 500) == pytest.approx(0.02)


def test_run_resumes_with_the_same_weights_optimiser_and_step(tmp_path: Path) -> None:
    first = make_run(tmp_path)
    for _ in range(5):
        take_step(first)
        first.step += 1
    first.save()
    second = make_run(tmp_path)
    assert second.resume()
    assert second.step == 5
    take_step(first)
    take_step(second)
    for a, b in zip(first.module.parameters(), second.module.parameters(), strict=True):
        assert torch.equal(a, b)


def test_run_without_checkpoint_says_so(tmp_path: Path) -> None:
    assert not make_run(tmp_path).resume()


def test_run_stops_after_its_minutes_and_leaves_a_curve(tmp_path: Path) -> None:
    run = make_run(tmp_path, minutes=0.01)
    for _ in run.steps("test", every=1):
        take_step(run)
    lines = [json.loads(line) for line in (tmp_path / "curve.jsonl").read_text().splitlines()]
    assert run.spent >= 0.6
    assert lines[-1]["loss"] < lines[0]["loss"]
    assert (tmp_path / "ema.pt").exists()
