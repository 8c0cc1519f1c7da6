"""Watches the modules of MEMO's denoiser during a call, and changes what its norms range over."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from models.memo.memory_attention import Memories
from models.memo.unet import MemoUNet
from models.sd15.blocks import FrameNorm
from tests.parity.directory import Stored
from tests.parity.layouts import like
from tests.parity.report import Item, absent, against, compare

HALF_PRECISION = 2e-3  # relative: stored as float16
MEMORY = 1e-4
EXACT = 1e-5  # relative: audio streams are stored whole


REMEMBERED = "mid_block.motion_modules.0.attention_blocks.0"  # whose memory is stored


def remembered(name: str, memory: Memories, g: Stored, *, always: bool = True) -> Iterator[Item]:
    """The memory that a call or a clip leaves: what is stored of it, ``always`` one at least."""
    for kind, field in (("KV", 0), ("Z", 1)):
        prefix = f"{name}.memory_{kind}."
        stored = {n for n in g if n.startswith(prefix)}
        for each in sorted(stored | ({prefix + REMEMBERED} if always else set())):
            path, _, number = each.removeprefix(prefix).rpartition(".attention_blocks.")
            yield against(g, each, memory[path][int(number)][field].flatten(0, 2), MEMORY)


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


class Watch:
    """Outputs of the modules whose outputs are stored, during one call."""

    def __init__(self, network: MemoUNet, stored: Stored) -> None:
        self.network, self.stored = network, stored
        self.seen: dict[str, Any] = {}
        self._handles: list[Any] = []

    def __enter__(self) -> Watch:
        for path in {module_of(name) for name in self.stored}:

            def keep(_m: nn.Module, _i: object, output: Any, path: str = path) -> None:
                self.seen[path] = output

            module = self.network.get_submodule(path)
            self._handles.append(module.register_forward_hook(keep))
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()

    def items(self) -> Iterator[Item]:
        """Each stored output beside what was seen."""
        if not len(self.stored):
            yield absent("intermediates", f"no {self.stored.path.name}")
        for name in self.stored:
            kept = self.seen[module_of(name)]
            sound = name.endswith(".audio_out")
            if isinstance(kept, tuple):
                kept = kept[1] if sound else kept[0]
            stored: Tensor = self.stored[name]
            exact = sound or stored.element_size() == 4
            tolerance = EXACT if exact else HALF_PRECISION
            yield compare(name, like(kept, stored), stored, tolerance, relative=True)


def module_of(name: str) -> str:
    """The module that gives a stored output; the mid block's are its last modules'."""
    path, _, kind = name.rpartition(".")
    if path == "mid_block":
        return "mid_block.audio_modules.0" if kind == "audio_out" else "mid_block.resnets.1"
    return path
