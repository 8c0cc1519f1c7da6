"""Train the latent codec on synthetic frames: L1, gradients and SSIM, most weight on the mouth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from models.dataset.clips import Clip, list_clips, load_clip
from models.io.console import say
from models.mini.autoencoder import Autoencoder
from models.training.run import Ema, Run, Start

CROP = 128
BATCH = 16
PEAK = 2e-3  # of the learning rate


def train_codec(
    data: Path,
    out: Path,
    *,
    minutes: float,
    seed: int = 0,
    resume: bool = True,
    start: Start | None = None,
) -> None:
    """Train for ``minutes`` and write ``out/ema.pt`` with measured latent statistics.

    Raises:
        LiveheadError: the training to resume did not begin with ``start``.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    clips = [load_clip(path) for path in list_clips(data, "train")]
    codec = Autoencoder().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = torch.optim.AdamW(codec.parameters(), PEAK, weight_decay=1e-4, betas=(0.9, 0.99))
    run = Run(out, codec, optimiser, Ema(codec, 0.99), peak=PEAK, minutes=minutes)
    run.begin(start, resume=resume)
    if run.step:
        say(f"resumed at step {run.step}")
    for step in run.steps("codec"):
        if step % 200 == 0:
            clips = [load_clip(path) for path in list_clips(data, "train")]
        images, weights = sample_crops(clips, rng)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            z = codec.encoder(images * 2 - 1)
        z = z.float()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            decoded = codec.decoder(z + 0.05 * torch.randn_like(z))
        decoded = decoded.float() * 0.5 + 0.5
        loss, psnr = reconstruction_loss(images, decoded, weights)
        calm = 1e-4 * (z * z).mean() + 0.02 * F.relu(z.abs() - 4).mean()
        run.descend(loss + calm)
        run.note(loss=loss.item(), psnr=psnr)
    codec.load_state_dict(run.ema.state)
    measure_latents(codec, clips)
    run.ema.state = codec.state_dict()
    run.save()


def sample_crops(clips: list[Clip], rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Random 128x128 crops [16, 3, 128, 128] in [0, 1], three of four near the mouth or eyes,
    and weights [16, 1, 128, 128] of mean 1 that rise to five times around the mouth."""
    images = np.empty((BATCH, CROP, CROP, 3), np.uint8)
    weights = np.ones((BATCH, 1, CROP, CROP), np.float32)
    y, x = np.mgrid[0:CROP, 0:CROP]
    for k in range(BATCH):
        clip = clips[rng.integers(len(clips))]
        f = int(rng.integers(len(clip.video)))
        mx, my = clip.mouth_xy[f]
        if k % 4 == 3:
            left, top = (int(v) for v in rng.integers(0, 256 - CROP + 1, 2))
        else:
            left = int(np.clip(mx - rng.integers(20, 108), 0, 256 - CROP))
            top = int(np.clip(my - rng.integers(20, 108), 0, 256 - CROP))
        crop = clip.video[f, top : top + CROP, left : left + CROP]
        near = np.exp(-(((x - mx + left) / 30) ** 2) - ((y - my + top) / 24) ** 2)
        for ex, ey in clip.eyes_xy[f].reshape(2, 2):
            eye = np.exp(-((x - ex + left) ** 2 + (y - ey + top) ** 2) / 256)
            near = np.maximum(near, 0.5 * eye)
        if rng.random() < 0.5:
            crop, near = crop[:, ::-1], near[:, ::-1]
        images[k] = crop
        weights[k, 0] += 4 * near
    batch = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    if rng.random() < 0.5:
        gain = 1 + 0.15 * torch.randn(BATCH, 3, 1, 1)
        batch = (batch * gain + 0.08 * torch.randn(BATCH, 3, 1, 1)).clamp(0, 1)
    batch = batch.contiguous(memory_format=torch.channels_last)
    return batch, torch.from_numpy(weights / weights.mean())


def reconstruction_loss(images: Tensor, decoded: Tensor, weights: Tensor) -> tuple[Tensor, float]:
    """Weighted L1 + 0.5 gradient L1 + 0.25 (1 - SSIM), and the PSNR in dB."""
    d = decoded - images
    across = ((d[..., 1:] - d[..., :-1]).abs() * weights[..., 1:]).mean()
    down = ((d[..., 1:, :] - d[..., :-1, :]).abs() * weights[..., 1:, :]).mean()
    loss = (d.abs() * weights).mean() + 0.5 * (across + down)
    loss = loss + 0.25 * dissimilarity(images, decoded, weights)
    return loss, -10 * float(torch.log10(d.detach().pow(2).mean()))


def dissimilarity(a: Tensor, b: Tensor, weights: Tensor) -> Tensor:
    """Weighted mean of 1 - SSIM in 7x7 boxes (Wang et al. 2004, constants for data in [0, 1])."""

    def mean(x: Tensor) -> Tensor:
        return F.avg_pool2d(x, 7, 2)

    ma, mb = mean(a), mean(b)
    va, vb, cov = mean(a * a) - ma * ma, mean(b * b) - mb * mb, mean(a * b) - ma * mb
    similarity = (2 * ma * mb + 1e-4) * (2 * cov + 9e-4)
    similarity = similarity / ((ma * ma + mb * mb + 1e-4) * (va + vb + 9e-4))
    return (mean(weights) * (1 - similarity)).mean()


@torch.no_grad()
def measure_latents(codec: Autoencoder, clips: list[Clip]) -> None:
    """Set the codec's latent mean and deviation from frames of every clip."""
    codec.mean.zero_()
    codec.std.fill_(1.0)
    latents = []
    for clip in clips:
        picks = np.linspace(0, len(clip.video) - 1, 8).astype(int)
        frames = torch.from_numpy(np.asarray(clip.video[picks])).permute(0, 3, 1, 2).float() / 255
        latents.append(codec.encode(frames))
    stacked = torch.cat(latents)
    codec.mean.copy_(stacked.mean((0, 2, 3)))
    codec.std.copy_(stacked.std((0, 2, 3)))
