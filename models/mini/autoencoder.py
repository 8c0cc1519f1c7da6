"""A small autoencoder: 256x256 RGB <-> 12 channels at 32x32 (f8), convolutions only."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.mini.config import AutoencoderSpec
from models.runtime.eager import for_inference
from models.runtime.engine import Engine, Program


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2.weight.data.mul_(0.1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.conv2(F.silu(self.conv1(F.silu(x))))
        return out


class Autoencoder(nn.Module):
    """Encoder for portraits (run once), decoder for every frame (about 0.8 GFLOP).

    ``mean`` and ``std`` [C] are measured on the training latents after training: ``encode``
    returns, and ``decode`` takes, latents of zero mean and unit deviation.
    """

    float32_buffers = ("mean", "std")
    mean: Tensor
    std: Tensor

    def __init__(self, spec: AutoencoderSpec | None = None) -> None:
        super().__init__()
        self.spec = spec or AutoencoderSpec()
        (e0, e1), (d0, d1) = self.spec.encoder, self.spec.decoder
        self.encoder = nn.Sequential(
            nn.PixelUnshuffle(4),
            nn.Conv2d(48, e0, 3, padding=1),
            _Residual(e0),
            nn.Conv2d(e0, e1, 4, stride=2, padding=1),
            _Residual(e1),
            nn.SiLU(),
            nn.Conv2d(e1, self.spec.latent, 1),
        )
        self.decoder = nn.Sequential(
            nn.Conv2d(self.spec.latent, d0, 3, padding=1),
            _Residual(d0),
            nn.SiLU(),
            nn.Conv2d(d0, 4 * d1, 1),
            nn.PixelShuffle(2),
            _Residual(d1),
            nn.Conv2d(d1, 48, 3, padding=1),
            nn.PixelShuffle(4),
        )
        self.register_buffer("mean", torch.zeros(self.spec.latent))
        self.register_buffer("std", torch.ones(self.spec.latent))

    def encode(self, images: Tensor) -> Tensor:
        """RGB in [0, 1], [N, 3, H, W] with H, W multiples of 8 -> latents [N, C, H/8, W/8]."""
        z: Tensor = self.encoder(images * 2 - 1)
        return (z - self.mean[:, None, None]) / self.std[:, None, None]

    def decode(self, latents: Tensor) -> Tensor:
        """Latents [N, C, h, w] -> RGB [N, 3, 8h, 8w], about [0, 1], not clamped."""
        pixels: Tensor = self.decoder(self.denormalise(latents)) * 0.5 + 0.5
        return pixels

    def decode_uint8(self, latents: Tensor) -> Tensor:
        """``decode`` for viewing: latents float32 [N, C, h, w] -> RGB uint8 [N, 8h, 8w, 3].

        Scaling is done in float32, whatever the weights are.
        """
        return to_uint8(self.decode_blocks(self.denormalise(latents)))

    def decode_blocks(self, z: Tensor) -> Tensor:
        """The decoder's last map for denormalised latents: blocks of 4x4 pixels in picture order.

        Order is what the convolution's rows are sorted by (y, x, colour), so that pixels can move
        to their places as bytes, whole rows of a block at a time. [N, 2h, 2w, 48], in -1 .. 1.
        """
        *body, last, _ = self.decoder
        assert isinstance(last, nn.Conv2d) and last.bias is not None
        h = z.contiguous(memory_format=torch.channels_last)
        for layer in body:
            h = layer(h)
        order = torch.arange(48, device=h.device).view(3, 4, 4).permute(1, 2, 0).flatten()
        return F.conv2d(h, last.weight[order], last.bias[order], padding=1).permute(0, 2, 3, 1)

    def denormalise(self, latents: Tensor) -> Tensor:
        """Latents as the decoder takes them, in the format of its weights."""
        z = latents * self.std[:, None, None] + self.mean[:, None, None]
        return z.to(next(self.decoder.parameters()).dtype)


def to_uint8(blocks: Tensor) -> Tensor:
    """Blocks of 4x4 pixels [N, H, W, 48] from -1 to 1 -> a picture, uint8 [N, 4H, 4W, 3]."""
    levels = (blocks.float() * 127.5).add_(128.0).clamp_(0.0, 255.5).to(torch.uint8)
    n, height, width, _ = levels.shape
    # a row of a block is 12 bytes: moved as three words
    words = levels.contiguous().view(torch.int32).view(n, height, width, 4, 3)
    rows = words.transpose(2, 3).contiguous()
    return rows.view(torch.uint8).view(n, 4 * height, 4 * width, 3)


class FrameDecoder:
    """Decodes latents to frames in PyTorch or on an engine; owns a copy of the autoencoder.

    On an engine the program has the shape of one chunk; more chunks run one after another.
    """

    def __init__(
        self, autoencoder: Autoencoder, dtype: torch.dtype, frames: int, engine: Engine | None
    ) -> None:
        """``frames`` of a chunk; ``dtype`` to compute in if no engine does."""
        copy = Autoencoder(autoencoder.spec)
        copy.load_state_dict(autoencoder.state_dict())
        self._autoencoder = for_inference(copy, torch.float32 if engine else dtype)
        self._engine = engine
        self._frames = frames
        self._program: Program | None = None

    def __call__(self, latents: Tensor) -> Tensor:
        """Latents float32 [N, C, h, w], N whole chunks -> RGB uint8 [N, 8h, 8w, 3]."""
        if self._engine is None:
            return self._autoencoder.decode_uint8(latents)
        chunks = torch.split(self._autoencoder.denormalise(latents), self._frames)
        if self._program is None:
            self._program = self._engine.compile(_Body(self._autoencoder), (chunks[0],))
        return torch.cat([to_uint8(self._program(chunk)[0]) for chunk in chunks])


class _Body(nn.Module):
    def __init__(self, autoencoder: Autoencoder) -> None:
        super().__init__()
        self.autoencoder = autoencoder

    def forward(self, z: Tensor) -> tuple[Tensor]:
        return (self.autoencoder.decode_blocks(z),)
