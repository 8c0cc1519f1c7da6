"""Hallo's audio module: three cross-attentions to the same sound, each under its own mask.

    h    = norm2(x)
    x    = x + sum over (full, face, lip) of  s * conv(attention(h, audio) * mask)

The masks (background, face without lips, lips) multiply the attention's output, its bias included;
the 1x1 convolution's bias is added everywhere.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from models.lightning.focus import EVERYWHERE, Focus
from models.nn.attention import KeyValue
from models.sd15.attention import Wrapped, self_attention
from models.sd15.attention_base import Attention, FeedForward

REGIONS = ("full", "face", "lip")
"""In the order of ``attn2_0`` .. ``attn2_2``; the first is the background."""

Heard = tuple[KeyValue, ...]
"""Keys and values of the sound, one for each region."""


class MaskedAudioBlock(nn.Module):
    """Self-attention, the three masked cross-attentions, feed-forward."""

    def __init__(self, inner: int, heads: int, audio: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(inner)
        self.attn1 = Attention(inner, heads)
        self.norm2 = nn.LayerNorm(inner)
        for k, region in enumerate(REGIONS):
            self.add_module(f"attn2_{k}", Attention(inner, heads, audio))
            self.add_module(f"zero_conv_{region}", nn.Conv2d(inner, inner, 1))
        self.norm3 = nn.LayerNorm(inner)
        self.ff = FeedForward(inner)

    def hear(self, audio: Tensor) -> Heard:
        """Audio tokens [N, M, D] -> keys and values for each region, once for a chunk."""
        attentions = (self.get_submodule(f"attn2_{k}") for k in range(len(REGIONS)))
        return tuple(a.project(audio) for a in attentions if isinstance(a, Attention))

    def forward(
        self,
        x: Tensor,
        heard: Heard,
        masks: Tensor,
        weights: tuple[float, ...],
        *,
        focus: Focus = EVERYWHERE,
    ) -> Tensor:
        """Tokens [N, L, C] -> [N, L, C].

        Args:
            heard: from ``hear``, batch N.
            masks: [N, regions, L] from 0 to 1; weights: s of each region.
            focus: where self-attention runs.
        """
        x = x + focus.run("audio1", self.norm1(x), partial(self_attention, self.attn1))
        h = self.norm2(x)
        said = torch.zeros_like(x)
        for k, (region, weight) in enumerate(zip(REGIONS, weights, strict=True)):
            attention = self.get_submodule(f"attn2_{k}")
            convolve = self.get_submodule(f"zero_conv_{region}")
            masked = attention(h, heard[k]) * masks[:, k, :, None]
            said = said + weight * convolve(masked.transpose(1, 2)[..., None])[..., 0].transpose(
                1, 2
            )
        x = x + said
        out: Tensor = x + self.ff(self.norm3(x))
        return out


class MaskedAudioModule(Wrapped):
    """An ``MaskedAudioBlock`` inside its wrapping."""

    def __init__(self, channels: int, inner: int, heads: int, audio: int, groups: int) -> None:
        super().__init__(channels, inner, MaskedAudioBlock(inner, heads, audio), groups)

    @property
    def block(self) -> MaskedAudioBlock:
        """The one block."""
        block = self.transformer_blocks[0]
        assert isinstance(block, MaskedAudioBlock)
        return block

    def forward(
        self,
        x: Tensor,
        heard: Heard,
        masks: Tensor,
        weights: tuple[float, ...],
        *,
        focus: Focus = EVERYWHERE,
    ) -> Tensor:
        """Maps [N, C, H, W] -> the same shape; see ``MaskedAudioBlock``."""
        return self.leave(self.block(self.enter(x), heard, masks, weights, focus=focus), x)
