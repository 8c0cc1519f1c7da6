"""What is learnt of a video is the mouth; the rest is as the first weights draw it."""

from __future__ import annotations

import pytest
import torch

from models.finetune.rest import draw_clip, keep_rest, learnt_share
from models.lightning.plan import parse
from models.mini.audio import CHUNK_FRAMES
from models.mini.config import MINI
from models.mini.unet import MiniUNet
from models.training.latents import Variant
from models.training.speech_features import ClipSpeech

pytestmark = pytest.mark.unit

FRAMES, CHUNKS = 22, 3
CHANNELS, SIDE, _ = MINI.latent
PLAN = parse("4:0,2")


@pytest.fixture(scope="module")
def variant() -> Variant:
    torch.manual_seed(0)
    mask = torch.zeros(SIDE, SIDE)
    mask[6:28, 6:26] = 1.0
    return Variant(
        clip="0000",
        latents=torch.randn(FRAMES, CHANNELS, SIDE, SIDE).half(),
        stills=torch.randn(2, CHANNELS, SIDE, SIDE).half(),
        mask=mask,
        mouth_xy=torch.tensor([16.0, 21.0]).repeat(FRAMES, 1),
        eyes_xy=torch.tensor([12.0, 11.0, 20.0, 11.0]).repeat(FRAMES, 1),
        rest_xy=torch.tensor([16.0, 21.0]),
        mirrored=False,
    )


@pytest.fixture(scope="module")
def speech() -> ClipSpeech:
    torch.manual_seed(1)
    shape = (2, CHUNKS, CHUNK_FRAMES)
    return ClipSpeech(
        torch.randn(*shape, MINI.audio_window, MINI.audio_features).half(),
        torch.rand(*shape, MINI.mouth_units),
        torch.rand(FRAMES, MINI.mouth_units),
        torch.rand(FRAMES, 7),
    )


def network(*, silent: bool) -> MiniUNet:
    """Random weights; a silent network adds nothing to its prior."""
    torch.manual_seed(2)
    net = MiniUNet(MINI).eval()
    if not silent:
        torch.nn.init.normal_(net.conv_out.weight, std=0.2)
    return net


def test_a_silent_network_draws_the_portrait(variant: Variant, speech: ClipSpeech) -> None:
    drawn = draw_clip(network(silent=True), PLAN, variant, speech)
    assert drawn.shape == (CHUNKS * CHUNK_FRAMES, *MINI.latent)
    off = (drawn - variant.stills[0].float()).abs()[:, :, variant.mask == 0]
    assert off.max() < 0.1


def test_what_is_told_to_the_mouth_is_drawn(variant: Variant, speech: ClipSpeech) -> None:
    net = network(silent=False)
    own = draw_clip(net, PLAN, variant, speech)
    assert torch.equal(own, draw_clip(net, PLAN, variant, speech, speech.mouth))
    other = draw_clip(net, PLAN, variant, speech, 1 - speech.mouth)
    assert (own - other).abs().max() > 0.01


def test_the_mouth_is_the_videos_and_the_rest_as_drawn(variant: Variant) -> None:
    drawn = torch.randn(FRAMES - 2, CHANNELS, SIDE, SIDE)
    mixed = keep_rest(variant, drawn).latents
    assert torch.equal(mixed[-2:], variant.latents[-2:])  # beyond the last whole chunk
    torch.testing.assert_close(mixed[:-2, :, 21, 16], variant.latents[:-2, :, 21, 16])
    for row, column in ((0, 0), (11, 12), (11, 20), (4, 16)):  # a corner, both eyes, the forehead
        off = (mixed[:-2, :, row, column].float() - drawn[..., row, column]).abs()
        assert off.max() < 0.35


def test_the_share_falls_from_the_mouth(variant: Variant) -> None:
    share = learnt_share(variant)[0, 0]
    column = share[21:, 16]
    assert share.max() == 1 and (column.diff() <= 0).all() and share[11, 12] < 0.1
