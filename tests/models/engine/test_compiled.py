"""Compiled networks: one graph for key steps, one for light steps, the same values."""

from __future__ import annotations

import copy

import pytest
import torch
from torch._dynamo.utils import counters

from models.backbones.echomimic.backbone import EchoBackbone
from models.engine.compiled import compile_network
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
