"""The cost model against torch's own counter, at the bundled size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from models.lightning.cost import (
    Flops,
    Form,
    MiniCost,
    decode_cost,
    encode_cost,
    plan_cost,
)
from models.lightning.plan import full_plan, parse
from models.lightning.sampler import Sampler
from models.mini.autoencoder import Autoencoder
from models.mini.conditioning import MiniConditioning
from models.mini.config import MINI, MiniSpec
from models.mini.unet import MiniUNet
from tests.support.tiny import TINY, start, tiny_condition, tiny_net, with_foreground

pytestmark = pytest.mark.unit

T = torch.tensor([500])
TOLERANCE = 0.02


def counted(work: Callable[[], object]) -> tuple[float, float]:
    """Operations that torch counts: all, and those of convolutions."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        work()
    by_kind = counter.get_flop_counts()["Global"]
    conv = sum(count for kind, count in by_kind.items() if "convolution" in str(kind))
    return float(counter.get_total_flops()), float(conv)


def network(spec: MiniSpec, form: Form) -> tuple[MiniUNet, MiniConditioning]:
    net = tiny_net(fused=form is Form.FUSED, spec=spec)
    return net, tiny_condition(net)


def check(expected: Flops, work: Callable[[], object], frames: int) -> None:
    total, conv = counted(work)
    assert expected.total * frames == pytest.approx(total, rel=TOLERANCE)
    assert expected.conv * frames == pytest.approx(conv, rel=1e-9)


@pytest.mark.parametrize("spec", [MINI, TINY], ids=lambda spec: spec.name)
@pytest.mark.parametrize("form", list(Form))
def test_full_and_light_steps_cost_what_torch_counts(spec: MiniSpec, form: Form) -> None:
    net, cond = network(spec, form)
    z, cost, frames = start(spec=spec), MiniCost(spec, form), spec.chunk_frames
    foreground = cond.foreground
    assert foreground is not None
    check(cost.full(), lambda: net.full(z, T, cond), frames)
    everywhere = with_foreground(cond, None)
    _, cached = net.full(z, T, everywhere)
    check(cost.tail(), lambda: net.tail(cached, z, T, everywhere), frames)
    _, kept = net.full(z, T, cond, keep=True)
    tokens = foreground.shape[1]
    check(cost.tail(tokens), lambda: net.tail(kept, z, T, cond), frames)


@pytest.mark.parametrize("form", list(Form))
@pytest.mark.parametrize("text", ["10", "10:0,4,8", "10:0,4,8+dfa", "6:0,3+parallel+dfa"])
def test_a_plan_costs_what_torch_counts_for_the_whole_sampler(text: str, form: Form) -> None:
    spec, plan = TINY, parse(text)
    net, cond = network(spec, form)
    assert cond.foreground is not None
    share = cond.foreground.shape[1] / (spec.latent[1] * spec.latent[2])
    z = start(spec=spec)
    total, _ = counted(lambda: Sampler(spec.schedule, plan)(net, z, cond))
    expected = plan_cost(plan, spec, share, form).total * spec.chunk_frames
    assert expected == pytest.approx(total, rel=TOLERANCE)


@pytest.mark.parametrize("spec", [MINI, TINY], ids=lambda spec: spec.name)
def test_the_codec_costs_what_torch_counts(spec: MiniSpec) -> None:
    codec = Autoencoder(spec.codec)
    channels, height, width = spec.latent
    latents = torch.zeros(1, channels, height, width)
    pixels = torch.zeros(1, 3, 8 * height, 8 * width)
    check(decode_cost(spec), lambda: codec.decode(latents), 1)
    check(decode_cost(spec), lambda: codec.decode_uint8(latents), 1)
    check(encode_cost(spec), lambda: codec.encode(pixels), 1)


def test_a_light_step_is_a_fraction_and_foreground_attention_a_smaller_one() -> None:
    for form in Form:
        cost = MiniCost(MINI, form)
        full, light, dfa = cost.full(), cost.tail(), cost.tail(512)
        assert 0.1 < light.total / full.total < 0.3
        assert dfa.total < light.total
        assert dfa.conv == light.conv and dfa.attention == pytest.approx(light.attention / 2)
        assert cost.tail(1024) == light


def test_a_plan_costs_its_steps() -> None:
    cost = MiniCost(MINI)
    ten = plan_cost(full_plan(10), MINI, 0.5)
    assert ten.total == pytest.approx(10 * cost.full().total)
    assert ten == plan_cost(replace(full_plan(10), foreground=True), MINI, 0.5)
    mixed = plan_cost(parse("10:0,4,8"), MINI, 0.5)
    assert mixed.total == pytest.approx(3 * cost.full().total + 7 * cost.tail().total)
