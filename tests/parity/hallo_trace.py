"""Outputs of the modules of Hallo's denoiser during one call, sampled or complete."""

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
"""Complete outputs that every directory has, by the notes."""


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
        """Complete outputs of blocks, then the trace of all modules in the order they ran."""
        for name in sorted({*INTERMEDIATES, *(n for n in g if n.startswith("inter."))}):
            computed = partial(self._whole, name.removeprefix("inter.").removesuffix(".out"))
            yield against(g, name, computed, TOLERANCE, relative=True)
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
        """One entry: values at evenly spaced indices of the flattened output."""
        name = row["name"]
        shape, values = row["shape"], torch.tensor(row[SAMPLES], dtype=torch.float64)
        size = torch.Size(shape).numel()
        indices = torch.linspace(0, size - 1, len(values), dtype=torch.float64).floor().long()
        used, note = torch.ones(len(values), dtype=torch.bool), ""
        outputs = self.outputs.get(self._module(name))
        if not outputs:
            yield Item(label, None, None, False, note="never ran")
            return
        if name.endswith("attn1"):
            if len(outputs) == 2:  # spatial: the conditional branch, then the unconditional one
                output, used, note = _by_turn(outputs, turn, shape, indices)
            else:
                output = outputs[turn]
        else:
            output = outputs[0]
        # A motion module's outputs of the motion frames are dropped.
        if output.dim() == 4 and output.numel() != size:
            output, used, note = _without_past(output, shape, indices)
        flat = _shaped(output, torch.Size(shape)).reshape(-1).double()
        got = flat[indices][used]
        scale = max(1.0, float(values.abs().max()))
        item = compare(label, got, values[used], TOLERANCE * scale)
        yield replace(item, note=note or item.note)


def _by_turn(
    outputs: list[Tensor], turn: int, shape: list[int], indices: Tensor
) -> tuple[Tensor, Tensor, str]:
    """The output of one of the two calls of a spatial attention, and which samples are used.

    Here the conditional branch attends with the reference, then the unconditional one without it.
    The published network first runs both with the reference, so that the unconditional outputs of
    its first entry are unused, then the unconditional branch again.
    """
    cond, uncond = outputs
    if turn == 1:
        return uncond, torch.ones(len(indices), dtype=torch.bool), ""
    full = torch.cat([torch.zeros_like(uncond), cond])
    row = uncond.shape[1] * uncond.shape[2]
    return full, indices >= len(uncond) * row, "rows that are used"


def _without_past(output: Tensor, shape: list[int], indices: Tensor) -> tuple[Tensor, Tensor, str]:
    """The chunk's frames after the motion frames, whose outputs are unused."""
    clips, channels, frames, height, width = shape
    chunk = len(output) // clips
    full = output.new_zeros(clips, frames, channels, height, width)
    full[:, frames - chunk :] = output.view(clips, chunk, channels, height, width)
    frame = indices // (height * width) % frames
    return full.flatten(0, 1), frame >= frames - chunk, "frames of the chunk"


def _shaped(output: Tensor, shape: torch.Size) -> Tensor:
    """From the folded layouts to the stored ones."""
    if output.dim() == 2:  # the time embedding, the same for the whole batch
        return output.expand(shape)
    if len(shape) == 5:  # [N, C, H, W] -> [B, C, F, H, W]
        return output.reshape(shape[0], -1, *output.shape[1:]).transpose(1, 2)
    if output.dim() == 4 and len(shape) == 4:  # tokens of a 1x1 convolution as a map
        return output.reshape(shape)
    if output.dim() == 3 and output.shape != shape:  # [B L, F, C] -> [B F, L, C]
        pixels = shape[1]
        clips = output.view(-1, pixels, *output.shape[1:])
        return clips.transpose(1, 2).flatten(0, 1)
    return output
