"""The toy pipeline: a portrait to an identity, sound to conditioning, latents to frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from models.audio import SAMPLE_RATE
from models.errors import AudioError
from models.io.face_box import FaceBox
from models.lightning.plan import parse
from models.lightning.sampler import Sampler
from models.options import ModelOptions
from models.pipeline import DiffusionGenerator
from models.registry import ModelCard
from models.spec import DiffusionSpec
from tests.support.toy_model.conditioning import ToyConditioning
from tests.support.toy_model.unet import ToyUNet

STRIDE = 8


@dataclass(frozen=True)
class ToyIdentity:
    """A portrait's content key and its latents [1, C, H, W]."""

    key: str
    latents: Tensor


@dataclass
class ToyStream:
    """One session: whose picture it is, and its start noise [1, C, F, H, W]."""

    identity: ToyIdentity
    noise: Tensor

    def close(self) -> None:
        """Nothing to release."""


class ToyPipeline:
    """Implements ``models.pipeline.Pipeline``."""

    def __init__(self, spec: DiffusionSpec, denoiser: ToyUNet) -> None:
        self.spec, self.backbone = spec, denoiser
        self.size = (STRIDE * spec.latent[1], STRIDE * spec.latent[2])

    @torch.inference_mode()
    def encode_portrait(
        self, picture: NDArray[np.uint8], box: FaceBox | None = None
    ) -> ToyIdentity:
        """RGB uint8 [H, W, 3] -> latents: the picture, made small."""
        pixels = torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
        small = F.adaptive_avg_pool2d(pixels, self.spec.latent[1:])
        return ToyIdentity(sha256(picture.tobytes()).hexdigest()[:16], small)

    def new_stream(
        self, identity: ToyIdentity, seed: int, speech: NDArray[np.float32] | None = None
    ) -> ToyStream:
        """Start a session; the seed names its noise."""
        channels, height, width = self.spec.latent
        shape = (1, channels, self.spec.chunk_frames, height, width)
        return ToyStream(
            identity, torch.randn(shape, generator=torch.Generator().manual_seed(seed))
        )

    def prepare_conditioning(
        self, stream: ToyStream, audio: NDArray[np.float32]
    ) -> ToyConditioning:
        """Loudness of each frame of a chunk.

        Raises:
            AudioError: the slice has another length (``bad_audio``).
        """
        spec = self.spec
        frame = round(SAMPLE_RATE / spec.fps)
        samples = frame * (spec.chunk_frames + spec.lookahead_frames)
        if audio.shape != (samples,):
            raise AudioError(f"expected {samples} samples, got {audio.shape}", code="bad_audio")
        slices = torch.from_numpy(audio[: frame * spec.chunk_frames].copy()).view(1, -1, frame)
        identity = stream.identity
        return ToyConditioning((identity.key,), identity.latents, slices.square().mean(2).sqrt())

    def sample(
        self,
        sampler: Sampler,
        streams: Sequence[ToyStream],
        conditions: Sequence[ToyConditioning],
    ) -> Tensor:
        """Clean latents [B, C, F, H, W] of every stream's next chunk."""
        noise = torch.cat([stream.noise for stream in streams])
        return sampler(self.backbone, noise, self.backbone.collate(conditions))

    def decode(self, streams: Sequence[ToyStream], latents: Tensor) -> Tensor:
        """Latents [B, C, F, H, W] -> RGB uint8 [B, F, 8 H, 8 W, 3]."""
        pixels = ((latents.clamp(-1, 1) + 1) * 127.5).to(torch.uint8)
        large = pixels.repeat_interleave(STRIDE, 3).repeat_interleave(STRIDE, 4)
        return large.permute(0, 2, 3, 4, 1)


def load_generator(
    card: ModelCard, options: ModelOptions
) -> DiffusionGenerator[ToyIdentity, ToyStream]:
    """The toy with random values; what the card's ``load`` names."""
    assert card.spec is not None
    torch.manual_seed(0)
    denoiser = ToyUNet(card.spec.latent[0]).eval().requires_grad_(False)
    pipeline = ToyPipeline(card.spec, denoiser)
    return DiffusionGenerator(pipeline, parse(options.plan or card.plan))
