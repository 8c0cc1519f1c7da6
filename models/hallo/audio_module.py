"""Hallo's audio module: three cross-attentions to the same audio, each under its own mask.

    h    = norm2(x)
    x    = x + sum over (full, face, lip) of  s * conv(attention(h, audio) * mask)

The masks (background, face without lips, lips) multiply the attention's output, its bias included;
the 1x1 convolution's bias is added everywhere.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.lightning.dfa import FULL_ATTENTION, ForegroundAttention
from models.nn.attention import KeyValue
from models.sd15.attention import Attention, FeedForward, TokenTransformer, self_attention

REGIONS = ("full", "face", "lip")
"""In the order of ``attn2_0`` .. ``attn2_2``; the first is the background."""

AudioKV = tuple[KeyValue, ...]
"""Keys and values of the audio tokens, one for each region."""


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

    def project(self, audio: Tensor) -> AudioKV:
        """Audio tokens [N, M, D] -> keys and values for each region, once for a chunk."""
        attentions = (self.get_submodule(f"attn2_{k}") for k in range(len(REGIONS)))
        return tuple(a.project(audio) for a in attentions if isinstance(a, Attention))

    def forward(
        self,
        x: Tensor,
        audio_kv: AudioKV,
        masks: Tensor,
        weights: tuple[float, ...],
        *,
        dfa: ForegroundAttention = FULL_ATTENTION,
    ) -> Tensor:
        """Tokens [N, L, C] -> [N, L, C].

        Args:
            audio_kv: from ``project``, batch N.
            masks: [N, regions, L] from 0 to 1; weights: s of each region.
            dfa: which tokens self-attention runs over.
        """
        h = dfa.select(self.norm1(x))
        x = x + dfa.merge("audio1", self_attention(self.attn1, h, dfa.face_tokens))
        h = self.norm2(x)
        out = torch.zeros_like(x)
        for k, (region, weight) in enumerate(zip(REGIONS, weights, strict=True)):
            attention = self.get_submodule(f"attn2_{k}")
            convolve = self.get_submodule(f"zero_conv_{region}")
            masked = attention(h, audio_kv[k]) * masks[:, k, :, None]
            mixed = convolve(masked.transpose(1, 2)[..., None])[..., 0].transpose(1, 2)
            out = out + weight * mixed
        x = x + out
        added: Tensor = self.ff(self.norm3(x))
        return x + added


class MaskedAudioModule(TokenTransformer):
    """A ``MaskedAudioBlock`` on maps."""

    def __init__(self, channels: int, inner: int, heads: int, audio: int, groups: int) -> None:
        super().__init__(channels, inner, MaskedAudioBlock(inner, heads, audio), groups)

    @property
    def block(self) -> MaskedAudioBlock:
        """The only block."""
        block = self.transformer_blocks[0]
        assert isinstance(block, MaskedAudioBlock)
        return block

    def forward(
        self,
        x: Tensor,
        audio_kv: AudioKV,
        masks: Tensor,
        weights: tuple[float, ...],
        *,
        dfa: ForegroundAttention = FULL_ATTENTION,
    ) -> Tensor:
        """Maps [N, C, H, W] -> the same shape; see ``MaskedAudioBlock``."""
        return self.to_map(self.block(self.to_tokens(x), audio_kv, masks, weights, dfa=dfa), x)
