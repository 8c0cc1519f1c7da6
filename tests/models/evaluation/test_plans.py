"""Plans on the same inputs: the generator's own frames, distances, and times."""

from __future__ import annotations

import argparse
import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.commands import evaluate as command
from models.commands.generator import load_diffusion_generator
from models.dataset.clips import Clip, load_clip
from models.evaluation.eval_clip import generate, make_eval_clip
from models.evaluation.plans import distance, plan_name, prepare_inputs, run_plan, time_plans
from models.evaluation.tasks import EvalContext, compare_plans
from models.lightning.plan import full_plan, parse
from models.mini.config import MINI
from models.options import ModelOptions
from models.pipeline import DiffusionGenerator
from tests.support.puppet import write_clip
from tests.support.random_mini import random_mini

pytestmark = pytest.mark.unit

PLAN = parse("4:0,2+dfa")


@pytest.fixture(scope="module")
def generator(tmp_path_factory: pytest.TempPathFactory) -> DiffusionGenerator[Any, Any]:
    """``mini`` with random weights."""
    folder = random_mini(tmp_path_factory.mktemp("weights"), PLAN)
    return load_diffusion_generator(ModelOptions(weights=str(folder), threads=1))


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    """Ten frames: two chunks and a half."""
    return load_clip(write_clip(tmp_path_factory.mktemp("data"), "900", "held_out", frames=10))


def test_a_plan_makes_what_the_generator_makes(
    generator: DiffusionGenerator[Any, Any], clip: Clip
) -> None:
    identity = generator.prepare(clip.portrait)
    eval_clip = make_eval_clip(clip, 60.0)
    expected = generate(generator, identity, eval_clip, "test").windows
    output = run_plan(prepare_inputs(generator, identity, eval_clip), PLAN, eval_clip)
    assert output.latents.shape == (3, MINI.latent[0], 4, *MINI.latent[1:])
    assert np.array_equal(output.frames, expected)
    assert np.ptp(expected[:, 110:190, 80:180].astype(int), axis=0).max() > 20  # it moves


def test_distances_grow_with_fewer_steps(
    generator: DiffusionGenerator[Any, Any], clip: Clip
) -> None:
    identity = generator.prepare(clip.portrait)
    eval_clip = make_eval_clip(clip, 60.0)
    inputs = prepare_inputs(generator, identity, eval_clip)
    outputs = {steps: run_plan(inputs, full_plan(steps), eval_clip) for steps in (10, 5, 2)}
    same = distance(outputs[10], outputs[10], eval_clip)
    assert same == {"latent_rmse_10": 0.0, "psnr_mouth_10": math.inf}
    near, far = (distance(outputs[steps], outputs[10], eval_clip) for steps in (5, 2))
    assert 0 < near["latent_rmse_10"] < far["latent_rmse_10"]


def test_times_are_medians_per_frame(generator: DiffusionGenerator[Any, Any], clip: Clip) -> None:
    identity = generator.prepare(clip.portrait)
    eval_clip = make_eval_clip(clip, 60.0)
    inputs = prepare_inputs(generator, identity, eval_clip)
    ticks = itertools.count()
    plans = [full_plan(1), full_plan(2)]
    assert time_plans(inputs, plans, 4, clock=lambda: next(ticks) * 0.1) == pytest.approx([25, 25])


@pytest.mark.slow
def test_a_comparison_has_references_and_baselines(
    generator: DiffusionGenerator[Any, Any], clip: Clip
) -> None:
    compared = compare_plans(EvalContext(generator, None, 0.16, None), generator, [clip], [PLAN])
    (baselines,) = compared.baselines
    names = ["10", "30", str(PLAN), plan_name(baselines.equal_cost), plan_name(baselines.by_drift)]
    found = compared.metrics
    assert list(found) == list(dict.fromkeys(names))
    assert found[str(PLAN)]["latent_rmse_30"] > 0
    assert found[str(PLAN)]["ms_per_frame"] > 0
    assert found["10"]["latent_rmse_10"] == 0
    assert compared.role("10") == "reference"
    assert f"equal cost of {PLAN}" in compared.role(plan_name(baselines.equal_cost))
    assert f"{PLAN} placed by drift" in compared.role(plan_name(baselines.by_drift))


@pytest.mark.slow
def test_the_command_reports_the_baselines(
    generator: DiffusionGenerator[Any, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_clip(tmp_path, "900", "held_out", frames=8)
    monkeypatch.setattr(command, "make_generator", lambda _: generator)
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    words = ["--data", str(tmp_path), "--compare", str(PLAN), "2", "--seconds", "1", "--json"]
    assert command.run(parser.parse_args(words)) == 0
    lines = capsys.readouterr().out.splitlines()
    record = json.loads(lines[-1])
    (name,) = record["controls"]
    baselines = record["controls"][name]
    assert name == str(PLAN)
    assert {baselines["equal_cost"], baselines["placed_by_drift"], name, "2"} <= set(
        record["plans"]
    )
    assert baselines["key_ms"] > baselines["light_ms"] > 0
    assert lines[0].split()[:3] == ["plan", "keys", "light"]
    assert any(f"equal cost of {PLAN}" in line for line in lines)
