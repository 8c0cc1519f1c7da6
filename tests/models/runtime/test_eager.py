"""What a network looks like after it was prepared for inference."""

from __future__ import annotations

import os

import pytest
import torch

from models.mini.unet import MiniUNet
from models.runtime.choose import prepare_engine
from models.runtime.eager import for_inference, keep_freed_memory, preferred_dtype
from tests.support.tiny import TINY

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_weights_are_cast_and_fused_but_the_schedule_is_kept(dtype: torch.dtype) -> None:
    exact = MiniUNet(TINY)
    net = for_inference(MiniUNet(TINY), dtype)
    assert not net.training and not any(p.requires_grad for p in net.parameters())
    assert {p.dtype for p in net.parameters()} == {dtype}
    assert net.conv_in.weight.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(net.signal, exact.signal) and torch.equal(net.noise, exact.noise)
    assert net.time_table is not None and net.time_table.dtype == dtype
    assert net.u32.temporal.fused_qkv is not None


def test_the_number_format_is_one_that_networks_can_have() -> None:
    assert preferred_dtype() in (torch.float32, torch.bfloat16)


def test_keeping_freed_memory_is_safe_to_ask_for_twice() -> None:
    assert keep_freed_memory() == keep_freed_memory()


def test_without_an_engine_a_core_is_left_to_others() -> None:
    before = torch.get_num_threads()
    try:
        assert prepare_engine("eager", None) is None
        assert torch.get_num_threads() == max(1, (os.cpu_count() or 1) - 1)
        assert prepare_engine("eager", 2) is None
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
