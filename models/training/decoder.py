"""Train the codec's decoder on what the denoiser makes, against the true pictures.

The denoiser's latents are not quite those of a picture: a wide mouth comes out smaller and softer
than it should. What is systematic in that, a decoder that has seen such latents puts right. The
encoder stays as it is, and with it the latents and the denoiser.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from models.backbones.mini import MiniUNet
from models.codec import Codec
from models.console import progress
from models.lightning.foreground import pad_together, token_indices
from models.lightning.plan import StepPlan
from models.lightning.sampler import Sampler as Loop
from models.spec import MINI
from models.training.batches import Batch, Pick, Sampler, Stage
from models.training.codec import BATCH, CROP, nearness, place_crop, reconstruction_loss
from models.training.latents import CELL
from models.training.loop import Run
from models.training.synth.clips import Clip

PEAK = 1e-3  # of the learning rate
CHUNKS = 1500  # that the denoiser makes to learn from
AT_ONCE = Stage(share=1.0, size=8, apart=False, window=None, wide=True)
TRUE_SHARE = 0.25  # of the crops are decoded from true latents


class Made(NamedTuple):
    """One frame: latents [C, H, W] as the denoiser made them and as they are, and its truth."""

    made: Tensor
    true: Tensor
    clip: Clip
    frame: int


def train_decoder(
    codec: Codec, frames: Sequence[Made], out: Path, *, minutes: float, seed: int = 0, resume: bool
) -> None:
    """Train for ``minutes``; ``out/ema.pt`` then holds the whole codec with its new decoder.

    Loss: as of the codec (``reconstruction_loss``), on 128x128 crops, most of them of the mouth.
    """
    torch.manual_seed(seed)
    codec.encoder.requires_grad_(False)
    optimiser = torch.optim.AdamW(codec.decoder.parameters(), PEAK, betas=(0.9, 0.99))
    run = Run.begin(
        out,
        codec,
        optimiser,
        decay=0.99,
        peak=PEAK,
        minutes=minutes,
        start=None,
        resume=resume,
    )
    rng = np.random.default_rng(seed + run.step)
    for _ in run.steps("decoder"):
        latents, images, weights = draw_crops(frames, rng)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            decoded = codec.decode(latents)
        loss, psnr = reconstruction_loss(images, decoded.float(), weights)
        run.descend(loss)
        run.note(loss=loss.item(), psnr=psnr)


def draw_crops(frames: Sequence[Made], rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Latents [16, C, 16, 16], pictures [16, 3, 128, 128] in [0, 1], weights [16, 1, 128, 128]."""
    latents, images, weights = [], [], []
    for k in range(BATCH):
        made, true, clip, f = frames[int(rng.integers(len(frames)))]
        corner = place_crop(clip, f, rng, anywhere=k % 4 == 3)
        column, row = (value // CELL for value in corner)
        left, top = CELL * column, CELL * row
        side = CROP // CELL
        source = true if rng.random() < TRUE_SHARE else made
        latents.append(source[:, row : row + side, column : column + side].float())
        images.append(torch.from_numpy(clip.video[f, top : top + CROP, left : left + CROP].copy()))
        weights.append(torch.from_numpy(1 + 4 * nearness(clip, f, left, top)).float())
    pictures = torch.stack(images).permute(0, 3, 1, 2).float() / 255
    weight = torch.stack(weights)[:, None]
    return torch.stack(latents), pictures, weight / weight.mean()


def make_frames(
    net: MiniUNet, plan: StepPlan, sampler: Sampler, clips: dict[str, Clip]
) -> list[Made]:
    """Chunks of the clips as the denoiser makes them by ``plan``, told the true conditions.

    Args:
        sampler: of the clips as they are, without variants.
        clips: by name.
    """
    loop, frames = Loop(MINI.schedule, plan), []
    for _ in progress(range(CHUNKS // AT_ONCE.size), "latents of the denoiser"):
        picks = [
            replace(sampler.pick(AT_ONCE), heard=False, silent=False) for _ in range(AT_ONCE.size)
        ]
        made = sample(net, loop, sampler.collect(picks, None)).half().transpose(1, 2)
        for pick, chunk in zip(picks, made, strict=True):
            frames += _frames(pick, chunk, clips)
    return frames


def sample(net: MiniUNet, loop: Loop, batch: Batch) -> Tensor:
    """Clean latents [B, C, F, H, W] of a batch, from noise that its frames share."""
    noise = torch.randn_like(batch.x[:, :, :1]).expand_as(batch.x)
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        reference = net.reference([""] * len(noise), batch.anchor, batch.geometry)
        faces = batch.anchor.sigma[:, 0, 0] > MINI.sigma_background
        foreground = pad_together([token_indices(face.float()) for face in faces])
        reference = replace(reference, foreground=foreground)
        cond = net.condition(reference, batch.features, batch.mouth, batch.motion)
        latents = loop(net, MINI.schedule.start_noise * noise, cond)
    return latents.clone()


def _frames(pick: Pick, chunk: Tensor, clips: dict[str, Clip]) -> list[Made]:
    clip = clips[pick.variant.clip]
    return [
        Made(made, pick.variant.latents[at], clip, at)
        for made, at in zip(chunk, pick.span, strict=True)
    ]
