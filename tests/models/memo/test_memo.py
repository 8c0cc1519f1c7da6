"""MEMO on small random networks: light steps, foreground, batches and memory are exact."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import pytest
import torch
from torch import Tensor

from models.bench.waste import PublishedMemo
from models.errors import CacheError
from models.lightning.dfa import FaceTokens
from models.lightning.plan import full_plan, parse
from models.lightning.sampler import Sampler
from models.memo import networks as build
from models.memo.conditioning import MemoConditioning, labels_for_branches
from models.memo.config import NO_EMOTION
from models.memo.unet import (
    ClipReference,
    MemoDenoiser,
    MemoReferenceNet,
    MemoUNet,
    read_clip_reference,
)
from models.sd15.cfg import CallContext, collate, zeros_for_uncond
from models.sd15.config import FLOW_MATCHING
from models.sd15.reference_net import read_reference_features, split_motion_frames
from models.spec import DiffusionSpec
from tests.support.small import CONFIGS

pytestmark = pytest.mark.unit

FRAMES, CELLS, PAST, BRANCHES = 4, 8, 2, 2
SPEC = DiffusionSpec("memo", 30.0, FRAMES, 2, 4, (4, CELLS, CELLS), FLOW_MATCHING)
LAST = "up_blocks.3.attentions.2"


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@dataclass
class Small:
    """Networks and the condition of one clip."""

    net: MemoUNet
    reference: MemoReferenceNet
    backbone: MemoDenoiser

    def condition(
        self, identity_id: str = "a", seed: int = 1, foreground: Tensor | None = None
    ) -> MemoConditioning:
        """A clip of its own portrait, past frames and speech."""
        dtype = self.net.conv_in.weight.dtype
        faces = random(BRANCHES, 4, 24, seed=seed).to(dtype)
        latents = random(1 + PAST, 4, CELLS, CELLS, seed=seed + 10).to(dtype)
        audio = random(1, FRAMES, 6, 20, seed=seed + 20).to(dtype)
        return self.backbone.conditioning(
            identity_id,
            None if foreground is None else FaceTokens(foreground),
            pictures=read_clip_reference(self.net, self.reference, latents, faces, None),
            face_kv=self.net.project_face(faces, FRAMES),
            labels=labels_for_branches(seed % 9, NO_EMOTION, FRAMES, BRANCHES),
            audio=zeros_for_uncond(audio.flatten(0, 1), BRANCHES),
        )


@cache
def small(dtype: torch.dtype = torch.float32) -> Small:
    torch.manual_seed(0)
    made = build.networks(CONFIGS["memo"])
    net, reference = made["diffusion_net"].eval(), made["reference_net"].eval()
    assert isinstance(net, MemoUNet) and isinstance(reference, MemoReferenceNet)
    for network in (net, reference):
        network.requires_grad_(False).to(dtype)
    return Small(net, reference, MemoDenoiser(SPEC, net, 3.5))


def start(batch: int = 1) -> Tensor:
    return random(batch, 4, FRAMES, CELLS, CELLS, seed=7)


def everywhere(batch: int = 1) -> Tensor:
    return torch.arange(CELLS * CELLS).repeat(batch, 1)


def test_every_step_a_key_is_the_plain_loop_bit_for_bit() -> None:
    case = small()
    cond, z = case.condition(), start()
    sampler = Sampler(FLOW_MATCHING, full_plan(4))
    expected = z
    with torch.inference_mode():
        for step, t in enumerate(sampler.timesteps):
            v, _ = case.backbone.full(expected, torch.tensor([t]), cond)
            expected = sampler.trajectory.step(step, expected, v)
    assert torch.equal(sampler(case.backbone, z, cond), expected)


@torch.inference_mode()
def test_a_light_step_on_the_key_steps_own_inputs_is_the_key_step() -> None:
    case = small()
    cond, z, t = case.condition(), start(), torch.tensor([700.0])
    v, cached = case.backbone.full(z, t, cond)
    assert torch.equal(case.backbone.light(cached, z, t, cond), v)


@torch.inference_mode()
def test_a_light_step_needs_the_audio_stream_of_its_key_step() -> None:
    case = small()
    cond, z, t = case.condition(), start(), torch.tensor([700.0])
    v, cached = case.backbone.full(z, t, cond)
    foreign = replace(cached, extra={"audio": torch.zeros_like(cached.extra["audio"])})
    assert float((case.backbone.light(foreign, z, t, cond) - v).abs().max()) > 1e-3


@torch.inference_mode()
def test_attention_on_all_tokens_is_plain_attention_bit_for_bit() -> None:
    case = small()
    z, t = start(), torch.tensor([700.0])
    cond = case.condition(foreground=everywhere())
    _, cached = case.backbone.full(z, t, cond, keep=True)
    other, later = start() + 0.3, torch.tensor([400.0])
    focused = case.backbone.light(cached, other, later, cond)
    plainly = case.backbone.light(replace(cached, background=None), other, later, cond)
    assert torch.equal(focused, plainly)


@torch.inference_mode()
def test_background_tokens_take_what_the_key_step_kept() -> None:
    case = small()
    z, t = start(), torch.tensor([700.0])
    cond = case.condition(foreground=everywhere()[:, :20])
    v, cached = case.backbone.full(z, t, cond, keep=True)
    assert cached.background is not None
    assert set(cached.background) == {"attn1", "audio1", "motion0", "motion1"}
    again = case.backbone.light(cached, z, t, cond)
    assert float((again - v).abs().max()) > 0  # keys and values are the face's alone
    changed = {name: kept + 1 for name, kept in cached.background.items()}
    moved = case.backbone.light(replace(cached, background=changed), z, t, cond)
    assert float((moved - again).abs().max()) > 1e-3


@pytest.mark.parametrize("flags", ["", "+dfa"])
def test_one_light_step_a_group_in_a_batch_is_the_sequential_one(flags: str) -> None:
    case = small()
    cond, z = case.condition(foreground=everywhere()[:, :30]), start()
    one = Sampler(FLOW_MATCHING, parse(f"4:0,2{flags}"))(case.backbone, z, cond)
    batch = Sampler(FLOW_MATCHING, parse(f"4:0,2{flags}+parallel"))(case.backbone, z, cond)
    assert torch.equal(one, batch)


def test_light_steps_in_one_batch_are_those_of_single_calls() -> None:
    case = small()
    cond, z = case.condition(), start()
    sampler = Sampler(FLOW_MATCHING, parse("4:0+parallel"))
    made = sampler(case.backbone, z, cond)
    with torch.inference_mode():
        v, cached = case.backbone.full(z, torch.tensor([sampler.timesteps[0]]), cond)
        x0, _ = sampler.trajectory.predict_x0_eps(0, z, v)
        state = sampler.trajectory.step(0, z, v)
        for step in (1, 2, 3):
            alpha, sigma = sampler.trajectory.next_levels[step - 1]
            eps = sampler.trajectory.predict_x0_eps(0, z, v)[1]
            guess = state if step == 1 else alpha * x0 + sigma * eps
            light = case.backbone.light(
                cached, guess, torch.tensor([sampler.timesteps[step]]), cond
            )
            state = sampler.trajectory.step(step, state, light)
    assert torch.allclose(made, state, atol=1e-4)


@pytest.mark.parametrize("plan", ["4:0,2", "4:0,2+parallel", "4:0+dfa", "4:0,2+dfa+parallel"])
def test_two_clips_in_a_batch_are_as_alone(plan: str) -> None:
    """Of faces of different sizes."""
    case = small(torch.float64)  # guidance and the growing audio stream magnify rounding
    faces = [everywhere()[:, :count] for count in (40, 10)]
    conditions = [
        case.condition(name, k, face)
        for k, (name, face) in enumerate(zip("ab", faces, strict=True))
    ]
    z, sampler = start(2).double(), Sampler(FLOW_MATCHING, parse(plan))
    both = sampler(case.backbone, z, collate(conditions))
    alone = [sampler(case.backbone, z[k : k + 1], cond) for k, cond in enumerate(conditions)]
    assert torch.allclose(both, torch.cat(alone), atol=1e-7)
    assert float((alone[0] - alone[1]).abs().max()) > 0.1


@torch.inference_mode()
def test_a_cache_of_other_identities_is_refused() -> None:
    case = small()
    _, cached = case.backbone.full(start(), torch.tensor([700.0]), case.condition("a"))
    with pytest.raises(CacheError, match="'b'"):
        case.backbone.light(cached, start(), torch.tensor([400.0]), case.condition("b"))


def test_light_steps_are_given_the_last_layers_parts_alone() -> None:
    cond = small().condition()
    light = cond.repeat(3)
    assert set(light.memory) == {"up_blocks.3.motion_modules.2"}
    assert set(light.reference_kv) == set(light.face_kv) == {LAST}
    assert len(light.labels) == 3 * len(cond.labels)
    assert light.identity_ids == ("a",) * 3


@torch.inference_mode()
def test_leaving_the_reference_out_of_a_layer_changes_that_layer_only() -> None:
    case = small()
    without = MemoDenoiser(SPEC, case.net, 3.5, frozenset([LAST]))
    cond, z, t = case.condition(), start(), torch.tensor([700.0])
    v, cached = case.backbone.full(z, t, cond)
    other, same = without.full(z, t, cond)
    assert torch.equal(cached.hidden, same.hidden)
    assert float((v - other).abs().max()) > 1e-4


@torch.inference_mode()
def test_the_published_order_of_work_gives_the_same() -> None:
    case = small(torch.float64)
    faces = random(BRANCHES, 4, 24).double()
    latents = random(1 + PAST, 4, CELLS, CELLS).double()
    features = read_reference_features(case.reference, latents, faces)
    portrait, past = split_motion_frames(case.net, features, BRANCHES, (CELLS, CELLS))
    lean = case.backbone.conditioning(
        "a",
        None,
        pictures=ClipReference(case.net.project_reference(portrait), case.net.write_memory(past)),
        face_kv=case.net.project_face(faces, FRAMES),
        labels=labels_for_branches(3, NO_EMOTION, FRAMES, BRANCHES),
        audio=zeros_for_uncond(random(1, FRAMES, 6, 20).double().flatten(0, 1), BRANCHES),
    )
    wasteful = PublishedMemo.of(lean, portrait)
    x = random(BRANCHES * FRAMES, 4, CELLS, CELLS).double()
    embedding = case.net.embed(torch.tensor([500.0]), BRANCHES, FRAMES)
    made, _ = case.net.full(x, embedding, CallContext(lean))
    expected, _ = case.net.full(x, embedding, CallContext(wasteful))
    assert torch.allclose(made, expected, rtol=0, atol=1e-12)


def test_memory_of_two_clips_is_the_faded_sum() -> None:
    case = small()
    path = "mid_block.motion_modules.0"
    channels = case.net.motion_module(path).temporal_transformer.norm.num_channels
    maps = {
        layer.path("motion_modules"): random(BRANCHES, PAST, layer.channels, 2, 2, seed=k)
        for k, layer in enumerate(case.net.layers())
    }
    assert maps[path].shape[2] == channels
    with torch.inference_mode():
        once = case.net.write_memory(maps)
        twice = case.net.write_memory(maps, once)
    kv, z = once[path][0]
    assert torch.allclose(twice[path][0].kv, (1 + 0.9**PAST) * kv)
    assert torch.allclose(twice[path][0].z, (1 + 0.9**PAST) * z)
