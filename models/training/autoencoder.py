"""Trains the autoencoder on face windows: pixels and perceptual features, weighted to the mouth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from models.dataset.clips import Clip, list_clips, load_clip
from models.face.window import SIDE
from models.io.console import say
from models.mini.autoencoder import Autoencoder
from models.training.perceptual import PerceptualDistance
from models.training.run import CPU, ExponentialMovingAverage, InitFrom, TrainingRun

CROP = 128
BATCH_SIZE = 16
PEAK_LR = 2e-3
PERCEPTUAL_WEIGHT = 0.6
SHARPNESS_WEIGHT = 0.06
SHARP_BOX, SHARP_STRIDE = 12, 6
"""Side and distance of the boxes whose sharpness is compared, pixels."""
SHARP_FLOOR = 4e-5
"""Energy that is not seen, squares of the whole range of luma."""
STILL_SHARE = 0.15
"""Of the crops are from the portrait itself, as sessions encode it."""


def train_autoencoder(
    data: Path,
    out: Path,
    *,
    minutes: float,
    seed: int = 0,
    resume: bool = True,
    init: InitFrom | None = None,
    decoder_only: bool = False,
    device: torch.device = CPU,
) -> None:
    """Train for ``minutes`` and write ``out/ema.pt`` with measured latent statistics.

    Args:
        decoder_only: leave the encoder and the statistics as they are in ``init``: latents stay
            valid, and what was trained on them.

    Raises:
        LiveheadError: the run to resume did not start from ``init``.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    clips = [load_clip(path) for path in list_clips(data, "train")]
    autoencoder = Autoencoder().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    if decoder_only:
        autoencoder.encoder.requires_grad_(False)
    trained = [p for p in autoencoder.parameters() if p.requires_grad]
    fused = device.type != "cpu"
    optimizer = torch.optim.AdamW(trained, PEAK_LR, (0.9, 0.99), weight_decay=1e-4, fused=fused)
    ema = ExponentialMovingAverage(autoencoder, 0.99)
    run = TrainingRun(out, autoencoder, optimizer, ema, peak=PEAK_LR, minutes=minutes)
    run.start(init, resume=resume)
    perceptual = PerceptualDistance().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    if run.step:
        say(f"resumed at step {run.step}")
    for _ in run.steps("codec"):
        images, weights = (part.to(device) for part in sample_crops(clips, rng))
        with torch.autocast(device.type, dtype=torch.bfloat16):
            z = autoencoder.encoder(images * 2 - 1)
        z = z.float()
        with torch.autocast(device.type, dtype=torch.bfloat16):
            decoded = autoencoder.decoder(z + 0.05 * torch.randn_like(z))
            decoded = decoded.float() * 0.5 + 0.5
            distance = perceptual(decoded, images, weights)
        loss, psnr = reconstruction_loss(images, decoded, weights)
        blur = sharpness_loss(images, decoded, weights)
        regulariser = 1e-4 * (z * z).mean() + 0.02 * F.relu(z.abs() - 4).mean()
        total = loss + PERCEPTUAL_WEIGHT * distance + SHARPNESS_WEIGHT * blur + regulariser
        run.optimizer_step(total)
        run.log(loss=loss, perceptual=distance, blur=blur, psnr=psnr)
    autoencoder.load_state_dict(run.ema.state)
    if not decoder_only:
        measure_latents(autoencoder, clips)
    run.ema.state = autoencoder.state_dict()
    run.save()


def sample_crops(clips: list[Clip], rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Random crops, three of four near the mouth, and weights that rise to five times there.

    Returns:
        Images [16, 3, 128, 128] in [0, 1], and weights [16, 1, 128, 128] of mean 1.
    """
    images = np.empty((BATCH_SIZE, CROP, CROP, 3), np.uint8)
    weights = np.ones((BATCH_SIZE, 1, CROP, CROP), np.float32)
    y, x = np.mgrid[0:CROP, 0:CROP]
    for k in range(BATCH_SIZE):
        clip = clips[rng.integers(len(clips))]
        f = int(rng.integers(len(clip.video)))
        mouth_x, mouth_y = clip.mouth_xy[f]
        if k % 4 == 3:
            left, top = (int(v) for v in rng.integers(0, SIDE - CROP + 1, 2))
        else:
            left = int(np.clip(mouth_x - rng.integers(30, 98), 0, SIDE - CROP))
            top = int(np.clip(mouth_y - rng.integers(30, 98), 0, SIDE - CROP))
        picture = clip.photo if rng.random() < STILL_SHARE else clip.video[f]
        crop = picture[top : top + CROP, left : left + CROP]
        emphasis = np.exp(-(((x - mouth_x + left) / 42) ** 2) - ((y - mouth_y + top) / 34) ** 2)
        for eye_x, eye_y in clip.eyes_xy[f].reshape(2, 2):
            eye = np.exp(-((x - eye_x + left) ** 2 + (y - eye_y + top) ** 2) / 480)
            emphasis = np.maximum(emphasis, 0.5 * eye)
        if rng.random() < 0.5:
            crop, emphasis = crop[:, ::-1], emphasis[:, ::-1]
        images[k] = crop
        weights[k, 0] += 4 * emphasis
    batch = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    if rng.random() < 0.5:
        gain = 1 + 0.15 * torch.randn(BATCH_SIZE, 3, 1, 1)
        batch = (batch * gain + 0.08 * torch.randn(BATCH_SIZE, 3, 1, 1)).clamp(0, 1)
    batch = batch.contiguous(memory_format=torch.channels_last)
    return batch, torch.from_numpy(weights / weights.mean())


def reconstruction_loss(images: Tensor, decoded: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Weighted L1 + 0.5 gradient L1 + 0.25 (1 - SSIM), and the PSNR in dB, both [].

    Args:
        images, decoded: [B, 3, H, W] in [0, 1].
        weights: [B, 1, H, W], mean 1.
    """
    error = decoded - images
    gradient_x = ((error[..., 1:] - error[..., :-1]).abs() * weights[..., 1:]).mean()
    gradient_y = ((error[..., 1:, :] - error[..., :-1, :]).abs() * weights[..., 1:, :]).mean()
    loss = (error.abs() * weights).mean() + 0.5 * (gradient_x + gradient_y)
    loss = loss + 0.25 * ssim_loss(images, decoded, weights)
    return loss, -10 * torch.log10(error.detach().pow(2).mean())


def ssim_loss(a: Tensor, b: Tensor, weights: Tensor) -> Tensor:
    """Weighted mean of 1 - SSIM in 7x7 boxes (Wang et al. 2004, constants for data in [0, 1])."""

    def mean(x: Tensor) -> Tensor:
        return F.avg_pool2d(x, 7, 2)

    mean_a, mean_b = mean(a), mean(b)
    var_a, var_b = mean(a * a) - mean_a * mean_a, mean(b * b) - mean_b * mean_b
    cov = mean(a * b) - mean_a * mean_b
    ssim = (2 * mean_a * mean_b + 1e-4) * (2 * cov + 9e-4)
    ssim = ssim / ((mean_a * mean_a + mean_b * mean_b + 1e-4) * (var_a + var_b + 9e-4))
    return (mean(weights) * (1 - ssim)).mean()


def sharpness_loss(images: Tensor, decoded: Tensor, weights: Tensor) -> Tensor:
    """Weighted mean of |log(E' / E)|, E the energy of the luma's Laplacian in a small box.

    Squared errors are smallest for a blur of what a latent leaves open; this asks for as much
    detail as there is in the picture. Shapes as in ``reconstruction_loss``.
    """
    there, made = (
        F.avg_pool2d(_laplacian(x).square(), SHARP_BOX, SHARP_STRIDE) + SHARP_FLOOR
        for x in (images, decoded)
    )
    size = there.shape[2], there.shape[3]
    return (torch.log(made / there).abs() * F.adaptive_avg_pool2d(weights, size)).mean()


def _laplacian(pictures: Tensor) -> Tensor:
    """Laplacian of the slightly blurred luma of RGB [B, 3, H, W], [B, 1, H - 4, W - 4]."""
    luma = (pictures * pictures.new_tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1, True)
    line = pictures.new_tensor([0.24, 0.52, 0.24])  # a Gaussian of 0.7 pixels
    soft = F.conv2d(luma, (line[:, None] * line)[None, None])
    cross = pictures.new_tensor([[0.0, 1, 0], [1, -4, 1], [0, 1, 0]])
    return F.conv2d(soft, cross[None, None])


@torch.no_grad()
def measure_latents(autoencoder: Autoencoder, clips: list[Clip]) -> None:
    """Set the autoencoder's latent mean and deviation from 8 frames of every clip."""
    autoencoder.mean.zero_()
    autoencoder.std.fill_(1.0)
    latents = []
    for clip in clips:
        indices = np.linspace(0, len(clip.video) - 1, 8).astype(int)
        pictures = np.stack([clip.video[int(k)] for k in indices])
        frames = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255
        latents.append(autoencoder.encode(frames.to(autoencoder.mean.device)))
    stacked = torch.cat(latents)
    autoencoder.mean.copy_(stacked.mean((0, 2, 3)))
    autoencoder.std.copy_(stacked.std((0, 2, 3)))
