"""Cross attention: against torch's own, folded against plain, and how frames share a context."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from models.mini.layers import AudioAttention, AudioTokens
from models.nn.attention import CrossAttention, KeyValue, ReferenceAttention, attend
from tests.support.tiny import largest_difference, randomise

pytestmark = pytest.mark.unit


@pytest.fixture
def layer() -> CrossAttention:
    made = CrossAttention(channels=12, context=10, heads=3).requires_grad_(False)
    randomise(made)
    return made


def test_attend_is_scaled_dot_product_attention() -> None:
    q, k, v = torch.randn(2, 3, 7, 4), torch.randn(2, 3, 5, 4), torch.randn(2, 3, 5, 4)
    expected = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
    assert largest_difference(attend(q, k, v), expected) < 1e-5


def test_it_equals_torchs_multi_head_attention(layer: CrossAttention) -> None:
    x, context = torch.randn(2, 7, 12), torch.randn(2, 5, 10)
    w_k, w_v = layer.to_kv.weight.chunk(2)
    expected, _ = F.multi_head_attention_forward(
        layer.norm(x).transpose(0, 1),
        context.transpose(0, 1),
        context.transpose(0, 1),
        embed_dim_to_check=12,
        num_heads=3,
        in_proj_weight=None,
        in_proj_bias=None,
        bias_k=None,
        bias_v=None,
        add_zero_attn=False,
        dropout_p=0.0,
        out_proj_weight=layer.to_out.weight,
        out_proj_bias=layer.to_out.bias,
        training=False,
        need_weights=False,
        use_separate_proj_weight=True,
        q_proj_weight=layer.to_q.weight,
        k_proj_weight=w_k,
        v_proj_weight=w_v,
    )
    got = layer(x, layer.project(context))
    assert largest_difference(got, expected.transpose(0, 1)) < 1e-5


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-5), (torch.bfloat16, 0.04)])
def test_folded_is_plain(layer: CrossAttention, dtype: torch.dtype, bound: float) -> None:
    layer.to(dtype)
    kv = layer.project(torch.randn(2, 5, 10, dtype=dtype))
    x = torch.randn(2, 7, 12, dtype=dtype)
    folded = layer.fold(kv)
    assert folded.query.shape == folded.value.shape == (2, 15, 12)
    assert largest_difference(layer(x, folded), layer(x, kv)) < bound


def test_a_new_layer_adds_nothing_in_either_form() -> None:
    layer = CrossAttention(8, 6, 2).requires_grad_(False)
    kv, x = layer.project(torch.randn(1, 4, 6)), torch.randn(1, 3, 8)
    assert layer(x, kv).abs().max() == 0 and layer(x, layer.fold(kv)).abs().max() == 0


def test_queries_are_treated_one_by_one(layer: CrossAttention) -> None:
    """What foreground attention rests on."""
    kv, x = layer.project(torch.randn(1, 5, 10)), torch.randn(1, 7, 12)
    chosen = torch.tensor([1, 4, 6])
    for context in (kv, layer.fold(kv)):
        part = layer(x[:, chosen], context)
        assert largest_difference(part, layer(x, context)[:, chosen]) < 1e-5


@pytest.mark.parametrize("folded", [False, True])
def test_frames_of_a_clip_share_its_reference(folded: bool) -> None:
    layer = ReferenceAttention(12, 10, 3).requires_grad_(False)
    randomise(layer)
    kv = layer.project(torch.randn(2, 5, 10))
    x = torch.randn(2 * 4, 7, 12)
    got = layer(x, layer.fold(kv) if folded else kv)
    for row in range(8):
        own = KeyValue(kv.key[row // 4, None], kv.value[row // 4, None])
        assert largest_difference(got[row], layer(x[row, None], own)[0]) < 1e-5


def test_every_frame_hears_its_own_audio() -> None:
    layer = AudioAttention(12, 10, 3).requires_grad_(False)
    randomise(layer)
    context, x = torch.randn(4, 5, 10), torch.randn(4, 7, 12)
    before = layer(x, layer.project(context))
    context[2] += 1.0
    changed = (layer(x, layer.project(context)) - before).abs().amax((1, 2)) > 1e-4
    assert changed.tolist() == [False, False, True, False]


def test_audio_tokens_have_one_row_a_frame_and_know_their_place() -> None:
    layer = AudioTokens(features=6, window=3, units=4, channels=8, vector=5).requires_grad_(False)
    tokens, vector = layer(torch.zeros(2, 4, 3, 6), torch.zeros(2, 4, 4))
    assert tokens.shape == (8, 3, 8) and vector.shape == (2, 4, 5)
    assert largest_difference(tokens[0, 0], tokens[0, 1]) > 1e-3


def test_channels_that_do_not_divide_into_heads_are_refused() -> None:
    with pytest.raises(ValueError, match="heads"):
        CrossAttention(10, 4, 3)
