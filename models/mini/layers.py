"""The layers of ``mini``'s network: convolutions, three kinds of attention, and condition maps."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.lightning.dfa import merge, select
from models.nn.attention import Context, CrossAttention, ReferenceAttention, attend


class ResnetBlock(nn.Module):
    """GroupNorm, SiLU, conv, twice; the second norm is scaled and shifted by the embedding.

    The second convolution starts at zero, so that a new block is the identity (up to ``shortcut``).
    """

    def __init__(self, in_channels: int, out_channels: int, embedding: int, groups: int = 8):
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, in_channels)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.embed = nn.Linear(embedding, 2 * out_channels)
        self.norm2 = nn.GroupNorm(groups, out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        same = in_channels == out_channels
        self.shortcut = nn.Identity() if same else nn.Conv2d(in_channels, out_channels, 1)
        nn.init.zeros_(self.conv2.weight)
        if self.conv2.bias is not None:
            nn.init.zeros_(self.conv2.bias)
        self.embed.weight.data.mul_(0.3)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """[N, C_in, H, W] and embedding [N, E] -> [N, C_out, H, W]."""
        scale, shift = self.embed(embedding)[..., None].chunk(2, dim=1)
        h = self.conv1(F.silu(group_norm(self.norm1, x)))
        # cells flattened: OpenVINO 2026.4 crashes on the same with height and width, in float32
        flat = group_norm(self.norm2, h).flatten(2) * (1 + scale) + shift
        h = flat.view(h.shape)
        out: Tensor = self.shortcut(x) + self.conv2(F.silu(h))
        return out


def group_norm(norm: nn.GroupNorm, x: Tensor) -> Tensor:
    """``norm(x)``, in float32 where torch's bfloat16 kernel works number by number.

    It does on channels-last maps of fewer than 1024 cells with fewer than 16 channels to a group:
    float32 is four times faster there, conversions included.
    """
    thin = x.shape[1] < 16 * norm.num_groups and x.shape[2:].numel() < 1024
    if thin and norm.weight.dtype == torch.bfloat16:
        weight, bias = norm.weight.float(), norm.bias.float()
        return F.group_norm(x.float(), norm.num_groups, weight, bias, norm.eps).to(x.dtype)
    out: Tensor = norm(x)
    return out


class MiniDownsample(nn.Conv2d):
    """Halve height and width with a strided 3x3 convolution."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 3, stride=2, padding=1)


class MiniUpsample(nn.Module):
    """Double height and width: nearest neighbour, then a 3x3 convolution."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C_in, H, W] -> [N, C_out, 2H, 2W]."""
        out: Tensor = self.conv(F.interpolate(x, scale_factor=2.0))
        return out


class MiniTemporalAttention(nn.Module):
    """Pre-norm self-attention along time with learned frame positions; residual not added.

    Sequences are a few frames long and there are thousands of them. ``fuse`` prepares a fast form
    of the same attention for inference, made of products over whole maps instead of thousands of
    tiny matrices.
    """

    def __init__(self, channels: int, heads: int, max_frames: int) -> None:
        super().__init__()
        if channels % heads:
            raise ValueError(f"channels must divide into heads, got {channels} and {heads}")
        self.heads = heads
        self.norm = nn.LayerNorm(channels)
        self.position = nn.Parameter(torch.randn(max_frames, 1, channels) * 0.2)
        self.to_qkv = nn.Linear(channels, 3 * channels, bias=False)
        self.to_out = nn.Linear(channels, channels)
        nn.init.zeros_(self.to_out.weight)
        nn.init.zeros_(self.to_out.bias)
        self.register_buffer("fused_qkv", None, persistent=False)
        self.register_buffer("fused_position", None, persistent=False)
        self.register_buffer("head_sum", None, persistent=False)
        self.fused_qkv: Tensor | None
        self.fused_position: Tensor | None
        self.head_sum: Tensor | None

    @torch.no_grad()
    def fuse(self) -> None:
        """Multiply norm, positions and the 1 / sqrt(d) into the projection; after loading."""
        channels = self.to_qkv.in_features
        width = channels // self.heads
        weight = self.to_qkv.weight.float()
        position = (self.norm.bias.float() + self.position.float()) @ weight.T  # [F, 1, 3C]
        weight = (weight * self.norm.weight.float()).T.contiguous()  # [C, 3C]
        for scaled in (weight, position):
            scaled[..., :channels] *= width**-0.5
        dtype = self.to_qkv.weight.dtype
        self.fused_qkv, self.fused_position = weight.to(dtype), position.to(dtype)
        self.head_sum = torch.eye(self.heads, dtype=dtype, device=weight.device).repeat_interleave(
            width, dim=0
        )

    def forward(self, x: Tensor, frames: int) -> Tensor:
        """Tokens [B * F, L, C] -> what attention adds to them, [B * F, L, C]."""
        if self.fused_qkv is not None and self.fused_position is not None:
            return self._fused(x, self.fused_qkv, self.fused_position[:frames])
        tokens, channels = x.shape[1:]
        h = self.norm(x).view(-1, frames, tokens, channels) + self.position[:frames]
        qkv = self.to_qkv(h).transpose(1, 2)  # [B, L, F, 3C]
        q, k, v = qkv.reshape(-1, frames, 3, self.heads, channels // self.heads).permute(
            2, 0, 3, 1, 4
        )
        out: Tensor = self.to_out(attend(q, k, v))  # [B * L, F, C]
        return out.view(-1, tokens, frames, channels).transpose(1, 2).reshape(x.shape)

    def _fused(self, x: Tensor, weight: Tensor, position: Tensor) -> Tensor:
        """The same, for all F x F pairs of frames at once: products run along the whole map."""
        assert self.head_sum is not None
        (tokens, channels), frames = x.shape[1:], position.shape[0]
        n = F.layer_norm(x, (channels,), eps=self.norm.eps)
        clips = n.shape[0] // frames
        position = position if clips == 1 else position.repeat(clips, 1, 1)
        qkv = torch.baddbmm(position, n, weight.expand(n.shape[0], -1, -1))
        q, k, v = qkv.view(clips, frames, tokens, 3 * channels).chunk(3, dim=-1)
        # [B, F of keys, F of queries, L, C]: multiplied channel by channel, summed within each head
        pairs = q[:, None] * k[:, :, None]
        logits = F.linear(pairs.view(-1, channels), self.head_sum.T)
        weights = torch.softmax(logits.view(clips, frames, -1), dim=1)
        spread = F.linear(weights.view(-1, self.heads), self.head_sum).view(pairs.shape)
        out = spread[:, 0] * v[:, 0, None]
        for g in range(1, frames):
            out.addcmul_(spread[:, g], v[:, g, None])
        added: Tensor = self.to_out(out)
        return added.view(x.shape)


class AudioAttention(CrossAttention):
    """Every frame looks at the audio tokens around its own instant: batch of ``kv`` is B * F."""


class AudioTokens(nn.Module):
    """Speech features and mouth units of each frame -> tokens for attention and one vector."""

    def __init__(self, features: int, window: int, units: int, channels: int, vector: int) -> None:
        super().__init__()
        self.project = nn.Linear(features, channels)
        self.position = nn.Parameter(torch.randn(window, channels) * 0.2)
        self.from_units = nn.Linear(units, channels)
        self.mix = nn.Linear(channels, channels)
        self.to_vector = nn.Sequential(
            nn.Linear(window * channels, vector), nn.SiLU(), nn.Linear(vector, vector)
        )

    def forward(self, features: Tensor, units: Tensor) -> tuple[Tensor, Tensor]:
        """[B, F, W, D] and [B, F, U] -> tokens [B * F, W, C] and vectors [B, F, V]."""
        tokens = self.project(features) + self.position + self.from_units(units)[:, :, None]
        tokens = tokens + self.mix(F.silu(tokens))
        return tokens.flatten(0, 1), self.to_vector(tokens.flatten(2))


class ExpressionField(nn.Module):
    """K templates of C channels on a grid over the face.

    Args:
        vector: length of a condition vector.
        templates: K.
        channels: C.
        side: cells of the grid, each way.
        reach: half the grid's width in face coordinates (``prior.geometry_planes``).
    """

    def __init__(self, vector: int, templates: int, channels: int, side: int, reach: float) -> None:
        super().__init__()
        self.channels, self.side, self.reach = channels, side, reach
        self.mix = nn.Linear(vector, templates)
        self.templates = nn.Linear(templates, channels * side * side, bias=False)
        nn.init.normal_(self.templates.weight, std=0.2 * templates**-0.5)

    def forward(self, vector: Tensor, places: Tensor) -> Tensor:
        """Vectors [B, F, E] and face coordinates (x, y) of each cell [B, 2, H, W]
        -> maps [B, F, C, H, W], zero beyond the grid."""
        batch, frames = vector.shape[:2]
        drawn = self.templates(F.silu(self.mix(vector))).view(
            batch, frames * self.channels, self.side, self.side
        )
        grid = places.permute(0, 2, 3, 1) / self.reach
        maps = F.grid_sample(drawn, grid.to(drawn.dtype), align_corners=False)
        return maps.view(batch, frames, self.channels, *maps.shape[2:])


@dataclass(frozen=True)
class FaceWidths:
    """Widths of what a face layer is conditioned on, the same for all layers of a network."""

    embedding: int
    reference: int
    audio: int
    frames: int


class FaceLayer(nn.Module):
    """Resnet, reference attention, audio attention, temporal attention."""

    def __init__(self, in_channels: int, channels: int, heads: int, widths: FaceWidths) -> None:
        super().__init__()
        self.resnet = ResnetBlock(in_channels, channels, widths.embedding)
        self.reference = ReferenceAttention(channels, widths.reference, heads)
        self.audio = AudioAttention(channels, widths.audio, heads)
        self.temporal = MiniTemporalAttention(channels, heads, widths.frames)

    def forward(
        self,
        x: Tensor,
        embedding: Tensor,
        reference: Context,
        audio: Context,
        frames: int,
        *,
        foreground: Tensor | None = None,
        background: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """[B * F, C_in, H, W] -> the same with C channels, and what attention added, [B*F, HW, C].

        With ``foreground`` [B, K] and the ``background`` that a key step returned, attention runs
        over face tokens only and the others reuse the cached outputs (DFA). All three attentions
        treat query tokens one by one, so caching their sum equals caching each of them.
        """
        h = self.resnet(x, embedding)
        height, width = h.shape[2:]
        tokens = h.flatten(2).transpose(1, 2)
        if foreground is not None and background is not None:
            added = self._attend(select(tokens, foreground), reference, audio, frames)
            added = merge(background, added, foreground)
        else:
            added = self._attend(tokens, reference, audio, frames)
        out = (tokens + added).transpose(1, 2).view(h.shape[0], -1, height, width)
        return out.contiguous(memory_format=torch.channels_last), added

    def _attend(self, x: Tensor, reference: Context, audio: Context, frames: int) -> Tensor:
        added: Tensor = self.reference(x, reference)
        added = added + self.audio(x + added, audio)
        added = added + self.temporal(x + added, frames)
        return added
