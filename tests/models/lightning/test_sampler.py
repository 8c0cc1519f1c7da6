"""The sampling loop against loops written out here, and what must never happen inside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from models.lightning.cache import FeatureCache
from models.lightning.plan import StepPlan, full_plan, parse
from models.lightning.sampler import Sampler
from models.lightning.schedule import make_schedule
from models.mini.conditioning import MiniConditioning
from models.mini.unet import MiniUNet
from tests.support.tiny import (
    SNR_ABOVE_ZERO,
    TINY,
    largest_difference,
    start,
    tiny_condition,
    tiny_net,
    with_foreground,
)

pytestmark = pytest.mark.unit

NONZERO = replace(TINY, schedule=SNR_ABOVE_ZERO)


class Seen:
    """An observer that remembers the scheduler's states and which steps left a cache."""

    def __init__(self) -> None:
        self.states: list[Tensor] = []
        self.steps: list[int] = []
        self.keys: list[int] = []

    def __call__(self, step: int, z: Tensor, cached: FeatureCache | None) -> None:
        self.steps.append(step)
        self.states.append(z.clone())
        if cached is not None:
            self.keys.append(step)


class Recorder:
    """A backbone that passes calls on and remembers the inputs of every light call."""

    def __init__(self, net: MiniUNet) -> None:
        self.net, self.spec = net, net.spec
        self.calls: list[str] = []
        self.steps: list[int] = []
        self.light_inputs: list[Tensor] = []
        self.light_outputs: list[Tensor] = []

    def full(
        self, z: Tensor, t: Tensor, cond: MiniConditioning, *, step: int, keep: bool
    ) -> tuple[Tensor, FeatureCache]:
        self.calls.append("full")
        self.steps.append(step)
        return self.net.full(z, t, cond, step=step, keep=keep)

    def light(
        self,
        cache: FeatureCache,
        z: Tensor,
        t: Tensor,
        cond: MiniConditioning,
        *,
        step: int | Sequence[int],
    ) -> Tensor:
        self.calls.append("light")
        self.steps.extend([step] if isinstance(step, int) else step)
        v = self.net.light(cache, z, t, cond, step=step)
        self.light_inputs.extend(z.chunk(len(t)))
        self.light_outputs.extend(v.chunk(len(t)))
        return v

    def collate(self, conditions: Sequence[MiniConditioning]) -> MiniConditioning:
        return self.net.collate(conditions)


def plain_ddim(net: MiniUNet, z: Tensor, cond: MiniConditioning, steps: int) -> Tensor:
    """DDIM with v-prediction and trailing steps, written for this test alone."""
    spec = net.spec.schedule
    table = make_schedule(spec)
    times = [round(spec.train_steps * (1 - i / steps)) - 1 for i in range(steps)]
    for i, t in enumerate(times):
        alpha, sigma = float(table.alpha[t]), float(table.sigma[t])
        last = i + 1 == steps
        next_alpha = 1.0 if last else float(table.alpha[times[i + 1]])
        next_sigma = 0.0 if last else float(table.sigma[times[i + 1]])
        with torch.inference_mode():
            v, _ = net.full(z, torch.tensor([t]), cond)
        clean = alpha * z - sigma * v
        noise = alpha * v + sigma * z
        z = next_alpha * clean + next_sigma * noise
    return z


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("spec", [TINY, NONZERO])
def test_with_every_step_a_key_it_is_plain_ddim_bit_for_bit(fused: bool, spec: object) -> None:
    net = tiny_net(fused=fused, spec=TINY if spec is TINY else NONZERO)
    cond, z = tiny_condition(net), start()
    ours = Sampler(net.spec.schedule, full_plan(5))(net, z, cond)
    assert torch.equal(ours, plain_ddim(net, z, cond, 5))


@pytest.mark.parametrize("flags", ["+parallel", "+parallel+dfa", "+dfa", "+parallel+from3"])
def test_flags_change_nothing_where_every_step_is_a_key(flags: str) -> None:
    net = tiny_net()
    cond, z = tiny_condition(net), start()
    expected = Sampler(TINY.schedule, full_plan(4))(net, z, cond)
    assert torch.equal(Sampler(TINY.schedule, parse("4" + flags))(net, z, cond), expected)


def test_sequential_light_steps_equal_a_hand_written_loop() -> None:
    net = tiny_net()
    cond, z = tiny_condition(net), start()
    sampler = Sampler(TINY.schedule, parse("6:0,3"))
    expected, cached = z, None
    with torch.inference_mode():
        for step, ((alpha, sigma), (next_alpha, next_sigma)) in enumerate(
            zip(sampler.levels, sampler.levels[1:], strict=False)
        ):
            t = torch.tensor([sampler.timesteps[step]])
            if step in (0, 3):
                v, cached = net.full(expected, t, cond)
            else:
                assert cached is not None
                v = net.light(cached, expected, t, cond)
            clean, noise = alpha * expected - sigma * v, alpha * v + sigma * expected
            expected = next_alpha * clean + next_sigma * noise
    assert torch.equal(sampler(net, z, cond), expected)


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("dfa", ["", "+dfa"])
def test_a_parallel_group_of_one_light_step_is_the_sequential_one(fused: bool, dfa: str) -> None:
    net = tiny_net(fused=fused)
    cond, z = tiny_condition(net), start()
    one_by_one = Sampler(TINY.schedule, parse("6:0,2,4" + dfa))(net, z, cond)
    at_once = Sampler(TINY.schedule, parse("6:0,2,4+parallel" + dfa))(net, z, cond)
    assert torch.equal(at_once, one_by_one)


def test_parallel_and_sequential_differ_where_inputs_are_estimates() -> None:
    net = tiny_net()
    cond, z = tiny_condition(net), start()
    one_by_one = Sampler(TINY.schedule, parse("6:0,3"))(net, z, cond)
    at_once = Sampler(TINY.schedule, parse("6:0,3+parallel"))(net, z, cond)
    flat = Sampler(TINY.schedule, parse("6:0,3+parallel+from6"))(net, z, cond)
    assert largest_difference(at_once, one_by_one) > 1e-4
    assert largest_difference(flat, at_once) > 1e-4


@pytest.mark.parametrize("plan", ["6:0,3+parallel", "6:0,3+parallel+from2", "6:0+parallel+from1"])
def test_estimates_never_enter_the_schedulers_state(plan: str) -> None:
    """Real states follow from real states and predicted noises alone (lambda and tau)."""
    net = tiny_net(spec=NONZERO)
    cond, z, seen, recorder = tiny_condition(net), start(), Seen(), Recorder(net)
    sampler = Sampler(NONZERO.schedule, parse(plan))
    result = sampler(recorder, z, cond, observe=seen)

    assert seen.steps == list(range(6))
    assert seen.keys == list(sampler.plan.keys)
    states = [*seen.states, result]
    lights = [step for step in range(6) if step not in sampler.plan.keys]
    guesses = dict(zip(lights, recorder.light_inputs, strict=True))
    predictions = dict(zip(lights, recorder.light_outputs, strict=True))
    strayed = 0
    for step in lights:
        (alpha, sigma), (next_alpha, next_sigma) = sampler.levels[step], sampler.levels[step + 1]
        noise = alpha * predictions[step] + sigma * guesses[step]
        lam = next_alpha / alpha
        tau = next_sigma - lam * sigma
        assert torch.allclose(states[step + 1], lam * states[step] + tau * noise, atol=1e-4)
        strayed += not torch.allclose(guesses[step], states[step], atol=1e-4)
    assert strayed == len(lights) - len(sampler.plan.keys)  # all but the first of each group


def test_the_threshold_holds_inputs_back_until_the_key_steps_from_it_on() -> None:
    net = tiny_net()
    cond, recorder, seen = tiny_condition(net), Recorder(net), Seen()
    Sampler(TINY.schedule, parse("6:0,3+parallel+from3"))(recorder, start(), cond, observe=seen)
    first, second, third, fourth = recorder.light_inputs
    assert torch.equal(first, second) and torch.equal(first, seen.states[1])
    assert not torch.equal(third, fourth) and torch.equal(third, seen.states[4])


@pytest.mark.parametrize(
    ("plan", "calls"),
    [("6:0,3", "full light light full light light"), ("6:0,3+parallel", "full light full light")],
)
def test_the_network_is_called_as_the_plan_says(plan: str, calls: str) -> None:
    recorder = Recorder(tiny_net())
    Sampler(TINY.schedule, parse(plan))(recorder, start(), tiny_condition(recorder.net))
    assert recorder.calls == calls.split()
    assert recorder.steps == list(range(6))


@pytest.mark.parametrize("plan", ["6", "6:0,2+dfa", "6:0,2+parallel"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_zero_terminal_snr_stays_finite(plan: str, dtype: torch.dtype) -> None:
    net = tiny_net(dtype=dtype, fused=dtype == torch.bfloat16)
    sampler = Sampler(TINY.schedule, parse(plan))
    assert sampler.levels[0] == (0.0, 1.0)
    result = sampler(net, start(), tiny_condition(net))
    assert result.dtype == torch.float32 and torch.isfinite(result).all()


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("plan", ["5", "6:0,3+dfa", "6:0,3+dfa+parallel"])
def test_two_streams_in_a_batch_get_what_each_gets_alone(fused: bool, plan: str) -> None:
    """Two identities whose faces have different numbers of tokens."""
    net = tiny_net(fused=fused)
    conditions = [tiny_condition(net, n, head=3 + 2 * n) for n in range(2)]
    faces = [c.face_tokens for c in conditions]
    lengths = {face.index.shape[1] for face in faces if face is not None}
    assert len(lengths) == 2
    sampler = Sampler(TINY.schedule, parse(plan))
    together = sampler(net, torch.cat([start(0), start(1)]), net.collate(conditions))
    for n, cond in enumerate(conditions):
        assert largest_difference(together[n], sampler(net, start(n), cond)[0]) < 1e-4


def test_foreground_attention_is_used_when_asked_for_and_possible() -> None:
    net = tiny_net()
    cond, z = tiny_condition(net), start()

    def run(plan: StepPlan, condition: MiniConditioning) -> Tensor:
        return Sampler(TINY.schedule, plan)(net, z, condition)

    everywhere, face_only = run(parse("6:0,3"), cond), run(parse("6:0,3+dfa"), cond)
    assert largest_difference(face_only, everywhere) > 1e-6
    assert torch.equal(run(parse("6:0,3+dfa"), with_foreground(cond, None)), everywhere)


def test_where_sigma_is_zero_the_picture_stays_on_the_reference() -> None:
    spec = replace(TINY, sigma_background=0.0)
    net = tiny_net(spec=spec)
    cond = tiny_condition(net)
    anchor = cond.reference.anchor
    for plan in ("6", "6:0,3+dfa"):
        result = Sampler(spec.schedule, parse(plan))(net, start(), cond).transpose(1, 2)
        reference = anchor.latent.expand_as(result)
        pinned = (anchor.sigma == 0).expand_as(result)
        assert 0.1 < pinned.float().mean() < 0.9
        assert largest_difference(result[pinned], reference[pinned]) < 1e-4
        assert largest_difference(result[~pinned], reference[~pinned]) > 0.05
