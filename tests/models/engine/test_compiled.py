"""Compiled networks: one graph for key steps, one for light steps, the same values."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch._dynamo.utils import counters

from models.backbones.echomimic.backbone import EchoBackbone
from models.engine.compiled import compile_backbone, compile_network
from models.lightning.lanes import make_lanes
from models.lightning.plan import parse
from models.lightning.sampler import Sampler
from models.spec import PUBLISHED_DDIM
from tests.models.backbones.test_echomimic import SPEC, clip, small

pytestmark = pytest.mark.e2e


@torch.inference_mode()
def test_key_and_light_steps_are_a_graph_each_with_equal_values() -> None:
    case = small()
    plain = case.backbone()
    network = copy.deepcopy(case.net)
    compile_network(network, backend="eager")  # traces as inductor does, without its compiler
    traced = EchoBackbone(SPEC, network, plain.guidance)
    cond = case.condition(4, foreground=torch.arange(30)[None])
    counters.clear()
    for k in range(2):
        z, t, later = clip(4) + k, torch.tensor([700.0 - k]), torch.tensor([400.0])
        v, cached = plain.full(z, t, cond, keep=True)
        got, kept = traced.full(z, t, cond, keep=True)
        assert torch.equal(got, v)
        light = plain.tail(cached, z + 0.1, later, cond)
        assert torch.equal(traced.tail(kept, z + 0.1, later, cond), light)
    assert counters["stats"]["unique_graphs"] == 2 and not counters["graph_break"]


@torch.inference_mode()
def test_every_device_compiles_the_replica_that_it_runs() -> None:
    case = small()
    home = EchoBackbone(SPEC, copy.deepcopy(case.net), 2.5)
    lanes = make_lanes(home, ["cpu", "cpu"])
    compile_backbone(home, lanes, backend="eager")
    cond, plan = case.condition(4), parse("4:0,3+parallel")
    alone = Sampler(PUBLISHED_DDIM, plan)(case.backbone(), clip(4), cond)
    shared = Sampler(PUBLISHED_DDIM, plan, lanes=lanes)(home, clip(4), cond)
    assert torch.allclose(shared, alone, atol=2e-3)  # guidance magnifies rounding
    replica: Any = lanes[1].backbone
    replica.network.conv_out.weight.mul_(1.5)
    spoilt = Sampler(PUBLISHED_DDIM, plan, lanes=lanes)(home, clip(4), cond)
    assert float((spoilt - shared).abs().max()) > 1e-2
