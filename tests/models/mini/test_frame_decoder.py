"""Frames are painted alike by PyTorch and by an engine, chunk by chunk."""

from __future__ import annotations

import pytest
import torch

from models.mini.autoencoder import Autoencoder, FrameDecoder
from models.runtime.openvino import OpenVinoEngine, is_installed
from tests.support.tiny import TINY, Interpreter, randomise

pytestmark = pytest.mark.unit


@pytest.fixture
def codec() -> Autoencoder:
    made = Autoencoder(TINY.codec).requires_grad_(False)
    randomise(made)
    made.std.fill_(0.7)
    return made


@pytest.mark.parametrize("chunks", [1, 3])
def test_an_engine_paints_what_pytorch_paints(codec: Autoencoder, chunks: int) -> None:
    latents, engine = torch.randn(chunks * 2, 4, 6, 5), Interpreter()
    expected = codec.decode_uint8(latents)
    assert torch.equal(FrameDecoder(codec, torch.float32, 2, None)(latents), expected)
    assert torch.equal(FrameDecoder(codec, torch.float32, 2, engine)(latents), expected)
    assert len(engine.compiled) == 1


def test_the_codec_it_was_made_of_is_left_as_it_was(codec: Autoencoder) -> None:
    FrameDecoder(codec, torch.bfloat16, 2, None)
    assert {p.dtype for p in codec.parameters()} == {torch.float32}


@pytest.mark.skipif(not is_installed(), reason="needs livehead[openvino]")
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1.0), (torch.bfloat16, 4.0)])
def test_openvino_paints_the_same(codec: Autoencoder, dtype: torch.dtype, bound: float) -> None:
    latents = torch.randn(2, 4, 6, 5)
    painted = FrameDecoder(codec, torch.float32, 2, OpenVinoEngine(1, dtype))(latents)
    assert float((painted.float() - codec.decode_uint8(latents).float()).abs().max()) <= bound
