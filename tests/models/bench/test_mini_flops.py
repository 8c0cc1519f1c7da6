"""Operations of ``mini`` under torch's counter, against values of the closed form."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from models.bench.flops import flops_of
from models.lightning.plan import StepPlan, full_plan, parse
from models.lightning.sampler import Sampler
from models.mini.autoencoder import Autoencoder
from models.mini.conditioning import MiniConditioning
from models.mini.config import MINI, MiniSpec
from models.mini.unet import MiniUNet
from tests.support.tiny import TINY, start, tiny_condition, tiny_net, with_foreground

pytestmark = pytest.mark.unit

T = torch.tensor([500])
SPECS = pytest.mark.parametrize("spec", [MINI, TINY], ids=lambda spec: spec.name)
FUSED = pytest.mark.parametrize("fused", [False, True], ids=["trained", "fused"])

# Two operations per MAC, of one chunk, by spec and by whether the network is fused for inference:
# a key step, a light step, and a light step with DFA over the face tokens of ``tiny_condition``.
# Closed form: 2 k^2 c_in c_out H W per convolution, 2 c_in c_out N per linear layer,
# 4 N M c per attention of N tokens to M (times the heads where contexts are folded into it).
STEPS = {
    ("mini", False): (2_587_541_504, 406_437_888, 379_830_272),
    ("mini", True): (2_567_176_192, 412_155_904, 384_106_496),
    ("tiny", False): (30_758_016, 5_069_184, 4_488_576),
    ("tiny", True): (30_815_232, 5_212_416, 4_567_296),
}
CONVOLUTIONS = {"mini": (2_162_163_712, 299_892_736), "tiny": (25_559_040, 3_735_552)}
"""Of them in convolutions: of a key step, and of a light step with or without DFA."""
PLANS = {
    ("10", False): 307_580_160,
    ("10:0,4,8", False): 127_758_336,
    ("10:0,4,8+dfa", False): 123_694_080,
    ("6:0,3+parallel+dfa", False): 79_470_336,
    ("10", True): 308_152_320,
    ("10:0,4,8", True): 128_932_608,
    ("10:0,4,8+dfa", True): 124_416_768,
    ("6:0,3+parallel+dfa", True): 79_899_648,
}
"""Of all steps of a plan, at the tiny size."""
AUTOENCODER = {"mini": (794_689_536, 1_706_033_152), "tiny": (10_305_536, 11_575_296)}
"""Decoding one frame's latents, and encoding one portrait."""


def operations_of(run: Callable[[], object], kind: str) -> int:
    """Operations in one kind of torch's calls."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        run()
    by_kind = counter.get_flop_counts()["Global"]
    return sum(count for name, count in by_kind.items() if kind in str(name))


def convolutions_of(run: Callable[[], object]) -> int:
    """Operations in convolutions."""
    return operations_of(run, "convolution")


def steps_of(net: MiniUNet, cond: MiniConditioning) -> dict[str, Callable[[], object]]:
    """A key step, a light step with attention to all tokens, and one with DFA."""
    z, everywhere = start(spec=net.spec), with_foreground(cond, None)
    _, cached = net.full(z, T, everywhere)
    _, cached_dfa = net.full(z, T, cond, keep=True)
    return {
        "key": lambda: net.full(z, T, cond),
        "light": lambda: net.light(cached, z, T, everywhere),
        "light_dfa": lambda: net.light(cached_dfa, z, T, cond),
    }


@SPECS
@FUSED
def test_full_and_light_steps_cost_what_the_closed_form_says(spec: MiniSpec, fused: bool) -> None:
    net = tiny_net(fused=fused, spec=spec)
    steps = steps_of(net, tiny_condition(net))
    assert tuple(map(flops_of, steps.values())) == STEPS[spec.name, fused]
    key, light, dfa = map(convolutions_of, steps.values())
    assert (key, light) == CONVOLUTIONS[spec.name] and dfa == light


@pytest.mark.parametrize(("text", "fused"), PLANS)
def test_the_sampler_costs_the_steps_of_its_plan(text: str, fused: bool) -> None:
    net, plan = tiny_net(fused=fused), parse(text)
    cond = tiny_condition(net)
    z = start()
    sampled = flops_of(lambda: Sampler(TINY.schedule, plan)(net, z, cond))
    assert sampled == PLANS[text, fused]
    counts = {name: flops_of(step) for name, step in steps_of(net, cond).items()}
    light = counts["light_dfa" if plan.foreground else "light"]
    assert plan.cost(counts["key"], light) == sampled


@SPECS
def test_the_autoencoder_costs_what_the_closed_form_says(spec: MiniSpec) -> None:
    autoencoder, (decoding, encoding) = Autoencoder(spec.codec), AUTOENCODER[spec.name]
    channels, height, width = spec.latent
    latents = torch.zeros(1, channels, height, width)
    pixels = torch.zeros(1, 3, 8 * height, 8 * width)
    for run, cost in (
        (lambda: autoencoder.decode(latents), decoding),
        (lambda: autoencoder.decode_uint8(latents), decoding),
        (lambda: autoencoder.encode(pixels), encoding),
    ):
        assert flops_of(run) == convolutions_of(run) == cost


@FUSED
def test_a_light_step_is_a_fraction_and_foreground_attention_a_smaller_one(fused: bool) -> None:
    net = tiny_net(fused=fused, spec=MINI)
    cond = tiny_condition(net)

    def light_step(tokens: int) -> Callable[[], object]:
        return steps_of(net, with_foreground(cond, torch.arange(tokens)[None]))["light_dfa"]

    full, light, _ = steps_of(net, cond).values()
    half, whole = light_step(512), light_step(1024)
    assert 0.1 < flops_of(light) / flops_of(full) < 0.3
    assert flops_of(half) < flops_of(light)
    assert convolutions_of(half) == convolutions_of(light)
    assert 2 * operations_of(half, "bmm") == operations_of(light, "bmm")  # attention
    assert flops_of(whole) == flops_of(light)


def test_a_plan_costs_its_steps() -> None:
    net = tiny_net(fused=True, spec=MINI)
    cond, z = tiny_condition(net), start(spec=MINI)
    key, light, _ = (flops_of(step) for step in steps_of(net, cond).values())

    def cost(plan: StepPlan) -> int:
        return flops_of(lambda: Sampler(MINI.schedule, plan)(net, z, cond))

    ten = cost(full_plan(10))
    assert ten == 10 * key
    assert ten == cost(replace(full_plan(10), foreground=True))
    assert cost(parse("10:0,4,8")) == 3 * key + 7 * light
