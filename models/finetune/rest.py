"""Keeps what a person's video cannot teach: away from the mouth, frames are learnt as drawn before.

Around the mouth the head's pose, the light, the gaze and the coding of the video change in ways
that no condition tells; learnt, they are a blur. So the latents to learn from are there those that
the weights which training begins with draw of the same conditions.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from models.lightning.plan import StepPlan
from models.lightning.sampler import Sampler
from models.mini.audio import CHUNK_FRAMES
from models.mini.config import MINI
from models.mini.motion import EXPRESSION
from models.mini.prior import Prior, gaussian, geometry_planes, sigma_map
from models.mini.unet import MiniUNet
from models.training.latents import Variant
from models.training.speech_features import ClipSpeech

BATCH = 16  # chunks drawn at once
MOUTH_SPREAD = (4.5, 4.0)
"""Of the bump on the mouth (x, y), latent pixels, where the video is learnt."""
FULL = 0.5
"""Height of the bump from which the video alone is learnt."""


@torch.no_grad()
def draw_clip(
    net: MiniUNet,
    plan: StepPlan,
    variant: Variant,
    speech: ClipSpeech,
    mouth: Tensor | None = None,
) -> Tensor:
    """Latents [N * F, C, H, W] of a clip's N whole chunks as a network draws them.

    Args:
        mouth: units [N * F or more, U] to draw; the clip's own if None.
    """
    mouth = speech.mouth if mouth is None else mouth
    sampler = Sampler(MINI.schedule, plan)
    count = speech.chunks(len(variant.latents))
    noise = torch.randn(1, *_chunk_shape(1), generator=torch.Generator().manual_seed(0))
    place = variant.mask[None], variant.rest_xy[None], variant.eyes_xy[:1]
    sigma = sigma_map(*place, MINI)
    prior = Prior(variant.stills[:1, None].float(), sigma[:, None])
    geometry = geometry_planes(*place)
    drawn = []
    with torch.autocast("cpu", dtype=torch.bfloat16):
        reference = net.reference([""], prior, geometry)
        for start in range(0, count, BATCH):
            chunks = range(start, min(start + BATCH, count))
            frames = slice(chunks.start * CHUNK_FRAMES, chunks.stop * CHUNK_FRAMES)
            features = speech.features[0, chunks.start : chunks.stop].float()
            shape = (len(chunks), CHUNK_FRAMES, -1)
            mouths = mouth[frames].reshape(shape)
            motion = speech.motion[frames][:, -len(EXPRESSION) :].reshape(shape)
            conditions = [
                net.condition(reference, *(each[k : k + 1] for each in (features, mouths, motion)))
                for k in range(len(chunks))
            ]
            z = MINI.schedule.start_noise * noise.expand(len(chunks), *_chunk_shape(CHUNK_FRAMES))
            latents = sampler(net, z, net.collate(conditions))
            drawn.append(latents.transpose(1, 2).flatten(0, 1))
    return torch.cat(drawn)


def keep_rest(variant: Variant, drawn: Tensor) -> Variant:
    """A clip whose latents are ``drawn`` [T' <= T, C, H, W] away from the mouth."""
    count = len(drawn)
    learnt = learnt_share(variant)[:count]
    mixed = torch.lerp(drawn.float(), variant.latents[:count].float(), learnt)
    return replace(variant, latents=torch.cat([mixed.half(), variant.latents[count:]]))


def learnt_share(variant: Variant) -> Tensor:
    """How much of the video each latent pixel is learnt from, [T, 1, H, W] in [0, 1]."""
    bump = gaussian(variant.mouth_xy, tuple(variant.mask.shape), MOUTH_SPREAD)
    return (bump / FULL).clamp(max=1.0)


def _chunk_shape(frames: int) -> tuple[int, int, int, int]:
    channels, height, width = MINI.latent
    return channels, frames, height, width
