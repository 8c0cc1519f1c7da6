"""Hallo on small random networks: light steps, foreground, batches and order of work are exact."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import pytest
import torch
from torch import Tensor

from models.bench.waste import PublishedHallo
from models.errors import CacheError, LiveheadError
from models.hallo import networks as build
from models.hallo.conditioning import HalloConditioning
from models.hallo.unet import HalloDenoiser, HalloUNet, read_chunk_reference
from models.lightning.dfa import FaceTokens
from models.lightning.plan import full_plan, parse
from models.lightning.sampler import Sampler
from models.sd15.cfg import CallContext, collate, zeros_for_uncond
from models.sd15.config import DDIM_ZERO_SNR
from models.sd15.reference_net import (
    ReferenceNet,
    read_reference_features,
    split_motion_frames,
)
from models.spec import DiffusionSpec
from tests.support.small import CONFIGS

pytestmark = pytest.mark.unit

FRAMES, CELLS, PAST, BRANCHES = 3, 8, 2, 2  # an odd number of frames tells tiled from grouped rows
SPEC = DiffusionSpec("hallo", 25.0, FRAMES, 2, 4, (4, CELLS, CELLS), DDIM_ZERO_SNR)
LAST = "up_blocks.3.attentions.2"


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@dataclass
class Small:
    """Networks and the condition of one chunk."""

    net: HalloUNet
    reference: ReferenceNet
    backbone: HalloDenoiser

    @torch.inference_mode()
    def condition(
        self, identity_id: str = "a", seed: int = 1, foreground: Tensor | None = None
    ) -> HalloConditioning:
        """A chunk of its own portrait, motion frames and speech."""
        dtype = self.net.conv_in.weight.dtype
        faces = random(BRANCHES, 4, 24, seed=seed).to(dtype)
        latents = random(1 + PAST, 4, CELLS, CELLS, seed=seed + 10).to(dtype)
        tokens = random(1, FRAMES, 6, 20, seed=seed + 20).to(dtype)
        masks = (random(1, 3, (CELLS >> k) ** 2, seed=seed + 30).sigmoid() for k in range(4))
        region = random(1, 32, CELLS, CELLS, seed=seed + 40).to(dtype)
        return self.backbone.conditioning(
            identity_id,
            None if foreground is None else FaceTokens(foreground),
            pictures=read_chunk_reference(self.net, self.reference, latents, faces),
            face_kv=self.net.project_face(faces, FRAMES),
            audio=zeros_for_uncond(tokens, BRANCHES).flatten(0, 1),
            masks=tuple(level.repeat(BRANCHES, 1, 1).to(dtype) for level in masks),
            region=zeros_for_uncond(region, BRANCHES),
        )


@cache
def small(dtype: torch.dtype = torch.float32) -> Small:
    torch.manual_seed(0)
    made = build.networks(CONFIGS["hallo"])
    net, reference = (
        made["denoising_unet"].eval().to(dtype),
        made["reference_unet"].eval().to(dtype),
    )
    assert isinstance(net, HalloUNet) and isinstance(reference, ReferenceNet)
    return Small(net, reference, HalloDenoiser(SPEC, net, 3.5))


def start(batch: int = 1) -> Tensor:
    return random(batch, 4, FRAMES, CELLS, CELLS, seed=7)


def some(count: int) -> Tensor:
    return torch.arange(count)[None]


def test_every_step_a_key_is_the_plain_loop_bit_for_bit() -> None:
    case = small()
    cond, z = case.condition(), start()
    sampler = Sampler(DDIM_ZERO_SNR, full_plan(4))
    expected = z
    with torch.inference_mode():
        for step, t in enumerate(sampler.timesteps):
            v, _ = case.backbone.full(expected, torch.tensor([float(t)]), cond)
            expected = sampler.trajectory.step(step, expected, v)
    assert torch.equal(sampler(case.backbone, z, cond), expected)


@torch.inference_mode()
def test_a_light_step_on_the_key_steps_own_inputs_is_the_key_step() -> None:
    case = small()
    cond, z, t = case.condition(), start(), torch.tensor([700.0])
    v, cached = case.backbone.full(z, t, cond)
    assert torch.equal(case.backbone.light(cached, z, t, cond), v)


@torch.inference_mode()
def test_attention_on_all_tokens_is_plain_attention_bit_for_bit() -> None:
    case = small()
    cond = case.condition(foreground=some(CELLS * CELLS))
    _, cached = case.backbone.full(start(), torch.tensor([700.0]), cond, keep=True)
    assert cached.background is not None
    assert set(cached.background) == {"attn1", "audio1", "motion0", "motion1"}
    other, later = start() + 0.3, torch.tensor([400.0])
    focused = case.backbone.light(cached, other, later, cond)
    plainly = case.backbone.light(replace(cached, background=None), other, later, cond)
    assert torch.equal(focused, plainly)


@pytest.mark.parametrize("name", ["attn1", "audio1", "motion0", "motion1"])
@torch.inference_mode()
def test_background_tokens_take_what_the_key_step_kept(name: str) -> None:
    case = small()
    cond, t = case.condition(foreground=some(20)), torch.tensor([700.0])
    _, cached = case.backbone.full(start(), t, cond, keep=True)
    assert cached.background is not None
    again = case.backbone.light(cached, start(), t, cond)
    changed = {**cached.background, name: cached.background[name] + 1}
    moved = case.backbone.light(replace(cached, background=changed), start(), t, cond)
    assert float((moved - again).abs().max()) > 1e-3


@pytest.mark.parametrize("flags", ["", "+dfa"])
def test_one_light_step_a_group_in_a_batch_is_the_sequential_one(flags: str) -> None:
    case = small()
    cond, z = case.condition(foreground=some(30)), start()
    one = Sampler(DDIM_ZERO_SNR, parse(f"4:0,2{flags}"))(case.backbone, z, cond)
    batch = Sampler(DDIM_ZERO_SNR, parse(f"4:0,2{flags}+parallel"))(case.backbone, z, cond)
    assert torch.equal(one, batch)


@pytest.mark.parametrize("plan", ["4:0,2", "4:0,2+parallel", "4:0+dfa", "4:0,2+dfa+parallel"])
def test_two_chunks_in_a_batch_are_as_alone(plan: str) -> None:
    """Of faces of different sizes; in double precision, as guidance magnifies rounding."""
    case = small(torch.float64)
    conditions = [case.condition("a", 1, some(40)), case.condition("b", 2, some(10))]
    z, sampler = start(2).double(), Sampler(DDIM_ZERO_SNR, parse(plan))
    both = sampler(case.backbone, z, collate(conditions))
    alone = [sampler(case.backbone, z[k : k + 1], cond) for k, cond in enumerate(conditions)]
    assert torch.allclose(both, torch.cat(alone), atol=1e-6)
    assert float((alone[0] - alone[1]).abs().max()) > 0.1


@torch.inference_mode()
def test_a_cache_of_another_identity_is_refused() -> None:
    case = small()
    _, cached = case.backbone.full(start(), torch.tensor([700.0]), case.condition("a"))
    with pytest.raises(CacheError, match="'b'"):
        case.backbone.light(cached, start(), torch.tensor([400.0]), case.condition("b"))


@torch.inference_mode()
def test_leaving_the_reference_out_of_the_last_layer_changes_that_layer_only() -> None:
    case = small()
    without = HalloDenoiser(SPEC, case.net, 3.5, without_reference=frozenset([LAST]))
    cond, t = case.condition(), torch.tensor([700.0])
    v, cached = case.backbone.full(start(), t, cond)
    other, same = without.full(start(), t, cond)
    assert torch.equal(cached.hidden, same.hidden)
    assert float((v - other).abs().max()) > 1e-4


def test_a_path_that_reads_no_reference_anyway_is_refused() -> None:
    with pytest.raises(LiveheadError, match=LAST):
        HalloDenoiser(SPEC, small().net, 3.5, without_reference=["up_blocks.3.resnets.2"])


@torch.inference_mode()
def test_the_published_order_of_work_gives_the_same() -> None:
    case = small(torch.float64)
    faces = random(BRANCHES, 4, 24, seed=1).double()
    latents = random(1 + PAST, 4, CELLS, CELLS, seed=11).double()
    features = read_reference_features(case.reference, latents, faces)
    portrait, _ = split_motion_frames(case.net, features, BRANCHES, (CELLS, CELLS))
    lean = case.condition()
    wasteful = PublishedHallo.of(lean, portrait)
    x = random(BRANCHES * FRAMES, 4, CELLS, CELLS).double()
    embedding = case.net.embed(torch.tensor([500.0]), BRANCHES, FRAMES)
    made, _ = case.net.full(x, embedding, CallContext(lean))
    expected, _ = case.net.full(x, embedding, CallContext(wasteful))
    assert torch.allclose(made, expected, rtol=0, atol=1e-12)


@torch.inference_mode()
def test_motion_modules_without_attention_have_weights_and_never_run() -> None:
    case = small()
    ran: list[str] = []
    paths = [p for p, _ in case.net.named_modules() if p.endswith("temporal_transformer.norm")]
    handles = [
        case.net.get_submodule(path).register_forward_hook(lambda *_, path=path: ran.append(path))
        for path in paths
    ]
    case.backbone.full(start(), torch.tensor([700.0]), case.condition())
    for handle in handles:
        handle.remove()
    idle = {path for path in paths if path.startswith(("down_blocks.3", "up_blocks.0"))}
    assert len(idle) == 5 and set(ran) == set(paths) - idle
