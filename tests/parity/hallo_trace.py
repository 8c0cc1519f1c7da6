"""Watches the modules of Hallo's denoiser during a call: outputs, sampled or whole."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from models.hallo.unet import HalloUNet
from tests.parity.capture import ModuleOutputs
from tests.parity.directory import Directory, Stored
from tests.parity.items import Absent, Item, absent, against, compare, guarded

TOLERANCE = 2e-5  # relative
SAMPLES = "samples"
BLOCK = "transformer_blocks.0"
END = re.compile(r"temporal_transformer\.proj_out$")
HIDDEN = "up_blocks.3.hidden_entering_layer2"
INTERMEDIATES = (
    *(f"inter.down_blocks.{k}.out" for k in range(4)),
    "inter.mid_block.out",
    *(f"inter.up_blocks.{k}.out" for k in (0, 1, 3)),
    f"inter.{HIDDEN}",
)
"""Whole outputs that every directory has, by the notes."""


class Trace(ModuleOutputs):
    """Outputs of every module during one call.

    A motion module's transformer block ends within the module: its output is the input of
    ``proj_out``.
    """

    def __init__(self, network: HalloUNet) -> None:
        paths = [path for path, _ in network.named_modules()]
        ends = {path.removesuffix("proj_out") + BLOCK: path for path in paths if END.search(path)}
        super().__init__(network, paths, ends)

    def items(self, directory: Directory, g: Stored) -> Iterator[Item]:
        """Whole outputs of blocks, then the trace of all modules in the order they ran."""
        for name in sorted({*INTERMEDIATES, *(n for n in g if n.startswith("inter."))}):
            made = partial(self._whole, name.removeprefix("inter.").removesuffix(".out"))
            yield against(g, name, made, TOLERANCE, relative=True)
        try:
            trace = directory.json("golden_unet_trace")
        except Absent as error:
            yield absent("trace", str(error))
            return
        times: dict[str, int] = defaultdict(int)
        for row in trace:
            name, turn = row["name"], times[row["name"]]
            times[name] += 1
            label = f"trace.{name}" + (f" ({turn + 1})" if turn else "")
            yield from guarded(label, self._traced(label, turn, row))

    def _whole(self, path: str, stored: Tensor) -> Tensor:
        """The output of a block, in the layout of the stored one."""
        if path == HIDDEN:
            path = "up_blocks.3.motion_modules.1"
        return _shaped(self.outputs[self._module(path)][0], stored.shape)

    def _module(self, path: str) -> str:
        """The module whose output a block's is."""
        module = self.network.get_submodule(path)
        if not path.endswith("block") and path.count(".") != 1:
            return path
        if path == "mid_block":
            return "mid_block.resnets.1"
        for kind in ("downsamplers", "upsamplers", "motion_modules"):
            parts = getattr(module, kind, None)
            last = f"{path}.{kind}.{len(parts) - 1}" if parts else ""
            if last in self.outputs:
                return last
        return f"{path}.resnets.{len(module.get_submodule('resnets')._modules) - 1}"

    def _traced(self, label: str, turn: int, row: dict[str, Any]) -> Iterator[Item]:
        """One entry: values at evenly spaced places of the flattened output."""
        name = row["name"]
        shape, values = row["shape"], torch.tensor(row[SAMPLES], dtype=torch.float64)
        size = torch.Size(shape).numel()
        places = torch.linspace(0, size - 1, len(values), dtype=torch.float64).floor().long()
        kept, note = torch.ones(len(values), dtype=torch.bool), ""
        seen = self.outputs.get(self._module(name))
        if not seen:
            yield Item(label, None, None, False, note="never ran")
            return
        if name.endswith("attn1"):
            if len(seen) == 2:  # spatial: rows that read the reference, and rows that do not
                mine, kept, note = _by_turn(seen, turn, shape, places)
            else:
                mine = seen[turn]
        else:
            mine = seen[0]
        if (
            mine.dim() == 4 and mine.numel() != size
        ):  # a motion module: outputs of motion frames are dropped
            mine, kept, note = _without_past(mine, shape, places)
        flat = _shaped(mine, torch.Size(shape)).reshape(-1).double()
        got = flat[places][kept]
        scale = max(1.0, float(values.abs().max()))
        item = compare(label, got, values[kept], TOLERANCE * scale)
        yield replace(item, note=note or item.note)


def _by_turn(
    seen: list[Tensor], turn: int, shape: list[int], places: Tensor
) -> tuple[Tensor, Tensor, str]:
    """Our order of work: reading rows alone, then plain rows alone. The published one: all rows
    reading, then the plain ones again, so that its first entry holds plain rows that nobody uses.
    """
    reading, plain = seen
    if turn == 1:
        return plain, torch.ones(len(places), dtype=torch.bool), ""
    whole = torch.cat([torch.zeros_like(plain), reading])
    row = plain.shape[1] * plain.shape[2]
    return whole, places >= len(plain) * row, "rows that are used"


def _without_past(mine: Tensor, shape: list[int], places: Tensor) -> tuple[Tensor, Tensor, str]:
    """Frames of the chunk among motion frames whose outputs nobody uses."""
    clips, channels, frames, height, width = shape
    chunk = len(mine) // clips
    whole = mine.new_zeros(clips, frames, channels, height, width)
    whole[:, frames - chunk :] = mine.view(clips, chunk, channels, height, width)
    frame = places // (height * width) % frames
    return whole.flatten(0, 1), frame >= frames - chunk, "frames of the chunk"


def _shaped(seen: Tensor, shape: torch.Size) -> Tensor:
    """From our folded layouts to the stored ones."""
    if seen.dim() == 2:  # the time embedding, the same for all rows
        return seen.expand(shape)
    if len(shape) == 5:  # [N, C, H, W] -> [B, C, F, H, W]
        return seen.reshape(shape[0], -1, *seen.shape[1:]).transpose(1, 2)
    if seen.dim() == 4 and len(shape) == 4:  # tokens of a 1x1 convolution as a map
        return seen.reshape(shape)
    if seen.dim() == 3 and seen.shape != shape:  # by place [B L, F, C] -> by frame [B F, L, C]
        places = shape[1]
        clips = seen.view(-1, places, *seen.shape[1:])
        return clips.transpose(1, 2).flatten(0, 1)
    return seen
