"""Compiled networks: one graph for key steps, one for light steps, the same values."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch._dynamo.utils import counters

from models.echomimic.unet import EchoMimicDenoiser
from models.lightning.devices import make_replicas
from models.lightning.plan import parse
from models.lightning.sampler import Sampler
from models.sd15.compiled import compile_backbone, compile_network
from models.sd15.config import DDIM_ZERO_SNR
from tests.models.echomimic.test_echomimic import SPEC, clip, small

pytestmark = pytest.mark.e2e

ROUNDING = 1e-6
"""Of networks in float64 and states in float32. In float32 a copy of a network may differ by more:
some matrix kernels round by where their operands lie (weights moved by 4 bytes: 3e-5)."""


def far(a: torch.Tensor, b: torch.Tensor) -> float:
    """The largest difference."""
    return float((a - b).abs().max())


@torch.inference_mode()
def test_key_and_light_steps_are_a_graph_each_with_equal_values() -> None:
    case = small(torch.float64)
    plain = case.backbone()
    network = copy.deepcopy(case.net)
    compile_network(network, backend="eager")  # traces as inductor does, without its compiler
    traced = EchoMimicDenoiser(SPEC, network, plain.guidance)
    counters.clear()
    for k in range(2):
        cond = case.condition(4, "ab"[k], seed=k, foreground=torch.arange(30)[None])
        z, t, later = clip(4) + k, torch.tensor([700.0 - k]), torch.tensor([400.0])
        v, cached = plain.full(z, t, cond, keep=True)
        got, kept = traced.full(z, t, cond, keep=True)
        assert far(got, v) < ROUNDING
        light = plain.light(cached, z + 0.1, later, cond)
        assert far(traced.light(kept, z + 0.1, later, cond), light) < ROUNDING
    assert counters["stats"]["unique_graphs"] == 2 and not counters["graph_break"]


class Graphs:
    """An entry as CUDA graphs run it: whatever it makes lies where it lay the last time."""

    def __init__(self, entry: Callable[..., Any]) -> None:
        self.entry = entry
        self.memory: dict[str, torch.Tensor] = {}

    def _place(self, name: str, made: torch.Tensor) -> torch.Tensor:
        return self.memory.setdefault(name, made.clone()).copy_(made)

    def __call__(self, *given: Any) -> Any:
        out = self.entry(*given)
        outputs = given[-1].dfa.outputs
        outputs.update({name: self._place(name, made) for name, made in outputs.items()})
        if isinstance(out, torch.Tensor):
            return self._place("out", out)
        return tuple(self._place(str(k), made) for k, made in enumerate(out))


@torch.inference_mode()
def test_what_a_step_keeps_outlasts_graphs_that_write_into_the_same_memory() -> None:
    case = small(torch.float64)
    plain = case.backbone()
    network: Any = copy.deepcopy(case.net)
    network.full, network.light = Graphs(network.full), Graphs(network.light)
    graphs = EchoMimicDenoiser(SPEC, network, plain.guidance)
    cond = case.condition(4, foreground=torch.arange(30)[None])
    z, first, second = clip(4), torch.tensor([700.0]), torch.tensor([400.0])

    def again(backbone: EchoMimicDenoiser) -> torch.Tensor:
        """The first key step's cache, used after a second key step."""
        _, cached = backbone.full(z, first, cond, keep=True)
        v, _ = backbone.full(-z, second, cond, keep=True)
        backbone.light(cached, -z, second, cond)
        return v + backbone.light(cached, z, second, cond)

    assert far(again(graphs), again(plain)) > 1e-2
    network.reuses_outputs = True
    assert far(again(graphs), again(plain)) < ROUNDING


@torch.inference_mode()
def test_every_device_compiles_the_replica_that_it_runs() -> None:
    case = small(torch.float64)
    primary = EchoMimicDenoiser(SPEC, copy.deepcopy(case.net), 2.5)
    replicas = make_replicas(primary, ["cpu", "cpu"])
    compile_backbone(primary, replicas, backend="eager")
    cond, plan = case.condition(4), parse("4:0,3+parallel")
    alone = Sampler(DDIM_ZERO_SNR, plan)(case.backbone(), clip(4), cond)
    shared = Sampler(DDIM_ZERO_SNR, plan, replicas=replicas)(primary, clip(4), cond)
    assert far(shared, alone) < ROUNDING
    replica: Any = replicas[1].denoiser
    replica.network.conv_out.weight.mul_(1.5)
    spoilt = Sampler(DDIM_ZERO_SNR, plan, replicas=replicas)(primary, clip(4), cond)
    assert far(spoilt, shared) > 1e-2
