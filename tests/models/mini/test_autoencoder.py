"""The codec: shapes, the measured normalisation, and the byte path against the plain one."""

from __future__ import annotations

import pytest
import torch

from models.mini.autoencoder import Autoencoder
from models.mini.config import AutoencoderSpec
from models.runtime.eager import for_inference
from tests.support.tiny import TINY, randomise

pytestmark = pytest.mark.unit


def codec(spec: AutoencoderSpec = TINY.codec) -> Autoencoder:
    made = Autoencoder(spec).requires_grad_(False)
    randomise(made)
    generator = torch.Generator().manual_seed(3)
    made.mean.copy_(torch.randn(spec.latent, generator=generator))
    made.std.copy_(torch.rand(spec.latent, generator=generator) + 0.5)
    return made


def test_eight_pixels_make_a_cell() -> None:
    made = codec()
    latents = made.encode(torch.rand(2, 3, 64, 48))
    assert latents.shape == (2, 4, 8, 6)
    assert made.decode(latents).shape == (2, 3, 64, 48)


def test_latents_are_normalised_by_what_was_measured() -> None:
    made, images = codec(), torch.rand(1, 3, 32, 32)
    raw = made.encoder(images * 2 - 1)
    expected = (raw - made.mean.view(1, -1, 1, 1)) / made.std.view(1, -1, 1, 1)
    assert torch.allclose(made.encode(images), expected, atol=1e-6)
    assert torch.allclose(made.decode(expected), made.decoder(raw) * 0.5 + 0.5, atol=1e-5)


@pytest.mark.parametrize("spec", [TINY.codec, AutoencoderSpec()])
def test_a_picture_is_the_decoded_one_rounded(spec: AutoencoderSpec) -> None:
    made = codec(spec)
    latents = torch.randn(2, spec.latent, 6, 5)
    levels = (made.decode(latents) * 255).clamp(0, 255).permute(0, 2, 3, 1)
    picture = made.decode_uint8(latents)
    assert picture.shape == (2, 48, 40, 3) and picture.dtype == torch.uint8
    assert picture.is_contiguous()
    assert float((picture.float() - levels).abs().max()) < 0.501
    assert 0 < int(picture.float().mean()) < 255


def test_a_picture_in_bfloat16_is_a_level_or_two_off() -> None:
    made, fast = codec(), codec()
    for_inference(fast, torch.bfloat16)
    assert fast.mean.dtype == fast.std.dtype == torch.float32
    latents = torch.randn(2, 4, 6, 5)
    off = (made.decode_uint8(latents).float() - fast.decode_uint8(latents).float()).abs()
    assert float(off.mean()) < 1.5


def test_the_bundled_sizes_build_the_codec_that_was_trained() -> None:
    """Names and sizes are a promise to every weights file ever written."""
    state = Autoencoder().state_dict()
    assert len(state) == 30
    assert sum(value.numel() for value in state.values()) == 731_492
    assert "decoder.5.conv1.weight" in state and "mean" in state
