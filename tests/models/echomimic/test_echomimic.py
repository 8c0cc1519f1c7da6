"""EchoMimic on small random networks: windows that walk, caches per frame, seams."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import pytest
import torch
from torch import Tensor

from models.bench.waste import PublishedEchoMimic
from models.echomimic import networks as build
from models.echomimic.conditioning import EchoMimicConditioning
from models.echomimic.streaming import smooth_boundary
from models.echomimic.unet import EchoMimicDenoiser, EchoMimicUNet
from models.echomimic.windows import EchoMimicWindows, ring_windows
from models.errors import CacheError
from models.lightning.cache import FeatureCache
from models.lightning.dfa import FaceTokens
from models.lightning.plan import full_plan, parse
from models.lightning.sampler import Sampler
from models.nn.attention import KeyValue
from models.sd15.cfg import CallContext, collate
from models.sd15.config import DDIM_ZERO_SNR
from models.sd15.reference_net import ReferenceNet
from models.spec import DiffusionSpec
from tests.support.small import CONFIGS

pytestmark = pytest.mark.unit

CELLS, STEPS = 8, 4
SPEC = DiffusionSpec("echomimic", 24.0, 4, 0, STEPS, (4, CELLS, CELLS), DDIM_ZERO_SNR)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@dataclass
class Small:
    """The network, guided or not."""

    net: EchoMimicUNet
    reference_kv: dict[str, KeyValue]
    features: dict[str, Tensor]

    def backbone(self, guidance: float = 2.5) -> EchoMimicDenoiser:
        """For windows of any length."""
        return EchoMimicDenoiser(SPEC, self.net, guidance)

    def condition(
        self,
        frames: int,
        identity_id: str = "a",
        seed: int = 1,
        guidance: float = 2.5,
        foreground: Tensor | None = None,
    ) -> EchoMimicConditioning:
        """Of a clip of ``frames`` frames with its own speech."""
        dtype = self.net.conv_in.weight.dtype
        audio = random(1, frames, 5, 24, seed=seed).to(dtype)
        face = random(1, 32, CELLS, CELLS, seed=3).to(dtype)
        backbone = self.backbone(guidance)
        with torch.inference_mode():
            return backbone.conditioning(
                identity_id,
                None if foreground is None else FaceTokens(foreground),
                reference_kv=self.reference_kv,
                face=face,
                audio=audio,
            )


@cache
def small(dtype: torch.dtype = torch.float32) -> Small:
    torch.manual_seed(0)
    made = build.networks(CONFIGS["echomimic"])
    net, reference = (
        made["denoising_unet"].eval().to(dtype),
        made["reference_unet"].eval().to(dtype),
    )
    assert isinstance(net, EchoMimicUNet) and isinstance(reference, ReferenceNet)
    with torch.inference_mode():
        _, recorded = reference.read(random(1, 4, CELLS, CELLS, seed=9).to(dtype))
        return Small(net, net.project_reference(recorded.features), recorded.features)


def clip(frames: int) -> Tensor:
    return random(1, 4, frames, CELLS, CELLS, seed=7)


def test_windows_walk_around_the_ring() -> None:
    assert ring_windows(6, 4, 1) == [[0, 1, 2, 3], [3, 4, 5, 0]]
    walking = EchoMimicWindows(small().backbone(), 6, window=4, overlap=1)
    assert walking.windows_at(1) == [[2, 3, 4, 5], [5, 0, 1, 2]]
    assert walking.windows_at(3) == walking.windows_at(0)


@pytest.mark.parametrize("guidance", [1.0, 2.5])
def test_every_step_a_key_is_the_plain_loop_bit_for_bit(guidance: float) -> None:
    case = small()
    walking = EchoMimicWindows(case.backbone(guidance), 6, window=4, overlap=1)
    cond = walking.condition(case.condition(6, guidance=guidance))
    sampler, expected = Sampler(DDIM_ZERO_SNR, full_plan(STEPS)), clip(6)
    with torch.inference_mode():
        for step, t in enumerate(sampler.timesteps):
            v, _ = walking.full(expected, torch.tensor([float(t)]), cond, step=step)
            expected = sampler.trajectory.step(step, expected, v)
    assert torch.equal(sampler(walking, clip(6), cond), expected)


@torch.inference_mode()
def test_a_light_step_where_the_windows_have_not_walked_is_the_key_step() -> None:
    case = small()
    walking = EchoMimicWindows(case.backbone(), 7, window=4, overlap=1)
    cond = walking.condition(case.condition(7))
    t = torch.tensor([float(Sampler(DDIM_ZERO_SNR, full_plan(STEPS)).timesteps[1])])
    v, cached = walking.full(clip(7), t, cond, step=1, keep=True)
    again = walking.light(replace(cached, background=None), clip(7), t, cond, step=1)
    assert torch.equal(again, v)


@pytest.mark.parametrize("guidance", [1.0, 2.5])
@torch.inference_mode()
def test_the_published_order_of_work_gives_the_same(guidance: float) -> None:
    case = small(torch.float64)
    lean, backbone = case.condition(4, guidance=guidance), case.backbone(guidance)
    wasteful = PublishedEchoMimic.of(lean, case.features)
    x = random(backbone.num_branches * 4, 4, CELLS, CELLS).double()
    embedding = case.net.embed(torch.tensor([500.0]), backbone.num_branches, 4)
    made, _ = case.net.full(x, embedding, CallContext(lean))
    expected, _ = case.net.full(x, embedding, CallContext(wasteful))
    assert torch.allclose(made, expected, rtol=0, atol=1e-12)


@torch.inference_mode()
def test_every_frame_takes_its_own_hidden_state_wherever_its_window_has_gone() -> None:
    case = small()
    walking = EchoMimicWindows(case.backbone(1.0), 7, window=4, overlap=1)
    held = [frame for window in walking.windows_at(0) for frame in window]
    for step in range(STEPS):
        for window, rows in zip(walking.windows_at(step), walking._sources(0, step), strict=True):
            assert [held[row] for row in rows] == window


@pytest.mark.parametrize("frames", [3, 4, 6, 7, 9])
@torch.inference_mode()
def test_each_frame_of_each_copy_takes_its_own_of_everything_cached(frames: int) -> None:
    """Rows of the cache are told apart by half, copy and frame; clips shorter than a window, of
    its length, and longer ones, whose last windows wrap."""
    walking = EchoMimicWindows(small().backbone(), frames, window=4, overlap=1)
    copies, num_branches = 2, 2
    for key in range(STEPS):
        held = torch.tensor([frame for window in walking.windows_at(key) for frame in window])
        names = torch.cat(
            [
                1000.0 * half + 100 * copy + held
                for half in range(num_branches)
                for copy in range(copies)
            ]
        )
        cached = FeatureCache(
            names.view(-1, 1, 1, 1), {"a": names.view(-1, 1, 1)}, ("x",) * copies, 2
        )
        for step in range(key + 1, STEPS):
            for window, source in zip(
                walking.windows_at(step), walking._sources(key, step), strict=True
            ):
                for copy in range(copies):
                    part = walking._part(cached, copies, copy, source)
                    expected = [
                        1000 * h + 100 * copy + f for h in range(num_branches) for f in window
                    ]
                    assert part.background is not None and part.identity_ids == ("x",)
                    assert part.hidden.flatten().tolist() == expected
                    assert part.background["a"].flatten().tolist() == expected


@pytest.mark.parametrize("frames", [4, 7])
@torch.inference_mode()
def test_a_foreground_of_all_tokens_is_plain_attention_wherever_windows_go(frames: int) -> None:
    case = small()
    walking = EchoMimicWindows(case.backbone(), frames, window=4, overlap=1)
    all_tokens = torch.arange(CELLS * CELLS)[None]
    cond = walking.condition(case.condition(frames, foreground=all_tokens))
    for flags in ("", "+parallel"):
        focused = Sampler(DDIM_ZERO_SNR, parse(f"4:0,3+dfa{flags}"))(walking, clip(frames), cond)
        plainly = Sampler(DDIM_ZERO_SNR, parse(f"4:0,3{flags}"))(walking, clip(frames), cond)
        assert torch.equal(focused, plainly)


@pytest.mark.parametrize("flags", ["", "+dfa"])
def test_one_light_step_a_group_in_a_batch_is_the_sequential_one(flags: str) -> None:
    case = small()
    walking = EchoMimicWindows(case.backbone(), 6, window=4, overlap=1)
    cond = walking.condition(case.condition(6, foreground=torch.arange(40)[None]))
    one = Sampler(DDIM_ZERO_SNR, parse(f"4:0,2{flags}"))(walking, clip(6), cond)
    batch = Sampler(DDIM_ZERO_SNR, parse(f"4:0,2{flags}+parallel"))(walking, clip(6), cond)
    assert torch.equal(one, batch)


@torch.inference_mode()
def test_attention_on_all_tokens_is_plain_attention_bit_for_bit() -> None:
    case = small()
    cond = case.condition(4, foreground=torch.arange(CELLS * CELLS)[None])
    backbone = case.backbone()
    _, cached = backbone.full(clip(4), torch.tensor([700.0]), cond, keep=True)
    assert cached.background is not None
    assert set(cached.background) == {"attn1", "motion0", "motion1"}
    later = torch.tensor([400.0])
    focused = backbone.light(cached, clip(4) + 0.3, later, cond)
    plainly = backbone.light(replace(cached, background=None), clip(4) + 0.3, later, cond)
    assert torch.equal(focused, plainly)


@pytest.mark.parametrize("guidance", [1.0, 2.5])
@pytest.mark.parametrize("plan", ["4:0,2", "4:0,2+parallel", "4:0+dfa", "4:0,2+dfa+parallel"])
def test_two_windows_in_a_batch_are_as_alone(plan: str, guidance: float) -> None:
    """Of faces of different sizes; in double precision, as guidance magnifies rounding."""
    case = small(torch.float64)
    faces = [torch.arange(count)[None] for count in (40, 10)]
    conditions = [
        case.condition(4, name, seed, guidance, face)
        for name, seed, face in zip("ab", (1, 2), faces, strict=True)
    ]
    z = random(2, 4, 4, CELLS, CELLS, seed=7).double()
    sampler, backbone = Sampler(DDIM_ZERO_SNR, parse(plan)), case.backbone(guidance)
    both = sampler(backbone, z, collate(conditions))
    alone = [sampler(backbone, z[k : k + 1], cond) for k, cond in enumerate(conditions)]
    assert torch.allclose(both, torch.cat(alone), atol=1e-6)
    assert float((alone[0] - alone[1]).abs().max()) > 0.01


@torch.inference_mode()
def test_a_cache_of_another_clip_is_refused() -> None:
    case = small()
    walking = EchoMimicWindows(case.backbone(), 6, window=4, overlap=1)
    t = torch.tensor([float(Sampler(DDIM_ZERO_SNR, full_plan(STEPS)).timesteps[0])])
    cond = walking.condition(case.condition(6, "a"))
    _, cached = walking.full(clip(6), t, cond, step=0)
    with pytest.raises(CacheError, match="'b'"):
        walking.light(cached, clip(6), t, walking.condition(case.condition(6, "b")), step=0)
    with pytest.raises(CacheError, match="one clip"):
        walking.full(clip(6).repeat(2, 1, 1, 1, 1), t.repeat(2), cond, step=0)


def test_a_bridge_closes_the_gap_and_fades() -> None:
    window = torch.zeros(1, 1, 7, 1, 1)
    shown = torch.ones(1, 1, 1, 1, 1)
    new = smooth_boundary(window, 3, shown)
    assert new.flatten().tolist() == [0.5, 0.25, 0.125, 0.0625]
    assert torch.equal(smooth_boundary(window, 3, None), window[:, :, 3:])


def test_seams_of_the_causal_way_are_below_those_of_chunks_without_overlap() -> None:
    """The claim in the docstring of ``streaming``: frames share their noise, so that only the
    borders of chunks make a frame jump."""
    case, frames, overlap, new = small(), 22, 3, 4
    noise = random(1, 4, 1, CELLS, CELLS, seed=7).expand(1, 4, frames + overlap, CELLS, CELLS)
    slow = random(1, 8, 5 * 24, seed=5).transpose(1, 2)
    audio = torch.nn.functional.interpolate(slow, frames + overlap, mode="linear")
    audio = audio.transpose(1, 2).view(1, frames + overlap, 5, 24)
    backbone, sampler = case.backbone(1.0), Sampler(DDIM_ZERO_SNR, full_plan(STEPS))
    face = random(1, 32, CELLS, CELLS, seed=3)

    def window(begin: int, end: int) -> Tensor:
        with torch.inference_mode():
            cond = backbone.conditioning(
                "a",
                None,
                reference_kv=case.reference_kv,
                face=face,
                audio=audio[:, begin:end],
            )
        return sampler(backbone, noise[:, :, begin:end], cond)

    bridged: list[Tensor] = []
    for at in range(0, frames - new, new):
        shown = bridged[-1][:, :, -1:] if bridged else None
        bridged.append(smooth_boundary(window(at, at + overlap + new), overlap, shown))
    apart = [window(at + overlap, at + overlap + new) for at in range(0, frames - new, new)]
    assert seam(bridged) < 0.9 * seam(apart)


def seam(chunks: list[Tensor]) -> float:
    """Change over borders of chunks over change inside them."""
    whole = torch.cat(chunks, dim=2)
    change = (whole[:, :, 1:] - whole[:, :, :-1]).pow(2).mean((0, 1, 3, 4)).sqrt()
    size = chunks[0].shape[2]
    borders = torch.arange(len(change)) % size == size - 1
    return float(change[borders].mean() / change[~borders].mean())
