"""Samples training batches for ``mini``: chunks, references, loss weights and windows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from models.mini.config import MiniSpec
from models.mini.motion import EXPRESSION, MOTION, MOUTH_UNITS
from models.mini.prior import Prior, gaussian, geometry_planes, sigma_map
from models.training.latents import Variant
from models.training.resident import ResidentClips
from models.training.run import CPU
from models.training.speech_features import ClipSpeech

MIRROR = torch.tensor([-1.0 if name == "gaze_yaw" else 1.0 for name in EXPRESSION])
PHOTO_SHARE, NEUTRAL_SHARE = 0.6, 0.25
"""How often the reference is the portrait as it is, or its neutral face; else any frame."""
PREDICTED_SHARE = 0.15  # of the chunks take predicted blendshapes, the others true ones
SILENT_SHARE = 0.08  # of the chunks have no speech features, only blendshapes
WIDE_OPENING_SHARE = 0.5  # of the frames (or chunks) are the widest opening of CANDIDATES
CANDIDATES = 3
BLINK_SHARE = 0.2  # of the frames (or chunks) show the eyes most closed of BLINK_CANDIDATES
BLINK_CANDIDATES = 24
JAW_OPEN, BLINK = MOUTH_UNITS.index("jawOpen"), MOTION.index("blink")
WINDOW_STRIDE = 4  # latent pixels in one of the lowest resolution, on which windows start


@dataclass(frozen=True)
class Phase:
    """One phase of the training curriculum.

    Attributes:
        share: of the training time.
        batch_size: chunks in a batch.
        independent_frames: the frames of a chunk are drawn independently, near the same reference:
            the network first learns what a frame looks like, from more different ones.
        window: side, in latent pixels, of the square that the loss sees, mostly around the mouth;
            None for the whole picture.
        wide_mouths: half of the frames (or chunks) are the one of three whose mouth is open widest,
            and one of five is a blink: speech has few of either, and a network that sees them
            seldom makes openings too small and lids a blur.
        image_weight: weight of the loss on decoded images of the mouth.
    """

    share: float
    batch_size: int
    independent_frames: bool
    window: int | None
    wide_mouths: bool = False
    image_weight: float = 0.0


class Window(NamedTuple):
    """A square of latent pixels."""

    top: int
    left: int
    side: int

    def crop(self, feature_map: Tensor, stride: int = 1) -> Tensor:
        """The square of a map [..., H, W] whose pixels are ``stride`` latent pixels wide."""
        top, left, side = (n // stride for n in self)
        return feature_map[..., top : top + side, left : left + side]


@dataclass(frozen=True)
class Batch:
    """B chunks with everything the loss needs.

    Attributes:
        x0: clean latents [B, C, F, H, W].
        prior, geometry: of the reference frames.
        features: of the speech, normalised, [B, F, W, D].
        mouth: blendshapes [B, F, U]; motion: blink, gaze and brow, [B, F, M].
        weight: of the loss, [B, 1, F, H, W], mean 1.
        window: what the loss sees; None for the whole picture.
    """

    x0: Tensor
    prior: Prior
    geometry: Tensor
    features: Tensor
    mouth: Tensor
    motion: Tensor
    weight: Tensor
    window: Window | None = None


class Draw(NamedTuple):
    """What is drawn for one chunk of F frames: rows of ``ResidentClips``.

    Attributes:
        variant: number of the variant.
        reference: row of ``latents``.
        predicted, silent: whether blendshapes are predicted ones; whether no speech is heard.
        pictures, heard, spoken: rows of ``latents``, ``mouth`` and ``features``, [F].
    """

    variant: int
    reference: int
    predicted: bool
    silent: bool
    pictures: list[int]
    heard: list[int]
    spoken: list[int]


class BatchSampler:
    """Samples batches of chunks from encoded clips and their speech.

    What is drawn depends on the seed alone; batches are gathered on ``device``.
    """

    def __init__(
        self,
        variants: list[Variant],
        speech: dict[str, ClipSpeech],
        spec: MiniSpec,
        seed: int,
        device: torch.device = CPU,
    ) -> None:
        self.variants, self.speech, self.spec = variants, speech, spec
        self.clips = ResidentClips(variants, speech, device)
        self.mirror = MIRROR.to(device)
        self.rng = np.random.default_rng(seed)
        frames = {v.clip: len(v.latents) for v in variants}
        self.chunks = {name: list_chunks(speech[name], n) for name, n in frames.items()}

    def batch(self, phase: Phase) -> Batch:
        """Sample the chunks of one training step."""
        draws = [self._draw_chunk(phase) for _ in range(phase.batch_size)]
        rest_xy = torch.stack([self.variants[draw.variant].rest_xy for draw in draws])
        window = None if phase.window is None else self._window(rest_xy, phase.window)
        return self._gather(draws, window)

    def _gather(self, draws: list[Draw], window: Window | None) -> Batch:
        clips = self.clips
        flat = torch.tensor([[*draw[:4], *draw[4], *draw[5], *draw[6]] for draw in draws])
        rows = flat.to(clips.device)  # one copy
        variant, reference, predicted, silent = rows[:, :4].unbind(1)
        pictures, heard, spoken = rows[:, 4:].chunk(3, 1)
        mask, rest_xy = clips.mask[variant], clips.rest_xy[variant]
        eyes_xy = clips.first_eyes_xy[variant]
        sigma = sigma_map(mask, rest_xy, eyes_xy, self.spec)
        true, guess = clips.mouth[heard], clips.predicted[spoken]
        mouth = torch.where(predicted.bool()[:, None, None], guess, true)
        motion = clips.motion[heard][..., -len(EXPRESSION) :]
        mirrored = clips.mirrored[variant][:, None, None]
        weight = loss_weight(mask, clips.mouth_xy[pictures], clips.eyes_xy[pictures])
        return Batch(
            clips.latents[pictures].float().transpose(1, 2),
            Prior(clips.latents[reference][:, None].float(), sigma[:, None]),
            geometry_planes(mask, rest_xy, eyes_xy),
            clips.features[spoken].float() * (1 - silent)[:, None, None, None],
            mouth,
            torch.where(mirrored, motion * self.mirror, motion),
            weight.transpose(1, 2),
            window,
        )

    def _window(self, mouth_xy: Tensor, side: int) -> Window:
        """A window: three times out of four around the mouths of the batch, else anywhere."""
        _, height, width = self.spec.latent
        centre = mouth_xy.mean(0) - side / 2 + torch.from_numpy(self.rng.normal(0, 3, 2))
        if self.rng.random() < 0.25:
            centre = torch.from_numpy(self.rng.uniform(0, (width - side, height - side)))
        left, top = (
            int((value / WINDOW_STRIDE).round().clamp(0, (limit - side) // WINDOW_STRIDE))
            * WINDOW_STRIDE
            for value, limit in zip(centre, (width, height), strict=True)
        )
        return Window(top, left, side)

    def _draw_chunk(self, phase: Phase) -> Draw:
        number = int(self.rng.integers(len(self.variants)))
        variant = self.variants[number]
        speech = self.speech[variant.clip]
        chunks = self.chunks[variant.clip]
        frames = self.spec.chunk_frames
        wide = phase.wide_mouths
        if phase.independent_frames:
            sampled = [
                self._sample_position(speech, chunks, wide_mouths=wide) for _ in range(frames)
            ]
            positions = [(*chunks[chunk], frame) for chunk, frame in sampled]
        else:
            chosen, _ = self._sample_position(speech, chunks, wide_mouths=wide)
            positions = [(*chunks[chosen], f) for f in range(frames)]
        shown = [speech.start(version, k) + f for version, k, f in positions]
        count = speech.features.shape[1]
        spoken = [(version * count + k) * frames + f for version, k, f in positions]
        predicted = bool(self.rng.random() < PREDICTED_SHARE)
        silent = bool(self.rng.random() < SILENT_SHARE)
        clips = self.clips
        return Draw(
            number,
            clips.pictures[number] + self._reference(len(variant.latents)),
            predicted,
            silent,
            [clips.pictures[number] + k for k in shown],
            [clips.heard[number] + k for k in shown],
            [clips.spoken[number] + k for k in spoken],
        )

    def _reference(self, frames: int) -> int:
        """Row, in a variant, of the portrait, of its neutral face, or of any frame."""
        kind = self.rng.random()
        if kind < PHOTO_SHARE:
            return frames
        if kind < PHOTO_SHARE + NEUTRAL_SHARE:
            return frames + 1
        return int(self.rng.integers(frames))

    def _sample_position(
        self, speech: ClipSpeech, chunks: list[tuple[int, int]], *, wide_mouths: bool
    ) -> tuple[int, int]:
        """Any frame of any chunk: the chunk's index in the list, and the frame inside it."""
        kind = self.rng.random() if wide_mouths else 1.0
        track, count = speech.mouth[:, JAW_OPEN], 1
        if kind < WIDE_OPENING_SHARE:
            count = CANDIDATES
        elif kind < WIDE_OPENING_SHARE + BLINK_SHARE:
            track, count = speech.motion[:, BLINK], BLINK_CANDIDATES
        limits = (len(chunks), self.spec.chunk_frames)
        candidates = self.rng.integers(limits, size=(count, 2)).tolist()

        def size(candidate: list[int]) -> float:
            version, k = chunks[candidate[0]]
            return float(track[speech.start(version, k) + candidate[1]])

        chunk, frame = max(candidates, key=size) if count > 1 else candidates[0]
        return chunk, frame


def list_chunks(speech: ClipSpeech, frames: int) -> list[tuple[int, int]]:
    """Chunks (version, chunk) inside the first ``frames`` frames."""
    versions = range(len(speech.features))
    return [(version, k) for version in versions for k in range(speech.chunks(frames))]


def loss_weight(mask: Tensor, mouth_xy: Tensor, eyes_xy: Tensor) -> Tensor:
    """Weights [B, F, 1, H, W], of mean 1 per chunk: background 0.25, face 1, eyes +5, mouth +6.

    Args:
        mask: where skin may move, [B, H, W].
        mouth_xy, eyes_xy: [B, F, 2] and [B, F, 4], latent pixels.
    """
    size, shape = tuple(mask.shape[1:]), (*mouth_xy.shape[:2], 1, *mask.shape[1:])

    def bump(xy: Tensor, spread: tuple[float, float]) -> Tensor:
        return gaussian(xy.flatten(0, 1), size, spread).view(shape)

    eyes = torch.maximum(*(bump(xy, (2.9, 2.3)) for xy in eyes_xy.chunk(2, -1)))
    mouth = bump(mouth_xy, (5.0, 4.4))
    weight = 0.25 + 0.75 * mask[:, None, None] + 5 * eyes + 6 * mouth
    return weight / weight.mean((1, 2, 3, 4), keepdim=True)
