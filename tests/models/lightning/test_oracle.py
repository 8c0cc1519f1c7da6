"""Light steps agree with DeepCache's plug-in, which caches at the same place of a plain UNet."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from models.lightning.focus import Focus
from models.lightning.plan import parse
from models.lightning.sampler import Sampler
from models.nn.attention import KeyValue
from models.sd15.attention import SpatialTransformer
from models.sd15.cfg import SD15Conditioning, SD15Denoiser
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

    def attention(self, place: LayerInfo) -> nn.Module | None:
        if not place.attends:
            return None
        return SpatialTransformer(place.channels, SIZES.heads, WIDTH, groups=SIZES.groups)

    def audio(self, place: LayerInfo) -> nn.Module | None:
        return None

    def motion(self, place: LayerInfo) -> nn.Module | None:
        return None


class _StockNet(UNet):
    def after_resnet(self, place: LayerInfo, x: Tensor, call: dict[str, KeyValue]) -> Tensor:
        if not place.attends:
            return x
        path = place.path("attentions")
        out: Tensor = self.get_submodule(path)(x, None, call[path])
        return out


@dataclass
class _StockBackbone(SD15Denoiser):
    network: UNet
    spec: DiffusionSpec = DiffusionSpec("stock", 25, 1, 0, STEPS, (4, CELLS, CELLS), DDIM_ZERO_SNR)
    guidance: float = 1.0

    def call(self, cond: SD15Conditioning, focus: Focus) -> dict[str, KeyValue]:
        kept: dict[str, KeyValue] = dict(cond.parts["text"])
        return kept


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def networks() -> tuple[Any, UNet]:
    """The library's UNet, and ours with the same values."""
    torch.manual_seed(0)
    theirs = diffusers.UNet2DConditionModel(**CONFIG).eval()
    ours = _StockNet(SIZES, _Stock()).eval()
    ours.load_state_dict(theirs.state_dict())
    return theirs, ours


def condition(backbone: _StockBackbone, text: Tensor) -> SD15Conditioning:
    heard = {}
    for place in backbone.network.places():
        if place.attends:
            transformer: Any = backbone.network.get_submodule(place.path("attentions"))
            heard[place.path("attentions")] = transformer.block.attn2.project(text)
    return backbone.condition("text", None, {"text": heard})


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
    backbone = _StockBackbone(ours)
    with torch.inference_mode():
        cond = condition(backbone, text)
    made = Sampler(DDIM_ZERO_SNR, parse(plan))(backbone, z, cond)
    expected = plug_in(theirs, text, z[:, :, 0], interval)
    plainly = Sampler(DDIM_ZERO_SNR, parse("10"))(backbone, z, cond)
    assert float((made[:, :, 0] - expected).abs().max()) < 1e-4
    assert float((plainly - made).abs().max()) > 1e-3  # caching does change the result


def test_the_comparison_would_see_another_boundary() -> None:
    theirs, ours = networks()
    text, z = random(1, 5, WIDTH, seed=1), random(1, 4, 1, CELLS, CELLS, seed=2)
    backbone = _StockBackbone(ours)
    with torch.inference_mode():
        cond = condition(backbone, text)
        t = torch.tensor([500.0])
        v, cached = backbone.full(z, t, cond)
        shifted = replace(cached, hidden=cached.hidden * 1.01)
        assert float((backbone.tail(shifted, z, t, cond) - v).abs().max()) > 1e-4
        assert torch.allclose(theirs(z[:, :, 0], t, text).sample, v[:, :, 0], atol=1e-5)
