"""Trains the denoiser of ``mini``: v-prediction on chunks of latents, and decoded mouths."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from models.lightning.schedule import trailing_steps
from models.mini.autoencoder import Autoencoder
from models.mini.conditioning import Reference
from models.mini.config import MINI, MiniSpec
from models.mini.prior import Prior
from models.mini.unet import MiniUNet
from models.training.autoencoder import reconstruction_loss, sharpness_loss
from models.training.batches import Batch, BatchSampler, Phase, Window
from models.training.latents import Variant
from models.training.perceptual import PerceptualDistance
from models.training.run import CPU, ExponentialMovingAverage, InitFrom, TrainingRun
from models.training.speech_features import ClipSpeech

PHASES = (
    Phase(share=0.6, batch_size=16, independent_frames=True, window=16),
    Phase(share=0.4, batch_size=8, independent_frames=False, window=None),
)
FINETUNE_PHASES = (
    replace(PHASES[0], share=0.35, wide_mouths=True, image_weight=15.0),
    replace(PHASES[1], share=0.65, wide_mouths=True, image_weight=15.0),
)
"""Phases of a training that starts from trained weights."""
VALIDATION = Phase(share=1.0, batch_size=24, independent_frames=False, window=None)
"""The held-out chunks of ``validate``."""
PATCH_SIZE = 12  # latent pixels, side of the square that the image loss decodes
PATCH_CHUNKS, PATCH_FRAMES = 8, 1  # chunks of a batch, and frames of each, that are decoded for it
PEAK_LR = 1e-3
OnValidation = Callable[[int, dict[str, float], dict[str, Tensor]], None]
"""Called with the step, the losses and the averaged weights."""
WINDOW_SHARPNESS = 2.0  # how much the drawn window prefers weight
PERCEPTUAL_SHARE, SHARPNESS_SHARE = 0.3, 0.02  # in the image loss
NOISE_STD = (0.3, 0.8)  # least and largest deviation of the training noise
GRID_SHARE = 0.7  # of the timesteps lie on the sampler's own grid
GRID_WEIGHTS = (8.0, 2.5, 1.5, 1.2)  # of its first steps, where the mouth is decided; the others 1


def sample_timesteps(n: int, spec: MiniSpec) -> Tensor:
    """Timesteps [n]: mostly on the sampling grid, the noisiest ones most often."""
    grid = torch.tensor(trailing_steps(spec.schedule.train_steps, spec.steps))
    weights = torch.ones(spec.steps)
    weights[: len(GRID_WEIGHTS)] = torch.tensor(GRID_WEIGHTS)
    on_grid = grid[torch.multinomial(weights, n, replacement=True)]
    anywhere = torch.randint(0, spec.schedule.train_steps, (n,))
    return torch.where(torch.rand(n) < GRID_SHARE, on_grid, anywhere)


def sample_noise(x0: Tensor) -> Tensor:
    """Noise like x0 [B, C, F, H, W]; frames share 50 % or 95 % of its variance, half the time each.

    Its deviation lies in ``NOISE_STD``, as sampling does not start from 1 either: with noise eps of
    any deviation, z = alpha x0 + sigma eps and v = alpha eps - sigma x0 give
    x0 = alpha z - sigma v, so that nothing else changes.
    """
    lowest, highest = NOISE_STD
    one_each = (len(x0), 1, 1, 1, 1)
    deviation = lowest + (highest - lowest) * torch.rand(one_each, device=x0.device)
    share = torch.where(torch.rand(one_each, device=x0.device) < 0.5, 0.5, 0.95)
    shared, per_frame = torch.randn_like(x0[:, :, :1]), torch.randn_like(x0)
    return deviation * (share.sqrt() * shared + (1 - share).sqrt() * per_frame)


class Prediction(NamedTuple):
    """The network's prediction of a batch inside its window.

    Attributes:
        v, target: predicted and true velocity, [B, C, F, H, W].
        weight: of the loss, [B, 1, F, H, W].
        predicted_x0, x0: clean latents that follow from v, and true ones, [B, C, F, H, W].
    """

    v: Tensor
    target: Tensor
    weight: Tensor
    predicted_x0: Tensor
    x0: Tensor


def predict(net: MiniUNet, batch: Batch, t: Tensor, noise: Tensor) -> Prediction:
    """Call the network at timesteps t [B] with a batch's conditioning and noise like its x0."""
    shape = (-1, 1, 1, 1, 1)
    alpha, sigma = net.signal[t].view(shape), net.noise[t].view(shape)
    x0, z, target = batch.x0, alpha * batch.x0 + sigma * noise, alpha * noise - sigma * batch.x0
    weight, identity_ids = batch.weight, [""] * len(t)
    with torch.autocast(x0.device.type, dtype=torch.bfloat16):
        reference = net.reference(identity_ids, batch.prior, batch.geometry)
        if batch.window is not None:
            x0, z, target, weight = (batch.window.crop(a) for a in (x0, z, target, weight))
            reference = crop_reference(reference, batch.window)
        cond = net.condition(reference, batch.features, batch.mouth, batch.motion)
        v, _ = net.full(z, t, cond)
    return Prediction(v, target, weight, alpha * z - sigma * v, x0)


def v_loss(prediction: Prediction) -> Tensor:
    """Weighted squared error of the v-prediction, [B]."""
    return ((prediction.v - prediction.target) ** 2 * prediction.weight).mean((1, 2, 3, 4))


def image_loss(
    autoencoder: Autoencoder,
    perceptual: Callable[[Tensor, Tensor], Tensor],
    prediction: Prediction,
    frames: Tensor,
    *,
    chunks: int = PATCH_CHUNKS,
    anywhere: bool = True,
) -> Tensor:
    """Distance of decoded images from those of the true latents, in a window with much weight.

    The mean squared error of latents is minimised by a blur between the positions where a lip may
    be; L1, gradients and SSIM of images (``reconstruction_loss``) and distances of perceptual
    features are less so.

    Args:
        perceptual: distance of two batches of pictures, such as ``PerceptualDistance``.
        frames: indices of the frames of each chunk that are decoded.
        chunks: at most so many are decoded.
        anywhere: mostly the mouth, at times the eyes; else always the heaviest window.
    """
    window = _choose_window(prediction.weight, anywhere)
    true, predicted = (
        window.crop(latents[:chunks, :, frames]).transpose(1, 2).flatten(0, 1)
        for latents in (prediction.x0, prediction.predicted_x0)
    )
    with torch.autocast(true.device.type, dtype=torch.bfloat16):
        target, decoded = autoencoder.decode(true).float(), autoencoder.decode(predicted).float()
        distance = perceptual(decoded, target)
    weights = torch.ones_like(target[:, :1])
    loss, _ = reconstruction_loss(target, decoded, weights)
    blur = sharpness_loss(target, decoded, weights)
    return loss + PERCEPTUAL_SHARE * distance + SHARPNESS_SHARE * blur


def _choose_window(weight: Tensor, anywhere: bool) -> Window:
    """A square of side ``PATCH_SIZE``: drawn by its weight, or the heaviest one.

    Args:
        weight: of the loss, [B, 1, F, H, W].
    """
    sums = F.avg_pool2d(weight.mean((0, 2)), PATCH_SIZE, 1)[0]
    if anywhere:
        odds = ((sums - sums.min()) / (sums.max() - sums.min() + 1e-6)) ** WINDOW_SHARPNESS + 1e-6
        chosen = int(torch.multinomial(odds.flatten(), 1))
    else:
        chosen = int(sums.argmax())
    top, left = divmod(chosen, sums.shape[1])
    return Window(top, left, PATCH_SIZE)


def crop_reference(reference: Reference, window: Window) -> Reference:
    """Crop what is per pixel (prior, maps, positions); what is attended to stays whole."""
    prior = Prior(*(window.crop(field) for field in reference.anchor))
    maps = tuple(window.crop(level, 2**k) for k, level in enumerate(reference.maps))
    return replace(reference, anchor=prior, maps=maps, places=window.crop(reference.places))


def phase_at(phases: Sequence[Phase], fraction: float) -> Phase:
    """The phase after a fraction of the training time."""
    for phase in phases:
        fraction -= phase.share
        if fraction < 0:
            return phase
    return phases[-1]


def train_denoiser(
    autoencoder: Autoencoder,
    variants: list[Variant],
    held_out: list[Variant],
    speech: dict[str, ClipSpeech],
    out: Path,
    *,
    minutes: float,
    seed: int = 0,
    resume: bool = True,
    init: InitFrom | None = None,
    device: torch.device = CPU,
    batch_scale: int = 1,
    frozen: Sequence[str] = (),
    peak: float = PEAK_LR,
    validate_every: int = 500,
    on_validation: OnValidation | None = None,
) -> None:
    """Train for ``minutes`` of wall time; ``out/ema.pt`` holds the weights to use.

    Args:
        autoencoder: the one that encoded ``variants``.
        variants, held_out: encoded clips to train on and to validate on.
        speech: of each clip, by name.
        out: folder of the run.
        init: weights to start from, with ``FINETUNE_PHASES``; random ones with ``PHASES`` if None.
        device: computes, and holds all clips.
        batch_scale: how many times as large the batches of the phases are.
        frozen: modules that are not trained, by a part of their dotted names.
        peak: learning rate after the warm-up, halved when there is an ``init``.
        validate_every: steps between two validations.
        on_validation: gets the losses and the weights of every validation; there is then also one
            before the first step.

    Raises:
        LiveheadError: the run to resume did not start from ``init``.
    """
    torch.manual_seed(seed)
    net = MiniUNet(MINI).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    trained = [p for name, p in net.named_parameters() if not _is_in(name, frozen)]
    fused = device.type != "cpu"
    optimizer = torch.optim.AdamW(trained, peak, (0.9, 0.98), weight_decay=0.01, fused=fused)
    ema = ExponentialMovingAverage(net, 0.998)
    run = TrainingRun(out, net, optimizer, ema, peak=peak, minutes=minutes)
    run.start(init, resume=resume)
    for name, parameter in net.named_parameters():
        parameter.requires_grad_(not _is_in(name, frozen))
    phases = [
        replace(phase, batch_size=batch_scale * phase.batch_size)
        for phase in (PHASES if run.origin is None else FINETUNE_PHASES)
    ]
    torch.manual_seed(seed + run.step)
    sampler = BatchSampler(variants, speech, MINI, seed + run.step, device)
    validation_batch = BatchSampler(held_out, speech, MINI, 7, device).batch(VALIDATION)
    ema_net = MiniUNet(MINI).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    perceptual = PerceptualDistance().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def check() -> None:
        ema_net.load_state_dict(run.ema.state)
        losses = validate(ema_net, autoencoder, perceptual, validation_batch)
        run.write_curve(**losses)
        if on_validation is not None:
            on_validation(run.step, losses, run.ema.state)

    if on_validation is not None:
        check()
    for step in run.steps("mini"):
        phase = phase_at(phases, run.spent / (60 * minutes))
        batch = sampler.batch(phase)
        batch.mouth.add_(0.02 * torch.randn_like(batch.mouth))
        t = sample_timesteps(phase.batch_size, MINI).to(device)
        prediction = predict(net, batch, t, sample_noise(batch.x0))
        loss = v_loss(prediction).mean()
        run.log(loss=loss)
        if phase.image_weight:
            frames = torch.randperm(MINI.chunk_frames)[:PATCH_FRAMES]
            chunks = batch_scale * PATCH_CHUNKS
            picture = image_loss(autoencoder, perceptual, prediction, frames, chunks=chunks)
            run.log(picture=picture)
            loss = loss + phase.image_weight * picture
        run.optimizer_step(loss)
        if step % validate_every == validate_every - 1:
            check()
    check()


def _is_in(parameter: str, modules: Sequence[str]) -> bool:
    """Whether a dotted name has one of these modules in it."""
    return not set(parameter.split(".")).isdisjoint(modules)


@torch.no_grad()
def validate(
    net: MiniUNet, autoencoder: Autoencoder, perceptual: PerceptualDistance, batch: Batch
) -> dict[str, float]:
    """Mean losses on fixed chunks, timesteps and noise."""
    generator = torch.Generator().manual_seed(3)
    noise = MINI.schedule.start_noise * torch.randn(batch.x0.shape, generator=generator)
    t = torch.arange(len(batch.x0)) * MINI.schedule.train_steps // len(batch.x0) + 20
    device = batch.x0.device
    prediction = predict(net, batch, t.to(device), noise.to(device))
    frames = torch.arange(MINI.chunk_frames)
    picture = image_loss(
        autoencoder, perceptual, prediction, frames, chunks=len(batch.x0), anywhere=False
    )
    return {
        "held_out": round(float(v_loss(prediction).mean()), 5),
        "held_out_picture": round(float(picture), 5),
    }
