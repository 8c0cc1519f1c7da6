"""Counts operations of a network by kind of module and by resolution, through its own code.

Tensors on the meta device have shapes and no values, so that a network of any size is counted in
no memory. Counted as torch counts: convolutions, matrix products and attention, in multiplications
with an addition (MAC); norms, activations and softmax are not.
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
    """Gives what was counted since the last change of label to the label before it."""

    def __init__(self, counter: FlopCounterMode) -> None:
        self.counter = counter
        self.stack = [OTHER]
        self.macs: Counter[Label] = Counter()
        self._before = 0

    def settle(self) -> None:
        """Book what was counted since the last call."""
        now = self.counter.get_total_flops()
        if now > self._before:
            self.macs[self.stack[-1]] += (now - self._before) // 2
        self._before = now

    def push(self, label: Label) -> None:
        """A module starts."""
        self.settle()
        self.stack.append(label)

    def pop(self) -> None:
        """A module ends."""
        self.settle()
        self.stack.pop()


def count_flops(network: nn.Module, run: Callable[[], object], levels: int = 4) -> Counter[Label]:
    """Operations of ``run`` in MAC, by the network's module that was running.

    Args:
        network: whose modules give the labels; what runs outside of them is ``OTHER``.
        run: the calls to count.
        levels: resolutions of the network; up block k is at level ``levels - 1 - k``.
    """
    with FlopCounterMode(display=False) as counter:
        meter = _Meter(counter)
        with _labelled(network, levels, meter):
            run()
        meter.settle()
    return meter.macs


def label_of(path: str, levels: int) -> Label:
    """Label of the module at ``path``: block and numbers left out, the level from the block."""
    found = _BLOCK.match(path)
    if found is None:
        return _LAYERS.sub("", path), 0
    block, number, rest = found.groups()
    level = levels - 1 if number is None else int(number)
    if block == "up_blocks":
        level = levels - 1 - level
    return ".".join(_LAYERS.sub("", rest).split(".")[:2]), level


@contextmanager
def _labelled(network: nn.Module, levels: int, meter: _Meter) -> Iterator[None]:
    """Tell ``meter`` which module is running."""
    handles = []
    for path, module in network.named_modules():
        if not path:
            continue

        enter = partial(_enter, meter, label_of(path, levels))
        handles.append(module.register_forward_pre_hook(enter))
        handles.append(module.register_forward_hook(partial(_leave, meter), always_call=True))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _enter(meter: _Meter, label: Label, _module: nn.Module, _inputs: Any) -> None:
    meter.push(label)


def _leave(meter: _Meter, _module: nn.Module, _inputs: Any, _output: Any) -> None:
    meter.pop()


def total(macs: Mapping[Label, int]) -> int:
    """All operations."""
    return sum(macs.values())


def by_kind(macs: Mapping[Label, int], levels: int = 4) -> dict[str, list[int]]:
    """Kinds in the order they were first seen, each with its count at every level."""
    table: dict[str, list[int]] = {}
    for (kind, level), macs_there in macs.items():
        table.setdefault(kind, [0] * levels)[level] += macs_there
    return table


@contextmanager
def on_meta() -> Iterator[None]:
    """New tensors and modules have shapes alone."""
    with torch.device("meta"), torch.inference_mode():
        yield
