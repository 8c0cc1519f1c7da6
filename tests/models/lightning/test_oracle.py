"""Light steps agree with DeepCache's plug-in, which caches at the same place of a plain UNet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from models.lightning.plan import parse
from models.lightning.sampler import Sampler
from models.nn.attention import KeyValue
from models.sd15.attention import SpatialTransformer
from models.sd15.cfg import CallContext, SD15Conditioning, SD15Denoiser
from models.sd15.config import DDIM_ZERO_SNR
from models.sd15.unet import LayerFactory, LayerInfo, UNet, UNetSpec
from models.spec import DiffusionSpec

pytestmark = pytest.mark.unit

diffusers = pytest.importorskip("diffusers", reason="diffusers is not installed")
oracle = pytest.importorskip("DeepCache", reason="DeepCache is not installed")

SIZES = UNetSpec(channels=(32, 32, 64, 64), heads=4, groups=8)
WIDTH, CELLS, STEPS = 24, 8, 10
CONFIG = {
    "block_out_channels": SIZES.channels,
    "norm_num_groups": SIZES.groups,
    "attention_head_dim": SIZES.heads,
    "cross_attention_dim": WIDTH,
    "sample_size": CELLS,
    "down_block_types": ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
    "up_block_types": ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
}


class _Stock(LayerFactory):
    """Stable diffusion's own: a transformer after each resnet where the level has attention."""

    def attention(self, layer: LayerInfo) -> nn.Module | None:
        if not layer.has_attention:
            return None
        return SpatialTransformer(layer.channels, SIZES.heads, WIDTH, groups=SIZES.groups)

    def audio(self, layer: LayerInfo) -> nn.Module | None:
        return None

    def motion(self, layer: LayerInfo) -> nn.Module | None:
        return None


@dataclass(frozen=True, kw_only=True)
class _StockConditioning(SD15Conditioning):
    text_kv: Mapping[str, KeyValue]


class _StockNet(UNet[CallContext[_StockConditioning]]):
    def apply_attention(
        self, layer: LayerInfo, x: Tensor, context: CallContext[_StockConditioning]
    ) -> Tensor:
        if not layer.has_attention:
            return x
        path = layer.path("attentions")
        out: Tensor = self.get_submodule(path)(x, None, context.cond.text_kv[path])
        return out


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def networks() -> tuple[Any, _StockNet]:
    """The library's UNet, and ours with the same values."""
    torch.manual_seed(0)
    theirs = diffusers.UNet2DConditionModel(**CONFIG).eval()
    ours = _StockNet(SIZES, _Stock()).eval()
    ours.load_state_dict(theirs.state_dict())
    return theirs, ours


def denoiser_of(network: UNet[CallContext[_StockConditioning]]) -> SD15Denoiser[_StockConditioning]:
    spec = DiffusionSpec("stock", 25, 1, 0, STEPS, (4, CELLS, CELLS), DDIM_ZERO_SNR)
    return SD15Denoiser(spec, network, guidance=1.0)


def condition(network: UNet[CallContext[_StockConditioning]], text: Tensor) -> _StockConditioning:
    text_kv = {}
    for layer in network.layers():
        if layer.has_attention:
            transformer: Any = network.get_submodule(layer.path("attentions"))
            text_kv[layer.path("attentions")] = transformer.block.attn2.project(text)
    return _StockConditioning(
        identity_ids=("text",),
        face_tokens=None,
        frames=1,
        num_branches=1,
        last_layer=network.last_layer(),
        reference_kv={},
        text_kv=text_kv,
    )


@torch.inference_mode()
def plug_in(theirs: Any, text: Tensor, z: Tensor, interval: int) -> Tensor:
    """The library's loop with DeepCache at its shallowest branch, a key step every ``interval``."""
    scheduler = diffusers.DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="linear",
        clip_sample=False,
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
    )
    scheduler.set_timesteps(STEPS)
    helper = oracle.DeepCacheSDHelper(SimpleNamespace(unet=theirs, scheduler=scheduler))
    helper.set_params(cache_interval=interval, cache_branch_id=0)
    helper.enable()
    try:
        for t in scheduler.timesteps:
            v = theirs.forward(z, t, text).sample
            z = scheduler.step(v, t, z).prev_sample
    finally:
        helper.disable()
    return z


@pytest.mark.parametrize(("interval", "plan"), [(3, "10:0,3,6,9"), (5, "10:0,5"), (10, "10:0")])
def test_sequential_light_steps_are_those_of_the_plug_in(interval: int, plan: str) -> None:
    theirs, ours = networks()
    text, z = random(1, 5, WIDTH, seed=1), random(1, 4, 1, CELLS, CELLS, seed=2)
    backbone = denoiser_of(ours)
    with torch.inference_mode():
        cond = condition(ours, text)
    made = Sampler(DDIM_ZERO_SNR, parse(plan))(backbone, z, cond)
    expected = plug_in(theirs, text, z[:, :, 0], interval)
    plainly = Sampler(DDIM_ZERO_SNR, parse("10"))(backbone, z, cond)
    assert float((made[:, :, 0] - expected).abs().max()) < 1e-4
    assert float((plainly - made).abs().max()) > 1e-3  # caching does change the result


def test_the_comparison_would_see_another_boundary() -> None:
    theirs, ours = networks()
    text, z = random(1, 5, WIDTH, seed=1), random(1, 4, 1, CELLS, CELLS, seed=2)
    backbone = denoiser_of(ours)
    with torch.inference_mode():
        cond = condition(ours, text)
        t = torch.tensor([500.0])
        v, cached = backbone.full(z, t, cond)
        shifted = replace(cached, hidden=cached.hidden * 1.01)
        assert float((backbone.light(shifted, z, t, cond) - v).abs().max()) > 1e-4
        assert torch.allclose(theirs(z[:, :, 0], t, text).sample, v[:, :, 0], atol=1e-5)
