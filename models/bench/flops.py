"""Counts the operations of a network by running it under torch's counter.

Tensors on the meta device have shapes and no values, so that a network of any size is counted
without memory. Counted are convolutions, matrix products and attention; norms, activations and
softmax are not. One multiplication with its addition is one MAC, or two floating-point operations.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

Label = tuple[str, int]
"""Kind of module, for example ``attentions.attn1``, and level, 0 at full latent resolution."""

OTHER: Label = ("other", 0)
_BLOCK = re.compile(r"(down_blocks|mid_block|up_blocks)(?:\.(\d+))?\.(\D.*)")
_LAYERS = re.compile(r"\.(transformer_blocks|net|to_out)\.\d+|\.\d+|\.temporal_transformer")


class _Meter:
    """Attributes operations to the label of the innermost running module."""

    def __init__(self, counter: FlopCounterMode) -> None:
        self.counter = counter
        self.stack = [OTHER]
        self.macs: Counter[Label] = Counter()
        self._before = 0

    def settle(self) -> None:
        """Attribute the operations since the last call to the current label."""
        now = self.counter.get_total_flops()
        if now > self._before:
            self.macs[self.stack[-1]] += (now - self._before) // 2
        self._before = now

    def push(self, label: Label) -> None:
        self.settle()
        self.stack.append(label)

    def pop(self) -> None:
        self.settle()
        self.stack.pop()


def count_flops(network: nn.Module, run: Callable[[], object], levels: int = 4) -> Counter[Label]:
    """MACs of ``run``, by the module of ``network`` that was running.

    Args:
        network: its modules give the labels; operations outside of them are ``OTHER``.
        run: executes the network.
        levels: resolutions of the network; up block k is at level ``levels - 1 - k``.
    """
    with FlopCounterMode(display=False) as counter:
        meter = _Meter(counter)
        with _labelled(network, levels, meter):
            run()
        meter.settle()
    return meter.macs


def label_of(path: str, levels: int) -> Label:
    """Label of the module at ``path``: its kind without numbers, and the level of its block."""
    found = _BLOCK.match(path)
    if found is None:
        return _LAYERS.sub("", path), 0
    block, number, rest = found.groups()
    level = levels - 1 if number is None else int(number)
    if block == "up_blocks":
        level = levels - 1 - level
    return ".".join(_LAYERS.sub("", rest).split(".")[:2]), level


def flops_of(run: Callable[[], object]) -> int:
    """Floating-point operations of ``run``."""
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        run()
    flops: int = counter.get_total_flops()
    return flops


@contextmanager
def _labelled(network: nn.Module, levels: int, meter: _Meter) -> Iterator[None]:
    """Report to ``meter`` which module is running."""
    handles = []
    for path, module in network.named_modules():
        if not path:
            continue
        before = partial(_push, meter, label_of(path, levels))
        handles.append(module.register_forward_pre_hook(before))
        handles.append(module.register_forward_hook(partial(_pop, meter), always_call=True))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _push(meter: _Meter, label: Label, _module: nn.Module, _inputs: Any) -> None:
    meter.push(label)


def _pop(meter: _Meter, _module: nn.Module, _inputs: Any, _output: Any) -> None:
    meter.pop()


def total(macs: Mapping[Label, int]) -> int:
    """Sum over all labels."""
    return sum(macs.values())


def by_kind(macs: Mapping[Label, int], levels: int = 4) -> dict[str, list[int]]:
    """Counts at every level, by kind in the order of execution."""
    kinds: dict[str, list[int]] = {}
    for (kind, level), count in macs.items():
        kinds.setdefault(kind, [0] * levels)[level] += count
    return kinds


@contextmanager
def on_meta() -> Iterator[None]:
    """New tensors and modules are on the meta device."""
    with torch.device("meta"), torch.inference_mode():
        yield
