"""Plain and accelerated sampling in turns, beside what operations promise."""

from __future__ import annotations

from collections import Counter
from itertools import accumulate
from typing import Any

import pytest
from torch import Tensor

from models.bench.cost import Costs
from models.commands.bench_speed import Subject, make_subject, promised, time_plans
from models.commands.generator import load_diffusion_generator
from models.lightning.devices import make_replicas
from models.lightning.plan import full_plan, parse
from models.options import ModelOptions
from tests.support.small import small_checkpoint

pytestmark = pytest.mark.unit


def test_the_promise_is_that_of_the_steps_alone() -> None:
    key, light, everywhere = (Counter({("kind", 0): macs}) for macs in (100, 10, 20))
    costs = Costs(4, Counter({("kind", 0): 150}), key, light, everywhere, {"memory": 1000})
    assert promised(costs, parse("4:0+dfa")) == pytest.approx(400 / 130)
    assert promised(costs, parse("4:0")) == pytest.approx(400 / 160)
    assert promised(costs, full_plan(4)) == 1


@pytest.fixture(scope="module")
def subject(tmp_path_factory: pytest.TempPathFactory) -> Subject:
    folder = small_checkpoint("echomimic", tmp_path_factory.mktemp("echomimic"))
    options = ModelOptions("echomimic", weights=str(folder), threads=1, size=64, frames=4)
    return make_subject(load_diffusion_generator(options))


def test_a_chunk_has_the_frames_asked_for_and_the_portraits_own_face(subject: Subject) -> None:
    assert subject.z.shape == (1, 4, 4, 8, 8)
    assert 0 < subject.share < 1


def test_plans_take_turns_and_medians_count(subject: Subject) -> None:
    turns = (9, 1, 3, 1, 3, 8)  # plain, fast, plain, ..., each after a reading that takes no time
    clock = accumulate(tick for turn in turns for tick in (0, turn))
    plans = {"plain": full_plan(2), "fast": parse("2:0+dfa")}
    times = time_plans(subject, plans, 3, lambda: float(next(clock)))
    assert times == {"plain": 3, "fast": 1}


def test_devices_share_what_is_timed(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    lanes = make_replicas(subject.generator.pipeline.backbone, ["cpu", "cpu"])
    monkeypatch.setattr(subject.generator, "lanes", tuple(lanes))
    ran: list[str] = []
    replica: Any = lanes[1].backbone
    tail = replica.tail

    def watched(*args: Any) -> Tensor:
        ran.append("replica")
        made: Tensor = tail(*args)
        return made

    monkeypatch.setattr(replica, "tail", watched)
    time_plans(subject, {"plain": full_plan(2), "fast": parse("3:0+parallel")}, 1)
    assert ran == ["replica"]
