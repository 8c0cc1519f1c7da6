"""Train the denoiser of ``mini``: v-prediction on chunks of latents, pictures of the mouth."""

from __future__ import annotations

from collections.abc import Sequence
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
from models.training.autoencoder import reconstruction_loss
from models.training.batches import Batch, Sampler, Stage, Window
from models.training.latents import Variant
from models.training.run import Ema, Run, Start
from models.training.speech_features import Heard

FIRST = (
    Stage(share=0.6, size=16, apart=True, window=16),
    Stage(share=0.4, size=8, apart=False, window=None),
)
FURTHER = (
    Stage(share=0.7, size=16, apart=True, window=16, wide=True, picture=15.0),
    Stage(share=0.3, size=8, apart=False, window=None, wide=True, picture=15.0),
)
"""Of a training that begins with trained weights."""
PATCH = 8  # cells each way of the pictures that the loss sees
LOOKED_AT = 2  # frames of a chunk that are decoded for it
CHECK = Stage(share=1.0, size=24, apart=False, window=None)  # the held-out chunks of ``validate``
PEAK = 1e-3  # of the learning rate
NOISE = (0.3, 0.8)  # least and largest deviation of the noise that is trained on
GRID_SHARE = 0.7  # of the training steps lie on the sampler's own grid
GRID_ODDS = (8.0, 2.5, 1.5, 1.2)  # of its first steps, where the mouth is decided; the others 1


def draw_steps(n: int, spec: MiniSpec) -> Tensor:
    """Training steps [n]: mostly on the sampling grid, the noisiest ones most often."""
    grid = torch.tensor(trailing_steps(spec.schedule.train_steps, spec.steps))
    odds = torch.ones(spec.steps)
    odds[: len(GRID_ODDS)] = torch.tensor(GRID_ODDS)
    on_grid = grid[torch.multinomial(odds, n, replacement=True)]
    anywhere = torch.randint(0, spec.schedule.train_steps, (n,))
    return torch.where(torch.rand(n) < GRID_SHARE, on_grid, anywhere)


def draw_noise(x: Tensor) -> Tensor:
    """Noise like [B, C, F, H, W]; frames share half of it or nearly all, half of the time each.

    Its deviation is one of ``NOISE``, as sampling does not start from 1 either: with noise n of any
    deviation z = a x + s n and v = a n - s x give x = a z - s v, so that nothing else changes.
    """
    low, high = NOISE
    deviation = low + (high - low) * torch.rand(len(x), 1, 1, 1, 1)
    share = torch.where(torch.rand(len(x), 1, 1, 1, 1) < 0.5, 0.5, 0.95)
    common, own = torch.randn_like(x[:, :, :1]), torch.randn_like(x)
    return deviation * (share.sqrt() * common + (1 - share).sqrt() * own)


class Prediction(NamedTuple):
    """What the network made of a batch inside its window, [B, C, F, H, W] or [B, 1, F, H, W].

    Attributes:
        v, target: the velocity as predicted and as it is; weight: how much each cell of it counts.
        made, true: clean latents, as they follow from v and as they are.
    """

    v: Tensor
    target: Tensor
    weight: Tensor
    made: Tensor
    true: Tensor


def predict(net: MiniUNet, batch: Batch, t: Tensor, noise: Tensor) -> Prediction:
    """One call of the network at steps t [B] with a batch's conditions."""
    shape = (-1, 1, 1, 1, 1)
    a, s = net.signal[t].view(shape), net.noise[t].view(shape)
    x, z, target = batch.x, a * batch.x + s * noise, a * noise - s * batch.x
    weight, identity_ids = batch.weight, [""] * len(t)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        reference = net.reference(identity_ids, batch.anchor, batch.geometry)
        if batch.window is not None:
            x, z, target, weight = (batch.window.cut(whole) for whole in (x, z, target, weight))
            reference = cut_reference(reference, batch.window)
        cond = net.condition(reference, batch.features, batch.mouth, batch.motion)
        v, _ = net.full(z, t, cond)
    return Prediction(v, target, weight, a * z - s * v, x)


def v_loss(made: Prediction) -> Tensor:
    """Weighted squared error of the v-prediction, [B]."""
    return ((made.v - made.target) ** 2 * made.weight).mean((1, 2, 3, 4))


def picture_loss(codec: Autoencoder, made: Prediction, frames: Tensor) -> Tensor:
    """Distance of decoded pictures from those of the true latents, where most weight is.

    The mean squared error of latents is content with a blur between the places where a lip may be;
    L1, gradients and SSIM of pictures (``reconstruction_loss``) are not.

    Args:
        frames: indices of the frames that are looked at, of each chunk.
    """
    patch = _heaviest(made.weight)
    pair = [
        patch.cut(latents[:, :, frames]).transpose(1, 2).flatten(0, 1)
        for latents in (made.true, made.made)
    ]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        true, shown = (codec.decode(latents) for latents in pair)
    loss, _ = reconstruction_loss(true.float(), shown.float(), torch.ones_like(true[:, :1]).float())
    return loss


def _heaviest(weight: Tensor) -> Window:
    """The square of ``PATCH`` cells with the most weight, of a batch's weights [B, 1, F, H, W]."""
    sums = F.avg_pool2d(weight.mean((0, 2)), PATCH, 1)[0]
    top, left = divmod(int(sums.argmax()), sums.shape[1])
    return Window(top, left, PATCH)


def cut_reference(reference: Reference, window: Window) -> Reference:
    """The anchor, the maps and places inside ``window``; what is attended to stays whole."""
    anchor = Prior(*(window.cut(field) for field in reference.anchor))
    maps = tuple(window.cut(level, 2**k) for k, level in enumerate(reference.maps))
    return replace(reference, anchor=anchor, maps=maps, places=window.cut(reference.places))


def stage_at(stages: Sequence[Stage], fraction: float) -> Stage:
    """The stage that a training is in after a fraction of its time."""
    for stage in stages:
        fraction -= stage.share
        if fraction < 0:
            return stage
    return stages[-1]


def train_mini(
    codec: Autoencoder,
    variants: list[Variant],
    held_out: list[Variant],
    heard: dict[str, Heard],
    out: Path,
    *,
    minutes: float,
    reach: float,
    seed: int = 0,
    resume: bool = True,
    start: Start | None = None,
) -> None:
    """Train for ``minutes`` of wall time; ``out/ema.pt`` holds the weights to use.

    A training that begins with trained weights has stages of its own. ``codec`` is the one that
    made the latents of ``variants``.

    Raises:
        LiveheadError: the training to resume did not begin with ``start``.
    """
    torch.manual_seed(seed)
    net = MiniUNet(MINI).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = torch.optim.AdamW(net.parameters(), PEAK, weight_decay=0.01, betas=(0.9, 0.98))
    run = Run(out, net, optimiser, Ema(net, 0.998), peak=PEAK, minutes=minutes)
    run.begin(start, resume=resume)
    stages = FIRST if run.origin is None else FURTHER
    torch.manual_seed(seed + run.step)
    sampler = Sampler(variants, heard, MINI, seed + run.step, reach=reach)
    check = Sampler(held_out, heard, MINI, 7, reach=reach).batch(CHECK)
    average = MiniUNet(MINI).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    for step in run.steps("mini"):
        stage = stage_at(stages, run.spent / (60 * minutes))
        batch = sampler.batch(stage)
        batch.mouth.add_(0.02 * torch.randn_like(batch.mouth))
        made = predict(net, batch, draw_steps(stage.size, MINI), draw_noise(batch.x))
        loss = v_loss(made).mean()
        run.note(loss=loss.item())
        if stage.picture:
            picture = picture_loss(codec, made, torch.randperm(MINI.chunk_frames)[:LOOKED_AT])
            run.note(picture=picture.item())
            loss = loss + stage.picture * picture
        run.descend(loss)
        if step % 500 == 499:
            average.load_state_dict(run.ema.state)
            run.log(**validate(average, codec, check))


@torch.no_grad()
def validate(net: MiniUNet, codec: Autoencoder, batch: Batch) -> dict[str, float]:
    """Mean losses on fixed chunks, steps and noise."""
    generator = torch.Generator().manual_seed(3)
    noise = MINI.schedule.start_noise * torch.randn(batch.x.shape, generator=generator)
    t = torch.arange(len(batch.x)) * MINI.schedule.train_steps // len(batch.x) + 20
    made = predict(net, batch, t, noise)
    picture = picture_loss(codec, made, torch.arange(MINI.chunk_frames))
    return {
        "held_out": round(float(v_loss(made).mean()), 5),
        "held_out_picture": round(float(picture), 5),
    }
