"""What the published models share around their networks: pictures, start noise, the last frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.audio.streaming import SpeechFeatures, SpeechStream
from models.lightning.sampler import Sampler
from models.sd15.cfg import SD15Conditioning, SD15Denoiser
from models.sd15.config import SD15Spec
from models.sd15.vae import StableDiffusionVAE


@dataclass
class SD15Stream:
    """What one session carries from chunk to chunk.

    Attributes:
        identity: what is static for its portrait.
        speech: turns the next chunk's audio into features.
        noise: start noise is drawn from it, chunk after chunk, as published.
        last: decoded frames of the chunk before, [P, 3, H, W] from 0 to 1; None before the first.
        own: what the family keeps besides.
    """

    identity: Any
    speech: SpeechStream
    noise: torch.Generator
    last: Tensor | None = None
    own: dict[str, Any] = field(default_factory=dict)

    def close(self) -> None:
        """Release speech features, frames and what the pipeline keeps besides."""
        self.speech.close()
        self.last = None
        self.own.clear()


class SD15Pipeline:
    """Implements what ``models.pipeline.Pipeline`` asks for except ``identity`` and ``condition``.

    Args:
        spec: the row; its latent gives the frame's size.
        backbone: the denoiser.
        vae: between pictures and latents.
        features: of speech.
    """

    def __init__(
        self,
        spec: SD15Spec,
        backbone: SD15Denoiser,
        vae: nn.Module,
        features: SpeechFeatures,
    ) -> None:
        self.spec, self.backbone = spec, backbone
        self.vae = StableDiffusionVAE(vae)
        self.features = features
        weight = backbone.network.conv_in.weight
        self.device, self.dtype = weight.device, weight.dtype
        _, height, width = spec.latent
        self.size = (8 * height, 8 * width)

    def here(self, value: Tensor) -> Tensor:
        """Where the denoiser is, in what it computes in."""
        return value.to(self.device, self.dtype)

    def new_stream(
        self, identity: Any, seed: int, speech: NDArray[np.float32] | None = None
    ) -> SD15Stream:
        """Start a stream; with the whole ``speech`` it is heard at once, as published."""
        heard = SpeechStream(self.features, self.spec.chunk_frames, speech)
        return SD15Stream(identity, heard, torch.Generator().manual_seed(seed))

    def init_latents(self, streams: Sequence[SD15Stream]) -> Tensor:
        """Start noise [B, C, F, H, W], drawn in the networks' dtype as published; advances each
        stream's generator."""
        channels, height, width = self.spec.latent
        shape = (1, channels, self.spec.chunk_frames, height, width)
        drawn = [torch.randn(shape, generator=s.noise, dtype=self.dtype) for s in streams]
        return torch.cat(drawn).float().to(self.device)

    def sample(
        self,
        sampler: Sampler,
        streams: Sequence[SD15Stream],
        conditions: Sequence[SD15Conditioning],
    ) -> Tensor:
        """Clean latents [B, C, F, H, W] of every stream's next chunk, in one batch."""
        cond = self.backbone.collate(conditions)
        return sampler(self.backbone, self.init_latents(streams), cond)

    def decode(self, streams: Sequence[SD15Stream], latents: Tensor) -> Tensor:
        """Latents [B, C, F, H, W] of B streams -> RGB uint8 [B, F, H, W, 3].

        Values are truncated, as published. Each stream keeps its last frames, not rounded.
        """
        pictures = self.vae.decode(latents)
        for stream, chunk in zip(streams, pictures, strict=True):
            stream.last = chunk[-self.spec.past :] if self.spec.past else None
        return (pictures * 255).to(torch.uint8).permute(0, 1, 3, 4, 2).cpu()

    def seen(self, stream: SD15Stream, portrait: Tensor) -> Tensor:
        """The portrait and the last frames, encoded: latents [1 + n, 4, H, W].

        Args:
            portrait: its latent [1, 4, H, W]; in the first chunk it stands for past frames.
        """
        if stream.last is None:
            return portrait.repeat(1 + self.spec.first_past, 1, 1, 1)
        return torch.cat([portrait, self.here(self.vae.encode(stream.last * 2 - 1))])


def identity_key(picture: NDArray[np.uint8]) -> str:
    """The content key of a portrait."""
    return sha256(picture.tobytes()).hexdigest()[:16]
