"""Weights in one byte: near what they were, exact where they must be, and read back either way."""

from __future__ import annotations

import pytest
import torch

from models.mini.packed import LEAST_VALUES, SCALE, pack, unpack

pytestmark = pytest.mark.unit


def test_weights_come_back_within_a_hundredth_of_their_deviation() -> None:
    torch.manual_seed(0)
    weight = torch.randn(64, 32, 3, 3) * torch.rand(64, 1, 1, 1)
    packed = pack({"conv.weight": weight})
    assert packed["conv.weight"].dtype is torch.int8 and packed["conv.weight" + SCALE].shape == (
        64,
    )
    again = unpack(packed)["conv.weight"]
    error = (again - weight).flatten(1).std(1) / weight.flatten(1).std(1)
    assert float(error.max()) < 0.012
    worst = (again - weight).abs().flatten(1).amax(1)
    assert bool((worst <= 0.31 * weight.abs().flatten(1).amax(1)).all())


def test_small_tensors_and_vectors_keep_half_precision() -> None:
    state = {"bias": torch.randn(LEAST_VALUES + 1), "small": torch.randn(3, 4)}
    packed = pack(state)
    assert set(packed) == set(state)
    for name, value in unpack(packed).items():
        assert torch.equal(value, state[name].half().float())


def test_a_channel_of_zeros_stays_one_and_packing_twice_changes_nothing_more() -> None:
    torch.manual_seed(1)
    weight = torch.randn(40, 100)
    weight[3] = 0
    once = unpack(pack({"w": weight}))["w"]
    assert bool((once[3] == 0).all())
    twice = unpack(pack({"w": once}))["w"]
    assert float((twice - once).abs().max()) <= 0.02 * float(weight.std())


def test_a_channel_too_small_for_float16_scales_keeps_its_values() -> None:
    weight = torch.full((40, 100), 3e-6)
    again = unpack(pack({"w": weight}))["w"]
    assert float((again - weight).abs().max()) <= 2.0**-25


def test_what_was_never_packed_is_read_too() -> None:
    state = {"w": torch.randn(50, 50).bfloat16()}
    assert torch.equal(unpack(state)["w"], state["w"].float())
