"""Train the denoiser of ``mini``: v-prediction on chunks of latents, weight on mouth and eyes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from models.backbones.anchor import Anchor
from models.backbones.mini import MiniUNet, Reference
from models.lightning.schedule import trailing_steps
from models.spec import MINI, MiniSpec
from models.training.batches import Batch, Sampler, Stage, Window
from models.training.latents import Variant
from models.training.loop import Ema, Run
from models.training.speech import Heard

STAGES = (
    Stage(share=0.6, size=16, apart=True, window=16),
    Stage(share=0.4, size=8, apart=False, window=None),
)
CHECK = Stage(share=1.0, size=24, apart=False, window=None)  # the held-out chunks of ``validate``
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


def v_loss(net: MiniUNet, batch: Batch, t: Tensor, noise: Tensor) -> Tensor:
    """Weighted squared error of the v-prediction inside the batch's window, [B]."""
    shape = (-1, 1, 1, 1, 1)
    a, s = net.signal[t].view(shape), net.noise[t].view(shape)
    z, target = a * batch.x + s * noise, a * noise - s * batch.x
    weight, owners = batch.weight, [""] * len(t)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        reference = net.reference(owners, batch.anchor, batch.geometry)
        if batch.window is not None:
            z, target, weight = (batch.window.cut(whole) for whole in (z, target, weight))
            reference = cut_reference(reference, batch.window)
        cond = net.condition(reference, batch.features, batch.mouth, batch.motion)
        v, _ = net.full(z, t, cond)
    return ((v - target) ** 2 * weight).mean((1, 2, 3, 4))


def cut_reference(reference: Reference, window: Window) -> Reference:
    """The anchor, the maps and places inside ``window``; what is attended to stays whole."""
    anchor = Anchor(*(window.cut(field) for field in reference.anchor))
    maps = tuple(window.cut(level, 2**k) for k, level in enumerate(reference.maps))
    return replace(reference, anchor=anchor, maps=maps, places=window.cut(reference.places))


def stage_at(fraction: float) -> Stage:
    """The stage that a training is in after a fraction of its time."""
    for stage in STAGES:
        fraction -= stage.share
        if fraction < 0:
            return stage
    return STAGES[-1]


def train_mini(
    variants: list[Variant],
    held_out: list[Variant],
    heard: dict[str, Heard],
    out: Path,
    *,
    minutes: float,
    reach: float,
    peak: float = 1e-3,
    seed: int = 0,
    resume: bool = True,
) -> None:
    """Train for ``minutes`` of wall time; ``out/ema.pt`` holds the weights to use."""
    torch.manual_seed(seed)
    net = MiniUNet(MINI).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = torch.optim.AdamW(net.parameters(), peak, weight_decay=0.01, betas=(0.9, 0.98))
    run = Run(out, net, optimiser, Ema(net, 0.998), peak=peak, minutes=minutes)
    if resume:
        run.resume()
    torch.manual_seed(seed + run.step)
    sampler = Sampler(variants, heard, MINI, seed + run.step, reach=reach)
    check = Sampler(held_out, heard, MINI, 7, reach=reach).batch(CHECK)
    average = MiniUNet(MINI).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    for step in run.steps("mini"):
        stage = stage_at(run.spent / (60 * minutes))
        batch = sampler.batch(stage)
        batch.mouth.add_(0.02 * torch.randn_like(batch.mouth))
        loss = v_loss(net, batch, draw_steps(stage.size, MINI), draw_noise(batch.x)).mean()
        run.descend(loss)
        run.note(loss=loss.item())
        if step % 500 == 499:
            average.load_state_dict(run.ema.state)
            run.log(held_out=round(validate(average, check), 5))


@torch.no_grad()
def validate(net: MiniUNet, batch: Batch) -> float:
    """Mean v-loss on fixed chunks, steps and noise."""
    generator = torch.Generator().manual_seed(3)
    noise = MINI.schedule.start_noise * torch.randn(batch.x.shape, generator=generator)
    t = torch.arange(len(batch.x)) * MINI.schedule.train_steps // len(batch.x) + 20
    return float(v_loss(net, batch, t, noise).mean())
