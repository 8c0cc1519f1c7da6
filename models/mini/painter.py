"""Paints frames: the codec's decoder as it runs for every chunk, in PyTorch or on an engine."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.mini.autoencoder import Autoencoder, to_uint8
from models.runtime.eager import for_inference
from models.runtime.engine import Engine, Program


class FrameDecoder:
    """Latents to pictures; owns a copy of the codec that it was made of.

    On an engine the program has the shape of one chunk; more chunks run one after another.
    """

    def __init__(
        self, codec: Autoencoder, dtype: torch.dtype, frames: int, engine: Engine | None
    ) -> None:
        """``frames`` of a chunk; ``dtype`` to compute in if no engine does."""
        copy = Autoencoder(codec.spec)
        copy.load_state_dict(codec.state_dict())
        self._codec = for_inference(copy, torch.float32 if engine else dtype)
        self._engine = engine
        self._frames = frames
        self._program: Program | None = None

    def __call__(self, latents: Tensor) -> Tensor:
        """Latents float32 [N, C, h, w], N whole chunks -> RGB uint8 [N, 8h, 8w, 3]."""
        if self._engine is None:
            return self._codec.picture(latents)
        chunks = torch.split(self._codec.denormalised(latents), self._frames)
        if self._program is None:
            self._program = self._engine.compile(_Body(self._codec), (chunks[0],))
        return torch.cat([to_uint8(self._program(chunk)[0]) for chunk in chunks])


class _Body(nn.Module):
    def __init__(self, codec: Autoencoder) -> None:
        super().__init__()
        self.codec = codec

    def forward(self, z: Tensor) -> tuple[Tensor]:
        return (self.codec.blocks(z),)
