"""Encoded clips end to end in a few long tensors on the training's device, to gather batches from.

A GPU gathers a batch of any size in a dozen calls and waits for no copy of pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from models.training.latents import Variant
from models.training.speech_features import ClipSpeech

STILLS = 2
"""Rows after a variant's frames: the portrait as it is, and its neutral face."""


class ResidentClips:
    """Clips by rows: ``pictures[k]`` is where the rows of variant k begin, likewise the others.

    Attributes:
        latents: of frames and then stills, float16 [P, C, H, W]; mouth_xy, eyes_xy: of the same
            rows, [P, 2] and [P, 4], latent pixels; a still has its first frame's.
        mask, rest_xy, mirrored: of variants, [V, H, W], [V, 2] and bool [V].
        first_eyes_xy: eyes of the first frame of each variant, [V, 4].
        mouth, motion: true blendshapes and motion of the frames that are heard, [S, U], [S, M].
        features, predicted: of the frames of all chunks, float16 [R, W, D] and [R, U].
        pictures, heard, spoken: first rows of ``latents``, ``mouth`` and ``features``, by variant.
    """

    def __init__(
        self, variants: Sequence[Variant], speech: dict[str, ClipSpeech], device: torch.device
    ) -> None:
        names = list(dict.fromkeys(v.clip for v in variants))
        clips = [speech[name] for name in names]
        which = [names.index(v.clip) for v in variants]

        def join(parts: list[Tensor]) -> Tensor:
            return torch.cat(parts).to(device)

        def per_picture(of: Callable[[Variant], Tensor]) -> Tensor:
            return join([torch.cat([of(v), of(v)[:1].expand(STILLS, -1)]) for v in variants])

        self.device = device
        self.latents = join([part for v in variants for part in (v.latents, v.stills)])
        self.mouth_xy, self.eyes_xy = per_picture(_mouth), per_picture(_eyes)
        self.mask = torch.stack([v.mask for v in variants]).to(device)
        self.rest_xy = torch.stack([v.rest_xy for v in variants]).to(device)
        self.first_eyes_xy = torch.stack([v.eyes_xy[0] for v in variants]).to(device)
        self.mirrored = torch.tensor([v.mirrored for v in variants]).to(device)
        self.mouth = join([clip.mouth for clip in clips])
        self.motion = join([clip.motion for clip in clips])
        self.features = join([clip.features.flatten(0, 2) for clip in clips])
        self.predicted = join([clip.predicted.flatten(0, 2) for clip in clips])
        self.pictures = _starts([len(v.latents) + STILLS for v in variants])
        heard, spoken = _starts([len(c.mouth) for c in clips]), _starts([_rows(c) for c in clips])
        self.heard, self.spoken = ([starts[k] for k in which] for starts in (heard, spoken))


def _mouth(variant: Variant) -> Tensor:
    return variant.mouth_xy


def _eyes(variant: Variant) -> Tensor:
    return variant.eyes_xy


def _rows(clip: ClipSpeech) -> int:
    return int(np.prod(clip.features.shape[:3]))


def _starts(lengths: list[int]) -> list[int]:
    return [0, *np.cumsum(lengths)[:-1].tolist()]
