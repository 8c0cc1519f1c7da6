"""``mini``: shapes, fast forms against plain ones, the light step against the full one."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from models.mini.config import MINI
from models.mini.unet import MiniUNet
from tests.support.tiny import TINY, largest_difference, randomise, start, tiny_condition, tiny_net

pytestmark = pytest.mark.unit

T = torch.tensor([640])


def test_prediction_and_cache_have_the_shapes_the_sampler_relies_on() -> None:
    net = tiny_net()
    v, cached = net.full(start(), T, tiny_condition(net), keep=True)
    (channels, height, width), frames = TINY.latent, TINY.chunk_frames
    assert v.shape == (1, channels, frames, height, width) and v.dtype == torch.float32
    assert cached.hidden.shape == (frames, TINY.channels[0], height, width)
    assert cached.background is not None
    assert cached.background["attention"].shape == (frames, height * width, TINY.channels[0])
    assert cached.identity_ids == ("identity 0",)


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_light_step_with_the_key_steps_own_feature_is_the_full_step(
    fused: bool, dtype: torch.dtype
) -> None:
    net = tiny_net(fused=fused, dtype=dtype)
    cond = tiny_condition(net)
    full, cached = net.full(start(), T, cond)
    assert torch.equal(net.light(cached, start(), T, cond), full)


def test_a_light_step_looks_at_its_own_time_state_and_conditions() -> None:
    net = tiny_net()
    cond = tiny_condition(net)
    _, cached = net.full(start(), T, cond)
    light = net.light(cached, start(), T, cond)
    louder = replace(cond, audio_kv=tiny_condition(net, 5, identity_id="identity 0").audio_kv)
    assert largest_difference(net.light(cached, start(), T - 200, cond), light) > 1e-3
    assert largest_difference(net.light(cached, start(9), T, cond), light) > 1e-3
    assert largest_difference(net.light(cached, start(), T, louder), light) > 1e-3


def test_the_fast_forms_compute_the_same_in_float32() -> None:
    plain, fused = tiny_net(), tiny_net(fused=True)
    first, second = tiny_condition(plain), tiny_condition(fused)
    expected, kept = plain.full(start(), T, first, keep=True)
    got, fast = fused.full(start(), T, second, keep=True)
    assert largest_difference(got, expected) < 1e-5
    light = plain.light(kept, start(1), T - 100, first)
    assert largest_difference(fused.light(fast, start(1), T - 100, second), light) < 1e-5


def test_the_fast_forms_are_as_exact_as_the_plain_ones_in_bfloat16() -> None:
    def prediction(fused: bool, dtype: torch.dtype) -> torch.Tensor:
        net = tiny_net(fused=fused, dtype=dtype)
        return net.full(start(), T, tiny_condition(net))[0]

    exact = prediction(False, torch.float32)
    plain = (prediction(False, torch.bfloat16) - exact).square().mean().sqrt()
    fused = (prediction(True, torch.bfloat16) - exact).square().mean().sqrt()
    assert plain < 0.05 and fused < 1.5 * plain


def test_fusing_leaves_the_state_as_it_was() -> None:
    assert list(tiny_net(fused=True).state_dict()) == list(tiny_net().state_dict())


def test_chunks_shorter_than_the_spec_are_made() -> None:
    for fused in (False, True):
        net = tiny_net(fused=fused)
        cond = tiny_condition(net)
        frames = 2
        features = torch.zeros(1, frames, TINY.audio_window, TINY.audio_features)
        mouth = torch.zeros(1, frames, TINY.mouth_units)
        motion = torch.zeros(1, frames, TINY.motion)
        short = net.condition(cond.reference, features, mouth, motion)
        v, _ = net.full(start()[:, :, :frames], T, short)
        assert v.shape[2] == frames


@pytest.mark.parametrize("fused", [False, True])
def test_a_batch_is_each_of_its_parts(fused: bool) -> None:
    net = tiny_net(fused=fused)
    conditions = [tiny_condition(net, n) for n in range(3)]
    times = torch.tensor([900, 500, 100])
    z = torch.cat([start(n) for n in range(3)])
    v, cached = net.full(z, times, net.collate(conditions))
    assert cached.identity_ids == ("identity 0", "identity 1", "identity 2")
    for n, cond in enumerate(conditions):
        alone, _ = net.full(start(n), times[n, None], cond)
        assert largest_difference(v[n], alone[0]) < 1e-5


def test_repeated_conditions_give_every_copy_the_same() -> None:
    net = tiny_net()
    cond = tiny_condition(net)
    twice, _ = net.full(start().repeat(2, 1, 1, 1, 1), T.repeat(2), cond.repeat(2))
    assert largest_difference(twice[0], twice[1]) < 1e-6
    assert cond.repeat(1) is cond


@pytest.mark.parametrize("part", ["motion", "mouth", "features", "reference", "frame"])
def test_every_condition_matters(part: str) -> None:
    net = tiny_net()
    cond = tiny_condition(net)
    before, _ = net.full(start(), T, cond)
    features = torch.zeros(1, 3, TINY.audio_window, TINY.audio_features)
    mouth, motion = torch.zeros(1, 3, TINY.mouth_units), torch.zeros(1, 3, TINY.motion)
    quiet = net.condition(cond.reference, features, mouth, motion)
    silent, _ = net.full(start(), T, quiet)
    if part == "reference":
        other = replace(quiet, reference=tiny_condition(net, 3).reference)
    elif part == "frame":
        other = replace(quiet, vector=quiet.vector.flip(1))
    else:
        values = {"features": features, "mouth": mouth, "motion": motion}
        values[part] = values[part] + 1.0
        other = net.condition(cond.reference, values["features"], values["mouth"], values["motion"])
    after, _ = net.full(start(), T, other)
    assert largest_difference(after, silent) > 1e-3
    assert largest_difference(before, silent) > 1e-3


def test_training_reaches_every_parameter() -> None:
    net = MiniUNet(TINY)
    randomise(net)
    v, _ = net.full(start(), T, tiny_condition(net))
    torch.autograd.backward(v.square().mean())
    silent = [n for n, p in net.named_parameters() if p.grad is None or p.grad.abs().max() == 0]
    assert silent == []


def test_a_new_network_predicts_the_prior_alone() -> None:
    net = MiniUNet(TINY).eval().requires_grad_(False)
    assert net.conv_out.weight.abs().max() == 0
    v, _ = net.full(start(), T, tiny_condition(net))
    other, _ = net.full(start(), T, tiny_condition(net))
    assert torch.isfinite(v).all() and torch.equal(v, other)


def test_the_bundled_row_builds_the_network_that_was_trained() -> None:
    """Names and sizes are a promise to every weights file ever written."""
    state = MiniUNet(MINI).state_dict()
    assert len(state) == 234
    assert sum(value.numel() for value in state.values()) == 4_536_460
    assert "u32.temporal.to_qkv.weight" in state and "time.2.bias" in state
    assert not any("signal" in name or "fused" in name for name in state)
