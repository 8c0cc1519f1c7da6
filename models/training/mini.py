"""Train the denoiser of ``mini``: v-prediction on chunks of latents, weight on mouth and eyes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from models.backbones.anchor import Anchor, blob, geometry_planes, sigma_map
from models.backbones.mini import MiniUNet
from models.lightning.schedule import trailing_steps
from models.motion import MOTION
from models.spec import MINI, MiniSpec
from models.training.latents import Variant
from models.training.loop import Ema, Run
from models.training.speech import Heard

POSE = 3  # the first entries of MOTION are the head's rotation
MIRROR = torch.tensor([-1.0 if name in ("yaw", "roll", "gaze_yaw") else 1.0 for name in MOTION])
GRID_SHARE = 0.7  # of the training steps lie on the sampler's own grid
NEAREST = 4  # the reference is one of so many frames at rest whose head pose is nearest
HEARD_SHARE = 0.4  # of the mouth units are those heard in the speech, the others the truth


@dataclass(frozen=True)
class Batch:
    """B chunks with everything the loss needs; latents [B, C, F, H, W]."""

    x: Tensor
    anchor: Anchor
    geometry: Tensor
    features: Tensor
    mouth: Tensor
    motion: Tensor
    weight: Tensor  # [B, 1, F, H, W], mean 1


def condition_motion(motion: Tensor, reference: Tensor) -> Tensor:
    """Head pose relative to the reference frame, the rest as it is; [..., M] and [M]."""
    relative = motion.clone()
    relative[..., :POSE] -= reference[:POSE]
    return relative


class Sampler:
    """Draws batches of chunks from encoded clips and the speech heard in them."""

    def __init__(
        self,
        variants: list[Variant],
        heard: dict[str, Heard],
        spec: MiniSpec,
        seed: int,
        *,
        reach: float,
    ) -> None:
        self.variants, self.heard, self.spec = variants, heard, spec
        self.rng = np.random.default_rng(seed)
        frames = {v.clip: len(v.latents) for v in variants}
        self.chunks = {name: usable_chunks(heard[name], n, reach) for name, n in frames.items()}

    def batch(self, size: int) -> Batch:
        """Draw ``size`` chunks."""
        rows = [self._draw() for _ in range(size)]
        x, latent, mask, mouth_xy, eyes_xy, features, mouth, motion, weight = (
            torch.stack([row[k] for row in rows]).float() for k in range(len(rows[0]))
        )
        sigma = sigma_map(mask, mouth_xy, eyes_xy, self.spec)
        geometry = geometry_planes(mask, mouth_xy, eyes_xy)
        anchor = Anchor(latent[:, None], sigma[:, None])
        return Batch(
            x.transpose(1, 2), anchor, geometry, features, mouth, motion, weight.transpose(1, 2)
        )

    def _draw(self) -> tuple[Tensor, ...]:
        variant = self.variants[self.rng.integers(len(self.variants))]
        heard = self.heard[variant.clip]
        frames = self.spec.chunk_frames
        chunks = self.chunks[variant.clip]
        version, k, *near = chunks[self.rng.integers(len(chunks))]
        s = heard.start(version, k)
        span = slice(s, s + frames)
        motion = heard.motion[span]
        at = near[self.rng.integers(len(near))]
        latent, rest = variant.latents[at], heard.motion[at]
        motion = condition_motion(motion, rest)
        if variant.mirrored:
            motion = motion * MIRROR
        mouth = heard.mouth[span]
        if self.rng.random() < HEARD_SHARE:
            mouth = heard.units[version, k]
        features = heard.features[version, k].float()
        if self.rng.random() < 0.08:
            features = torch.zeros_like(features)
        mouth_xy, eyes_xy = variant.mouth_xy[at], variant.eyes_xy[at]
        weight = loss_weight(
            variant.mask[span].float(), variant.mouth_xy[span], variant.eyes_xy[span]
        )
        return (
            variant.latents[span],
            latent,
            variant.mask[at],
            mouth_xy,
            eyes_xy,
            features,
            mouth,
            motion,
            weight,
        )


def usable_chunks(heard: Heard, frames: int, reach: float) -> list[tuple[int, ...]]:
    """Chunks of the first ``frames`` frames and their references: (version, chunk, frame, ...).

    A reference is a frame at rest (lips closed, eyes open) whose head pose is within ``reach``
    radians of the chunk's: the head then moves as little as it does at run time. Chunks without
    such a frame are left out.
    """
    mouth, motion = heard.mouth[:frames], heard.motion[:frames]
    calm = (mouth.abs().sum(1) < 0.15) & (motion[:, MOTION.index("blink")] < 0.05)
    rest = calm.nonzero()[:, 0]
    chunks = []
    for version in range(len(heard.features)):
        for k in range(heard.chunks(frames)):
            pose = motion[heard.start(version, k) + 1, :POSE]
            distance = (motion[rest, :POSE] - pose).norm(dim=1)
            order = distance.argsort()[:NEAREST]
            if len(order) and distance[order[0]] < reach:
                near = order[distance[order] < reach]
                chunks.append((version, k, *rest[near].tolist()))
    return chunks


def loss_weight(mask: Tensor, mouth_xy: Tensor, eyes_xy: Tensor) -> Tensor:
    """Weights [F, 1, H, W] of mean 1: background 0.25, head 1, eyes +3, mouth +6."""
    size = mask.shape[1:]
    left, right = (blob(xy, size, (2.0, 1.6)) for xy in (eyes_xy[:, :2], eyes_xy[:, 2:]))
    eyes = torch.maximum(left, right)
    weight = 0.25 + 0.75 * mask[:, None] + 3 * eyes + 6 * blob(mouth_xy, size, (3.6, 3.2))
    return weight / weight.mean()


def draw_steps(n: int, spec: MiniSpec) -> Tensor:
    """Training steps [n]: mostly on the sampling grid, the noisiest ones three times as often."""
    grid = torch.tensor(trailing_steps(spec.schedule.train_steps, spec.steps))
    odds = torch.ones(spec.steps)
    odds[:4] = torch.tensor([3.0, 2.0, 1.5, 1.2])
    on_grid = grid[torch.multinomial(odds, n, replacement=True)]
    anywhere = torch.randint(0, spec.schedule.train_steps, (n,))
    return torch.where(torch.rand(n) < GRID_SHARE, on_grid, anywhere)


def draw_noise(x: Tensor) -> Tensor:
    """Noise like [B, C, F, H, W]; frames share half of it or nearly all, half of the time each."""
    share = torch.where(torch.rand(len(x), 1, 1, 1, 1) < 0.5, 0.5, 0.95)
    common, own = torch.randn_like(x[:, :, :1]), torch.randn_like(x)
    return share.sqrt() * common + (1 - share).sqrt() * own


def v_loss(net: MiniUNet, batch: Batch, t: Tensor, noise: Tensor) -> Tensor:
    """Weighted squared error of the v-prediction, [B]."""
    shape = (-1, 1, 1, 1, 1)
    a, s = net.signal[t].view(shape), net.noise[t].view(shape)
    z, target = a * batch.x + s * noise, a * noise - s * batch.x
    owners = [""] * len(t)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        reference = net.reference(owners, batch.anchor, batch.geometry)
        cond = net.condition(reference, batch.features, batch.mouth, batch.motion)
        v, _ = net.full(z, t, cond)
    return ((v - target) ** 2 * batch.weight).mean((1, 2, 3, 4))


def train_mini(
    variants: list[Variant],
    held_out: list[Variant],
    heard: dict[str, Heard],
    out: Path,
    *,
    minutes: float,
    reach: float,
    peak: float = 1e-3,
    size: int = 8,
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
    check = Sampler(held_out, heard, MINI, 7, reach=reach).batch(24)
    average = MiniUNet(MINI).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    for step in run.steps("mini"):
        batch = sampler.batch(size)
        batch.mouth.add_(0.02 * torch.randn_like(batch.mouth))
        loss = v_loss(net, batch, draw_steps(size, MINI), draw_noise(batch.x)).mean()
        run.descend(loss)
        run.note(loss=loss.item())
        if step % 500 == 499:
            average.load_state_dict(run.ema.state)
            run.log(held_out=round(validate(average, check), 5))


@torch.no_grad()
def validate(net: MiniUNet, batch: Batch) -> float:
    """Mean v-loss on fixed chunks, steps and noise."""
    generator = torch.Generator().manual_seed(3)
    noise = torch.randn(batch.x.shape, generator=generator)
    t = torch.arange(len(batch.x)) * MINI.schedule.train_steps // len(batch.x) + 20
    return float(v_loss(net, batch, t, noise).mean())
