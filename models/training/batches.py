"""Draw training batches for ``mini``: chunks, their references, loss weights and windows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from models.mini.config import MiniSpec
from models.mini.motion import MOTION, MOUTH_UNITS
from models.mini.prior import Prior, gaussian, geometry_planes, sigma_map
from models.training.latents import Variant
from models.training.speech_features import Heard

POSE = 3  # the first entries of MOTION are the head's rotation
MIRROR = torch.tensor([-1.0 if name in ("yaw", "roll", "gaze_yaw") else 1.0 for name in MOTION])
NEAREST = 4  # the reference is one of so many frames at rest whose head pose is nearest
HEARD_SHARE = 0.15  # of the mouth units are those heard in the speech, the others the truth
SILENT_SHARE = 0.08  # of the chunks have no speech features: the units alone must do
WIDE_SHARE, CHANCES = 0.5, 3  # of such places, the widest opening of so many
JAW = MOUTH_UNITS.index("jawOpen")
COARSEST = 4  # cells of the latent in one cell of the lowest resolution: windows start on these


@dataclass(frozen=True)
class Stage:
    """One part of the training.

    Attributes:
        share: of the training time.
        size: chunks in a batch.
        apart: the frames of a chunk are drawn apart from each other, near the same reference: the
            network first learns what a frame looks like, from more different ones.
        window: side of the square of cells that the loss sees, mostly around the mouth; None for
            the whole picture.
        wide: half of the places are drawn as the one of three whose mouth is open widest: speech
            has few wide openings, and a network that sees them seldom makes them too small.
        picture: weight of the loss on decoded pictures of the mouth.
    """

    share: float
    size: int
    apart: bool
    window: int | None
    wide: bool = False
    picture: float = 0.0


class Window(NamedTuple):
    """A square of latent cells."""

    top: int
    left: int
    side: int

    def cut(self, cells: Tensor, shrink: int = 1) -> Tensor:
        """The square of a map [..., H, W] whose cells are ``shrink`` latent cells wide."""
        top, left, side = (n // shrink for n in self)
        return cells[..., top : top + side, left : left + side]


@dataclass(frozen=True)
class Batch:
    """B chunks with everything the loss needs; latents [B, C, F, H, W]."""

    x: Tensor
    anchor: Prior
    geometry: Tensor
    features: Tensor
    mouth: Tensor
    motion: Tensor
    weight: Tensor  # [B, 1, F, H, W], mean 1
    window: Window | None = None  # what the loss sees


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
        self.beside = {name: by_reference(chunks) for name, chunks in self.chunks.items()}

    def batch(self, stage: Stage) -> Batch:
        """Draw the chunks of one training step."""
        rows = [self._draw(stage) for _ in range(stage.size)]
        x, latent, mask, mouth_xy, eyes_xy, features, mouth, motion, weight = (
            torch.stack([row[k] for row in rows]).float() for k in range(len(rows[0]))
        )
        sigma = sigma_map(mask, mouth_xy, eyes_xy, self.spec)
        geometry = geometry_planes(mask, mouth_xy, eyes_xy)
        anchor = Prior(latent[:, None], sigma[:, None])
        window = None if stage.window is None else self._window(mouth_xy, stage.window)
        x, weight = x.transpose(1, 2), weight.transpose(1, 2)
        return Batch(x, anchor, geometry, features, mouth, motion, weight, window)

    def _window(self, mouth_xy: Tensor, side: int) -> Window:
        """Three times out of four around the mouths of the batch, else anywhere."""
        _, height, width = self.spec.latent
        middle = mouth_xy.mean(0) - side / 2 + torch.from_numpy(self.rng.normal(0, 3, 2))
        if self.rng.random() < 0.25:
            middle = torch.from_numpy(self.rng.uniform(0, (width - side, height - side)))
        left, top = (
            int((value / COARSEST).round().clamp(0, (limit - side) // COARSEST)) * COARSEST
            for value, limit in zip(middle, (width, height), strict=True)
        )
        return Window(top, left, side)

    def _draw(self, stage: Stage) -> tuple[Tensor, ...]:
        variant = self.variants[self.rng.integers(len(self.variants))]
        heard = self.heard[variant.clip]
        chunks = self.chunks[variant.clip]
        frames = self.spec.chunk_frames
        wide = stage.wide and not stage.apart
        chosen, _ = self._place(heard, [(v, k) for v, k, *_ in chunks], wide=wide)
        version, k, *near = chunks[chosen]
        at = near[self.rng.integers(len(near))]
        places = [(version, k, f) for f in range(frames)]
        if stage.apart:
            beside = self.beside[variant.clip][at]
            drawn = [self._place(heard, beside, wide=stage.wide) for _ in range(frames)]
            places = [(*beside[chunk], frame) for chunk, frame in drawn]
        span = torch.tensor([heard.start(v, k) + f for v, k, f in places])
        motion = condition_motion(heard.motion[span], heard.motion[at])
        if variant.mirrored:
            motion = motion * MIRROR
        mouth = heard.mouth[span]
        if self.rng.random() < HEARD_SHARE:
            mouth = torch.stack([heard.units[place] for place in places])
        features = torch.stack([heard.features[place] for place in places]).float()
        if self.rng.random() < SILENT_SHARE:
            features = torch.zeros_like(features)
        weight = loss_weight(
            variant.mask[span].float(), variant.mouth_xy[span], variant.eyes_xy[span]
        )
        reference = (variant.latents[at], variant.mask[at], variant.mouth_xy[at])
        told = (variant.eyes_xy[at], features, mouth, motion, weight)
        return (variant.latents[span], *reference, *told)

    def _place(self, heard: Heard, chunks: list[tuple[int, int]], *, wide: bool) -> tuple[int, int]:
        """Any frame of any chunk: the chunk's place in the list, and the frame inside it."""
        chances = CHANCES if wide and self.rng.random() < WIDE_SHARE else 1
        picks = self.rng.integers((len(chunks), self.spec.chunk_frames), size=(chances, 2)).tolist()

        def opening(pick: list[int]) -> float:
            version, k = chunks[pick[0]]
            return float(heard.mouth[heard.start(version, k) + pick[1], JAW])

        chunk, frame = max(picks, key=opening) if chances > 1 else picks[0]
        return chunk, frame


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


def by_reference(chunks: list[tuple[int, ...]]) -> dict[int, list[tuple[int, int]]]:
    """For each reference frame the chunks (version, chunk) that may take it."""
    beside: dict[int, list[tuple[int, int]]] = {}
    for version, k, *near in chunks:
        for at in near:
            beside.setdefault(at, []).append((version, k))
    return beside


def loss_weight(mask: Tensor, mouth_xy: Tensor, eyes_xy: Tensor) -> Tensor:
    """Weights [F, 1, H, W] of mean 1: background 0.25, head 1, eyes +3, mouth +6."""
    size = mask.shape[1:]
    left, right = (gaussian(xy, size, (2.0, 1.6)) for xy in (eyes_xy[:, :2], eyes_xy[:, 2:]))
    eyes = torch.maximum(left, right)
    weight = 0.25 + 0.75 * mask[:, None] + 3 * eyes + 6 * gaussian(mouth_xy, size, (3.6, 3.2))
    return weight / weight.mean()
