"""Foreground attention: which tokens are chosen, and that all others keep their cached results."""

from __future__ import annotations

import pytest
import torch

from models.lightning.dfa import (
    FaceTokens,
    merge,
    pad_and_stack,
    select,
    token_indices,
)
from tests.support.tiny import largest_difference, start, tiny_condition, tiny_net, with_foreground

pytestmark = pytest.mark.unit

T = torch.tensor([640])


def test_indices_name_exactly_the_face_and_round_up_by_repeating() -> None:
    mask = torch.zeros(8, 8)
    mask[2:5, 3:6] = 1.0
    indices = token_indices(mask, multiple=4)[0]
    face = mask.flatten().nonzero()[:, 0]
    assert len(indices) == 12 and len(face) == 9
    assert torch.equal(indices[:9], face)
    assert (indices[9:] == face[-1]).all()


def test_indices_never_exceed_the_map_and_an_empty_mask_is_everything() -> None:
    everything = torch.arange(25)[None]
    assert torch.equal(token_indices(torch.ones(5, 5), multiple=16), everything)
    assert torch.equal(token_indices(torch.zeros(5, 5), multiple=16), everything)


def test_foregrounds_of_a_batch_are_padded_by_their_last_index() -> None:
    short, long = FaceTokens(torch.tensor([[1, 4]])), FaceTokens(torch.tensor([[0, 2, 5]]))
    both = pad_and_stack([short, long])
    assert both is not None
    assert both.index.tolist() == [[1, 4, 4], [0, 2, 5]]
    assert pad_and_stack([short, None]) is None


@pytest.mark.parametrize("identity_ids", [1, 2])
def test_merge_replaces_the_face_and_nothing_else(identity_ids: int) -> None:
    frames, tokens, channels = 3, 20, 4
    background = torch.randn(identity_ids * frames, tokens, channels)
    kept = background.clone()
    foreground = torch.stack([torch.randperm(tokens)[:6] for _ in range(identity_ids)])
    face = torch.randn(identity_ids * frames, 6, channels)
    out = merge(background, face, foreground)
    assert torch.equal(background, kept)
    for row in range(identity_ids * frames):
        chosen = foreground[row // frames]
        expected = kept[row].clone()
        expected[chosen] = face[row]
        assert torch.equal(out[row], expected)


@pytest.mark.parametrize("identity_ids", [1, 2])
def test_select_and_merge_are_inverse_to_each_other(identity_ids: int) -> None:
    tokens = torch.randn(identity_ids * 2, 9, 3)
    foreground = torch.tensor([[0, 3, 8], [1, 2, 7]])[:identity_ids]
    assert torch.equal(merge(tokens, select(tokens, foreground), foreground), tokens)


@pytest.mark.parametrize("fused", [False, True])
def test_an_all_ones_mask_is_plain_attention_bit_for_bit(fused: bool) -> None:
    net = tiny_net(fused=fused)
    cond, z, later = tiny_condition(net), start(0), start(1)
    cells = net.spec.latent[1] * net.spec.latent[2]
    everything = with_foreground(cond, torch.arange(cells)[None])
    _, without = net.full(z, T, cond)
    _, cached = net.full(z, T, everything, keep=True)
    assert without.background is None and cached.background is not None
    plain = net.light(without, later, T - 100, cond)
    assert torch.equal(net.light(cached, later, T - 100, everything), plain)


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("identities", [1, 2])
def test_the_background_gets_what_was_cached_and_the_face_what_is_new(
    fused: bool, identities: int
) -> None:
    net = tiny_net(fused=fused)
    cond = net.collate([tiny_condition(net, n, head=3 + n) for n in range(identities)])
    foreground = cond.reference.foreground
    assert foreground is not None
    z, later = start(batch=identities), start(1, batch=identities)
    times = T.repeat(identities)
    _, cached = net.full(z, times, cond, keep=True)
    assert cached.background is not None

    x, e, *_ = net.enter(later, times - 100, cond)
    _, added = net.light_body(cached.hidden, cached.background["attention"], x, e, cond)
    _, everywhere = net.light_body(cached.hidden, None, x, e, cond)
    frames = net.spec.chunk_frames
    for row in range(identities * frames):
        face = torch.zeros(added.shape[1], dtype=torch.bool)
        face[foreground[row // frames]] = True
        assert 0 < face.sum() < face.numel()
        assert torch.equal(added[row][~face], cached.background["attention"][row][~face])
        assert largest_difference(added[row][face], everywhere[row][face]) < 1e-5
        assert (
            largest_difference(added[row][face], cached.background["attention"][row][face]) > 0.01
        )


def test_foreground_attention_changes_nothing_at_the_key_steps_own_time() -> None:
    net = tiny_net()
    cond = tiny_condition(net)
    full, cached = net.full(start(), T, cond, keep=True)
    assert largest_difference(net.light(cached, start(), T, cond), full) < 1e-5


def test_padding_is_distinguished_from_the_face() -> None:
    short, long = FaceTokens(torch.tensor([[1, 4]])), FaceTokens(torch.tensor([[0, 2, 5]]))
    both = pad_and_stack([short, long])
    assert both is not None and both.padding is not None
    assert both.padding.tolist() == [[False, False, True], [False] * 3]
    same = pad_and_stack([long, long])
    assert same is not None and same.padding is None
    again = pad_and_stack([both, long])
    assert again is not None and again.padding is not None
    assert again.padding.tolist() == [[False, False, True], [False] * 3, [False] * 3]


def test_a_key_that_is_padding_does_not_count() -> None:
    face = FaceTokens(
        torch.tensor([[1, 4, 4], [0, 2, 5]]), torch.tensor([[0, 0, 1], [0, 0, 0]]).bool()
    )
    key_mask = face.key_mask(batch_frames=4, copies=2)
    assert key_mask is not None and key_mask.shape == (4, 1, 1, 6)
    assert key_mask[1, 0, 0].tolist() == [True, True, False] * 2
    assert key_mask[2].all() and FaceTokens(face.index).key_mask(4) is None
