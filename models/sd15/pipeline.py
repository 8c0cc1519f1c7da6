"""What the SD 1.5 pipelines share: streams, initial latents, sampling, decoding, past frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.audio.streaming import SpeechFeatures, SpeechStream
from models.lightning.sampler import Sampler
from models.sd15.cfg import AnyConditioning, SD15Denoiser
from models.sd15.config import SD15Spec
from models.sd15.encoders import StableDiffusionVAE

Identity = TypeVar("Identity")


@dataclass
class SD15Stream(Generic[Identity]):
    """What one session carries from chunk to chunk.

    Attributes:
        identity: what is static for its portrait.
        speech: turns the next chunk's audio into features.
        noise: initial latents are drawn from it, chunk after chunk, as published.
        past_frames: decoded frames of the chunk before, [P, 3, H, W] from 0 to 1; None before the
            first.
    """

    identity: Identity
    speech: SpeechStream
    noise: torch.Generator
    past_frames: Tensor | None = None

    def close(self) -> None:
        """Release speech features and frames."""
        self.speech.close()
        self.past_frames = None


Stream = TypeVar("Stream", bound=SD15Stream[Any])


class SD15Pipeline(Generic[Identity, Stream, AnyConditioning]):
    """Implements ``models.pipeline.Pipeline`` except encoding the portrait and conditioning.

    Args:
        spec: sizes and rates; its latent gives the frame's size.
        backbone: the denoiser.
        vae: between pictures and latents.
        features: of speech.

    Attributes:
        stream_type: what a session carries.
    """

    stream_type: type[Stream]

    def __init__(
        self,
        spec: SD15Spec,
        backbone: SD15Denoiser[AnyConditioning],
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

    def to_denoiser(self, value: Tensor) -> Tensor:
        """On the denoiser's device, in its dtype."""
        return value.to(self.device, self.dtype)

    def new_stream(
        self, identity: Identity, seed: int, speech: NDArray[np.float32] | None = None
    ) -> Stream:
        """Start a stream; the whole ``speech``, where it is known, is encoded at once, as
        published."""
        features = SpeechStream(self.features, self.spec.chunk_frames, speech)
        return self.stream_type(identity, features, torch.Generator().manual_seed(seed))

    def init_latents(self, streams: Sequence[Stream]) -> Tensor:
        """Start noise [B, C, F, H, W], drawn in the networks' dtype as published; advances each
        stream's generator."""
        channels, height, width = self.spec.latent
        shape = (1, channels, self.spec.chunk_frames, height, width)
        noise = [torch.randn(shape, generator=s.noise, dtype=self.dtype) for s in streams]
        return torch.cat(noise).float().to(self.device)

    def sample(
        self,
        sampler: Sampler,
        streams: Sequence[Stream],
        conditions: Sequence[AnyConditioning],
    ) -> Tensor:
        """Clean latents [B, C, F, H, W] of every stream's next chunk, in one batch."""
        cond = self.backbone.collate(conditions)
        return sampler(self.backbone, self.init_latents(streams), cond)

    def decode(self, streams: Sequence[Stream], latents: Tensor) -> Tensor:
        """Latents [B, C, F, H, W] of B streams -> RGB uint8 [B, F, H, W, 3].

        Values are truncated, as published. Each stream keeps its last frames, not rounded.
        """
        pictures = self.vae.decode(latents)
        for stream, chunk in zip(streams, pictures, strict=True):
            stream.past_frames = chunk[-self.spec.past :] if self.spec.past else None
        return (pictures * 255).to(torch.uint8).permute(0, 1, 3, 4, 2).cpu()

    def encode_pictures(self, stream: Stream, portrait: Tensor) -> Tensor:
        """Latents of the portrait and the past frames [1 + n, 4, H, W].

        Args:
            portrait: its latent [1, 4, H, W]; in the first chunk it stands for the past frames.
        """
        if stream.past_frames is None:
            return portrait.repeat(1 + self.spec.first_past, 1, 1, 1)
        past = self.to_denoiser(self.vae.encode(stream.past_frames * 2 - 1))
        return torch.cat([portrait, past])


def identity_key(picture: NDArray[np.uint8]) -> str:
    """The content key of a portrait."""
    return sha256(picture.tobytes()).hexdigest()[:16]
