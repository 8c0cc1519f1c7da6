"""Full and accelerated sampling in turns, and the ratio of their operations."""

from __future__ import annotations

from collections import Counter
from itertools import accumulate
from typing import Any

import pytest
from torch import Tensor

from models.bench.cost import Costs
from models.commands.bench_speed import (
    SpeedTarget,
    make_speed_target,
    promised_ratio,
    time_sampling,
)
from models.commands.generator import load_diffusion_generator
from models.lightning.devices import make_replicas
from models.lightning.plan import full_plan, parse
from models.options import ModelOptions
from tests.support.small import small_checkpoint

pytestmark = pytest.mark.unit


def test_the_promise_is_that_of_the_steps_alone() -> None:
    key, light, everywhere = (Counter({("kind", 0): macs}) for macs in (100, 10, 20))
    costs = Costs(4, Counter({("kind", 0): 150}), key, light, everywhere, {"memory": 1000})
    assert promised_ratio(costs, parse("4:0+dfa")) == pytest.approx(400 / 130)
    assert promised_ratio(costs, parse("4:0")) == pytest.approx(400 / 160)
    assert promised_ratio(costs, full_plan(4)) == 1


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> SpeedTarget:
    folder = small_checkpoint("echomimic", tmp_path_factory.mktemp("echomimic"))
    options = ModelOptions("echomimic", weights=str(folder), threads=1, size=(64, 64), frames=4)
    return make_speed_target(load_diffusion_generator(options))


def test_a_chunk_has_the_frames_asked_for_and_the_portraits_own_face(target: SpeedTarget) -> None:
    assert target.z.shape == (1, 4, 4, 8, 8)
    assert 0 < target.share < 1


def test_plans_take_turns_and_medians_count(target: SpeedTarget) -> None:
    turns = (9, 1, 3, 1, 3, 8)  # plain, fast, plain, ...; the clock itself takes no time
    clock = accumulate(tick for turn in turns for tick in (0, turn))
    plans = {"plain": full_plan(2), "fast": parse("2:0+dfa")}
    times = time_sampling(target, plans, 3, lambda: float(next(clock)))
    assert times == {"plain": 3, "fast": 1}


def test_devices_share_what_is_timed(target: SpeedTarget, monkeypatch: pytest.MonkeyPatch) -> None:
    replicas = make_replicas(target.generator.pipeline.backbone, ["cpu", "cpu"])
    monkeypatch.setattr(target.generator, "replicas", tuple(replicas))
    ran: list[str] = []
    replica: Any = replicas[1].denoiser
    light = replica.light

    def watched(*args: Any, **named: Any) -> Tensor:
        ran.append("replica")
        predicted: Tensor = light(*args, **named)
        return predicted

    monkeypatch.setattr(replica, "light", watched)
    time_sampling(target, {"plain": full_plan(2), "fast": parse("3:0+parallel")}, 1)
    assert ran == ["replica"]
