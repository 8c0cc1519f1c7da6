"""MEMO's module outputs and memory after a call, and the frames that its norms span."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from models.memo.memory_attention import Memories
from models.memo.unet import MemoUNet
from models.sd15.blocks import FrameNorm
from tests.parity.capture import ModuleOutputs, like
from tests.parity.directory import Stored
from tests.parity.items import Item, absent, against, compare

HALF_PRECISION = 2e-3  # relative: stored as float16
MEMORY = 1e-4
EXACT = 1e-5  # relative: audio streams are stored as float32


REMEMBERED = "mid_block.motion_modules.0.attention_blocks.0"  # whose memory is stored


def remembered(
    name: str, memory: Memories, g: Stored, *, always: bool = True, kv_tolerance: float = MEMORY
) -> Iterator[Item]:
    """The memory after a call or a clip: what is stored of it, with ``always`` at least one."""
    for kind, field, tolerance in (("KV", 0, kv_tolerance), ("Z", 1, MEMORY)):
        prefix = f"{name}.memory_{kind}."
        stored = {n for n in g if n.startswith(prefix)}
        for each in sorted(stored | ({prefix + REMEMBERED} if always else set())):
            path, _, number = each.removeprefix(prefix).rpartition(".attention_blocks.")
            yield against(g, each, memory[path][int(number)][field].flatten(0, 2), tolerance)


@contextmanager
def statistics_over(network: MemoUNet, frames: int) -> Iterator[None]:
    """Let the norms of resnets and of the head take statistics over ``frames`` frames."""
    norms = [module for module in network.modules() if isinstance(module, FrameNorm)]
    for norm in norms:
        norm.frames = frames
    try:
        yield
    finally:
        for norm in norms:
            norm.frames = 1


class Watch(ModuleOutputs):
    """Outputs of the modules whose outputs are stored, during one call."""

    def __init__(self, network: MemoUNet, stored: Stored) -> None:
        self.stored = stored
        super().__init__(network, map(module_of, stored))

    def items(self) -> Iterator[Item]:
        """Each stored output beside the captured one."""
        if not len(self.stored):
            yield absent("intermediates", f"no {self.stored.path.name}")
        for name in self.stored:
            output = self.outputs[module_of(name)][-1]
            audio = name.endswith(".audio_out")
            if isinstance(output, tuple):
                output = output[1] if audio else output[0]
            stored = self.stored[name]
            exact = audio or stored.element_size() == 4
            tolerance = EXACT if exact else HALF_PRECISION
            yield compare(name, like(output, stored), stored, tolerance, relative=True)


def module_of(name: str) -> str:
    """The module of a stored output; the mid block's outputs are those of its last modules."""
    path, _, kind = name.rpartition(".")
    if path == "mid_block":
        return "mid_block.audio_modules.0" if kind == "audio_out" else "mid_block.resnets.1"
    return path
