"""Batches gathered at once hold what gathering chunk by chunk gives, all on one device."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from torch import Tensor

from models.mini.autoencoder import Autoencoder
from models.mini.config import MINI
from models.mini.motion import EXPRESSION, MOTION, MOUTH_UNITS
from models.mini.unet import MiniUNet
from models.training import denoiser
from models.training.batches import MIRROR, Batch, BatchSampler, Draw, Phase, Window
from models.training.denoiser import PHASES
from models.training.latents import Variant
from models.training.speech_features import ClipSpeech

pytestmark = pytest.mark.unit

LENGTHS = {"000": (40, 60), "001": (53, 53), "002": (44, 80)}
"""Frames of video and of sound."""


def make_clips() -> tuple[list[Variant], dict[str, ClipSpeech]]:
    """Three clips of different lengths; the second is also there mirrored."""
    generator = torch.Generator().manual_seed(5)

    def random(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator)

    variants, speech = [], {}
    for name, (shown, heard) in LENGTHS.items():
        shape = (2, heard // 4 - 2, 4)
        speech[name] = ClipSpeech(
            random(*shape, 7, 288).half(),
            random(*shape, len(MOUTH_UNITS)),
            random(heard, len(MOUTH_UNITS)),
            random(heard, len(MOTION)),
        )
        for mirrored in (False, True)[: 1 + (name == "001")]:
            latents, stills = (random(n, *MINI.latent).half() for n in (shown, 2))
            places = (32 * random(shown, 2), 32 * random(shown, 4), 32 * random(2))
            variants.append(Variant(name, latents, stills, random(32, 32), *places, mirrored))
    return variants, speech


def gather_one(variants: list[Variant], speech: dict[str, ClipSpeech], draw: Draw) -> list[Tensor]:
    """The slow reference: one chunk from its own variant and clip."""
    variant = variants[draw.variant]
    clip = speech[variant.clip]
    names = list(speech)
    before = names[: names.index(variant.clip)]
    first = sum(len(v.latents) + 2 for v in variants[: draw.variant])
    heard = torch.tensor(draw.heard) - sum(len(speech[name].mouth) for name in before)
    spoken = torch.tensor(draw.spoken) - sum(
        speech[name].features.flatten(0, 2).shape[0] for name in before
    )
    pictures = torch.cat([variant.latents, variant.stills])
    shown = torch.tensor(draw.pictures) - first
    assert torch.equal(shown, heard)  # the picture of frame f is heard as frame f
    mouth = clip.predicted.flatten(0, 2)[spoken] if draw.predicted else clip.mouth[heard]
    motion = clip.motion[heard][:, -len(EXPRESSION) :]
    features = clip.features.flatten(0, 2)[spoken].float()
    return [
        pictures[shown].float().transpose(0, 1),
        pictures[draw.reference - first][None].float(),
        features * (0 if draw.silent else 1),
        mouth,
        motion * MIRROR if variant.mirrored else motion,
    ]


def test_a_batch_is_its_chunks_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    variants, speech = make_clips()
    drawn: list[Draw] = []
    sampler = BatchSampler(variants, speech, MINI, seed=3)
    draw_chunk = sampler._draw_chunk

    def remember(phase: Phase) -> Draw:
        drawn.append(draw_chunk(phase))
        return drawn[-1]

    monkeypatch.setattr(sampler, "_draw_chunk", remember)
    for phase in PHASES * 4:
        drawn.clear()
        batch = sampler.batch(phase)
        got = (batch.x0, batch.prior.latent, batch.features, batch.mouth, batch.motion)
        expected = [gather_one(variants, speech, draw) for draw in drawn]
        for k, field in enumerate(got):
            assert torch.equal(field, torch.stack([chunk[k] for chunk in expected]))


def on_meta(batch: Batch, t: Tensor) -> Tensor:
    """Loss of a step; a tensor of another device among its operands raises."""
    net, autoencoder = MiniUNet(MINI).to("meta"), Autoencoder().to("meta")
    prediction = denoiser.predict(net, batch, t, denoiser.sample_noise(batch.x0))
    frames = torch.arange(1)
    picture = denoiser.image_loss(autoencoder, lambda a, b: (a - b).mean(), prediction, frames)
    return denoiser.v_loss(prediction).mean() + picture


def test_a_step_stays_on_the_device_of_its_clips(monkeypatch: pytest.MonkeyPatch) -> None:
    """On PyTorch's device without data, which knows nothing of autocast and of values."""
    variants, speech = make_clips()
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())
    monkeypatch.setattr(denoiser, "_choose_window", lambda *_: Window(0, 0, denoiser.PATCH_SIZE))
    sampler = BatchSampler(variants, speech, MINI, 3, torch.device("meta"))
    for phase in PHASES:
        batch = sampler.batch(phase)
        t = torch.zeros(phase.batch_size, dtype=torch.long, device="meta")
        assert on_meta(batch, t).device.type == "meta"
