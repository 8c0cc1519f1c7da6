"""``mini`` run by an engine gives what ``mini`` gives, whoever multiplies."""

from __future__ import annotations

import sys

import pytest
import torch

from models.errors import CacheError, LiveheadError
from models.lightning.plan import parse
from models.lightning.sampler import Sampler
from models.mini.compiled import CompiledMini
from models.runtime.choose import choose_engine
from models.runtime.openvino import OpenVinoEngine, is_installed
from tests.support.tiny import (
    TINY,
    Interpreter,
    largest_difference,
    start,
    tiny_condition,
    tiny_net,
    with_foreground,
)

pytestmark = pytest.mark.unit

T = torch.tensor([640])
installed = pytest.mark.skipif(not is_installed(), reason="needs livehead[openvino]")


def test_it_is_the_network_it_was_made_of() -> None:
    net, engine = tiny_net(fused=True), Interpreter()
    compiled = CompiledMini(tiny_net(), engine)
    cond, same = tiny_condition(net), tiny_condition(compiled.net)
    expected, kept = net.full(start(), T, cond, keep=True)
    got, cached = compiled.full(start(), T, same, keep=True)
    assert largest_difference(got, expected) < 1e-6
    assert cached.identity_ids == kept.identity_ids
    light = net.light(kept, start(1), T - 100, cond)
    assert largest_difference(compiled.light(cached, start(1), T - 100, same), light) < 1e-6
    assert engine.compiled == ["FullBody", "ForegroundBody"]


def test_programs_are_compiled_once_and_only_those_needed() -> None:
    engine = Interpreter()
    compiled = CompiledMini(tiny_net(), engine)
    cond = tiny_condition(compiled.net)
    Sampler(TINY.schedule, parse("6:0,3"))(compiled, start(), cond)
    assert engine.compiled == ["FullBody", "LightBody"]
    sampler = Sampler(TINY.schedule, parse("6:0,3+dfa"))
    for head in (2, 3, 5):  # faces of other sizes
        sampler(compiled, start(), tiny_condition(compiled.net, head=head))
    assert engine.compiled == ["FullBody", "LightBody", "ForegroundBody"]


@pytest.mark.parametrize("plan", ["3", "6:0,3", "6:0,3+dfa", "6:0,3+dfa+parallel"])
def test_batches_run_row_by_row(plan: str) -> None:
    net, compiled = tiny_net(fused=True), CompiledMini(tiny_net(), Interpreter())
    conditions = [tiny_condition(net, n, head=3 + 2 * n) for n in range(2)]
    z = start(batch=2)
    expected = Sampler(TINY.schedule, parse(plan))(net, z, net.collate(conditions))
    got = Sampler(TINY.schedule, parse(plan))(compiled, z, compiled.collate(conditions))
    assert largest_difference(got, expected) < 1e-4


def test_it_refuses_foreign_caches_too() -> None:
    compiled = CompiledMini(tiny_net(), Interpreter())
    ada = tiny_condition(compiled.net, 0, identity_id="ada")
    bob = tiny_condition(compiled.net, 1, identity_id="bob")
    _, cached = compiled.full(start(), T, ada)
    with pytest.raises(CacheError):
        compiled.light(cached, start(), T, bob)


def test_an_unknown_engine_is_refused_and_pytorch_needs_none() -> None:
    assert choose_engine("eager", 1, torch.float32) is None
    with pytest.raises(LiveheadError) as caught:
        choose_engine("abacus", 1, torch.float32)
    assert caught.value.code == "bad_option"


@pytest.mark.skipif(is_installed(), reason="openvino is installed")
def test_an_engine_that_is_not_installed_says_how_to_get_it() -> None:
    assert choose_engine("auto", 1, torch.float32) is None
    with pytest.raises(LiveheadError, match="livehead\\[openvino\\]") as caught:
        choose_engine("openvino", 1, torch.float32)
    assert caught.value.code == "missing_engine"


@installed
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-4), (torch.bfloat16, 0.05)])
def test_openvino_computes_the_same(dtype: torch.dtype, bound: float) -> None:
    net = tiny_net(fused=True)
    compiled = CompiledMini(tiny_net(), OpenVinoEngine(1, dtype))
    for head in (3, 5):
        cond = tiny_condition(net, head=head)
        expected, kept = net.full(start(), T, cond, keep=True)
        got, cached = compiled.full(start(), T, cond, keep=True)
        assert largest_difference(got, expected) < bound
        light = net.light(kept, start(1), T - 100, cond)
        assert largest_difference(compiled.light(cached, start(1), T - 100, cond), light) < bound
        everywhere = with_foreground(cond, None)
        light = net.light(kept, start(1), T - 100, everywhere)
        got = compiled.light(cached, start(1), T - 100, everywhere)
        assert largest_difference(got, light) < bound


@installed
def test_openvino_outputs_belong_to_the_caller() -> None:
    compiled = CompiledMini(tiny_net(), OpenVinoEngine(1, torch.float32))
    cond = tiny_condition(compiled.net)
    _, cached = compiled.full(start(), T, cond)
    before = cached.hidden.clone()
    compiled.full(start(1), T, cond)
    assert torch.equal(cached.hidden, before)


@installed
def test_openvino_is_kept_from_reporting_over_the_network() -> None:
    OpenVinoEngine(1, torch.float32)
    assert sys.modules.get("openvino_telemetry") is None
