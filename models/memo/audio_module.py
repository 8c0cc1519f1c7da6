"""MEMO's audio module: video and audio tokens attend jointly, both modulated by an emotion.

Audio tokens run through all modules of the network in order and grow on the way: a module returns
its result plus its input (published behaviour; the result contains the input already).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.lightning.dfa import FULL_ATTENTION, ForegroundAttention
from models.memo.config import NO_EMOTION
from models.nn.attention import split_heads
from models.sd15.attention import Attention, FeedForward, TokenTransformer, self_attention


class _Embedder(nn.Module):
    def __init__(self, labels: int, channels: int) -> None:
        super().__init__()
        self.embedding_table = nn.Embedding(labels, channels)


class EmotionNorm(nn.Module):
    """Layer norm whose scale and shift come from a label (adaptive layer norm)."""

    def __init__(self, channels: int, labels: int = NO_EMOTION + 1) -> None:
        super().__init__()
        self.class_embedder = _Embedder(labels, channels)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(channels, 2 * channels))

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        """Tokens [N, L, C] and a label for each row, int64 [N] -> [N, L, C]."""
        emotion = self.class_embedder.embedding_table(labels)
        shift, scale = self.adaLN_modulation(emotion)[:, None].chunk(2, dim=-1)
        out: Tensor = F.layer_norm(x, x.shape[-1:], eps=1e-5) * (1 + scale) + shift
        return out


class JointAttention(Attention):
    """One softmax over video and audio tokens, video first; each side has its own projections.

    Args:
        channels: of video tokens and of all heads; audio: of audio tokens.
        returns: whether the audio side gets an output.
    """

    def __init__(self, channels: int, heads: int, audio: int, *, returns: bool) -> None:
        super().__init__(channels, heads)
        self.add_q_proj = nn.Linear(audio, channels)
        self.add_k_proj = nn.Linear(audio, channels)
        self.add_v_proj = nn.Linear(audio, channels)
        self.to_add_out = nn.Linear(channels, audio) if returns else None

    def forward(self, x: Tensor, audio: Tensor) -> tuple[Tensor, Tensor | None]:  # type: ignore[override]
        """Video [N, L, C] and audio [N, M, D] -> what to add to each (None: nothing)."""
        length = x.shape[1]
        query, key, value = (
            split_heads(torch.cat([of_video(x), of_audio(audio)], dim=1), self.heads)
            for of_video, of_audio in (
                (self.to_q, self.add_q_proj),
                (self.to_k, self.add_k_proj),
                (self.to_v, self.add_v_proj),
            )
        )
        out = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        video = self.to_out[0](out[:, :length])
        if self.to_add_out is None:
            return video, None
        return video, self.to_add_out(out[:, length:])


class JointBlock(nn.Module):
    """Self-attention on both sides, joint attention, feed-forward on both sides."""

    def __init__(self, inner: int, heads: int, audio: int, *, last: bool) -> None:
        super().__init__()
        self.norm1 = EmotionNorm(inner)
        self.attn1 = Attention(inner, heads)
        self.audio_norm1 = EmotionNorm(audio)
        self.audio_attn1 = Attention(audio, heads, inner=inner)
        self.norm2 = EmotionNorm(inner)
        self.audio_norm2 = EmotionNorm(audio)
        self.attn2 = JointAttention(inner, heads, audio, returns=not last)
        self.norm3 = nn.LayerNorm(inner)
        self.ff = FeedForward(inner)
        self.audio_norm3 = None if last else nn.LayerNorm(audio)
        self.audio_ff = None if last else FeedForward(audio)

    def forward(
        self,
        x: Tensor,
        audio: Tensor,
        labels: Tensor,
        *,
        dfa: ForegroundAttention = FULL_ATTENTION,
    ) -> tuple[Tensor, Tensor]:
        """Video [N, L, C], audio [N, M, D], labels [N] -> both; the last block's audio is stale.

        The joint attention always sees all video tokens, as the audio side attends to them; ``dfa``
        only says which tokens the video's self-attention runs over.
        """
        h = dfa.select(self.norm1(x, labels))
        x = x + dfa.merge("audio1", self_attention(self.attn1, h, dfa.face_tokens))
        h = self.audio_norm1(audio, labels)
        audio = audio + self.audio_attn1(h, self.audio_attn1.project(h))
        to_video, to_audio = self.attn2(self.norm2(x, labels), self.audio_norm2(audio, labels))
        x = x + to_video
        x = x + self.ff(self.norm3(x))
        if to_audio is None or self.audio_ff is None or self.audio_norm3 is None:
            return x, audio
        audio = audio + to_audio
        return x, audio + self.audio_ff(self.audio_norm3(audio))


class JointAudioModule(TokenTransformer):
    """A ``JointBlock`` on maps."""

    def __init__(
        self, channels: int, inner: int, heads: int, audio: int, *, groups: int, last: bool
    ) -> None:
        super().__init__(channels, inner, JointBlock(inner, heads, audio, last=last), groups)

    def forward(
        self,
        x: Tensor,
        audio: Tensor,
        labels: Tensor,
        *,
        dfa: ForegroundAttention = FULL_ATTENTION,
    ) -> tuple[Tensor, Tensor]:
        """Maps [N, C, H, W] and audio tokens [N, M, D] -> both, residuals added."""
        tokens, audio_out = self.transformer_blocks[0](self.to_tokens(x), audio, labels, dfa=dfa)
        return self.to_map(tokens, x), audio_out + audio
