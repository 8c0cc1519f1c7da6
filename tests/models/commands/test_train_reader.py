"""`livehead train reader` trains on a pool and keeps the normalisation that a denoiser knows."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from models.commands import train as command
from models.errors import LiveheadError
from models.lightning.plan import parse
from models.mini.checkpoint import load_mini_networks
from models.mini.mouth import BlendshapeRegressor
from server.cli import main
from tests.support.random_mini import random_mini
from tests.support.spoken import write_pool

pytestmark = pytest.mark.unit


def train(pool: Path, out: Path, *more: str | Path) -> dict[str, Tensor]:
    """The state of a reader that was trained for two steps."""
    words = ("train", "reader", "--speech", pool, "--out", out, "--steps", 2, "--threads", 1, *more)
    assert main([str(word) for word in words]) == 0
    state: dict[str, Tensor] = torch.load(out / "reader.pt", weights_only=True)
    BlendshapeRegressor().load_state_dict(state)  # strict
    return state


def test_it_normalises_as_the_weights_it_starts_with_and_then_as_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pool = write_pool(tmp_path / "pool", 0, 1, 900)
    weights = random_mini(tmp_path / "weights", parse("2:0"))
    out = tmp_path / "run"
    measured = train(pool, tmp_path / "alone")
    started = train(pool, out, "--start", weights)
    told = load_mini_networks(weights).reader
    assert torch.equal(started["mean"], told.mean) and torch.equal(started["std"], told.std)
    assert not torch.equal(measured["mean"], told.mean)

    torch.save(measured, out / "reader.pt")  # as `train mini` leaves one
    kept = train(pool, out)
    assert torch.equal(kept["mean"], measured["mean"]) and torch.equal(kept["std"], measured["std"])
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert set(said) >= {"correlation", "mean_correlation", "amplitude_percent", "closure_percent"}


@pytest.mark.parametrize(
    ("numbers", "more", "says"),
    [
        ((0,), (), r"\(held_out\)"),
        ((900,), (), r"\(train\)"),
        ((0, 900), ("--steps", "0"), "some steps, got --threads 1 --steps 0"),
    ],
)
def test_refusals_say_what_to_do(
    tmp_path: Path, numbers: tuple[int, ...], more: tuple[str, ...], says: str
) -> None:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    write_pool(tmp_path / "pool", *numbers)
    places = ("--speech", str(tmp_path / "pool"), "--out", str(tmp_path / "run"))
    with pytest.raises(LiveheadError, match=says):
        command.run(parser.parse_args(["reader", *places, "--threads", "1", *more]))
