"""Captures outputs of networks and of their modules, in the layouts in which they are stored."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, Self

from torch import Tensor, nn

from models.sd15.cfg import SD15Denoiser


class ModuleOutputs:
    """Outputs of modules, call by call, by the modules' paths; a context manager.

    Args:
        paths: modules whose outputs are captured.
        inputs: names, and the modules whose first input is captured under them.
    """

    def __init__(
        self, network: nn.Module, paths: Iterable[str], inputs: Mapping[str, str] | None = None
    ) -> None:
        self.network = network
        self.outputs: dict[str, list[Any]] = defaultdict(list)
        self._paths, self._inputs = set(paths), inputs or {}
        self._handles: list[Any] = []

    def __enter__(self) -> Self:
        for path in self._paths:
            hook = partial(self._capture_output, path)
            self._handles.append(self.network.get_submodule(path).register_forward_hook(hook))
        for name, path in self._inputs.items():
            before = partial(self._capture_input, name)
            self._handles.append(self.network.get_submodule(path).register_forward_pre_hook(before))
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()

    def _capture_output(self, path: str, _: nn.Module, __: object, output: object) -> None:
        self.outputs[path].append(output)

    def _capture_input(self, name: str, _: nn.Module, inputs: tuple[Tensor]) -> None:
        self.outputs[name].append(inputs[0])


@contextmanager
def outputs_of(denoiser: SD15Denoiser[Any]) -> Iterator[list[Tensor]]:
    """Outputs [num_branches * B, C, F, H, W] of the network, before guidance, in call order."""
    videos: list[Tensor] = []
    postprocess = denoiser.postprocess

    def keep(out: Tensor, z: Tensor) -> Tensor:
        video = out.view(-1, z.shape[2], *out.shape[1:]).transpose(1, 2)
        videos.append(video)
        return postprocess(out, z)

    denoiser.postprocess = keep  # type: ignore[method-assign]
    try:
        yield videos
    finally:
        del denoiser.postprocess


def fold(video: Tensor) -> Tensor:
    """[B, C, F, H, W] -> [B F, C, H, W]."""
    return video.transpose(1, 2).flatten(0, 1)


def unfold(images: Tensor, stored: Tensor) -> Tensor:
    """[B F, C, H, W] -> the layout of ``stored`` [B, C, F, H, W]."""
    return images.reshape(stored.shape[0], -1, *images.shape[1:]).transpose(1, 2)


def like(output: Tensor, stored: Tensor) -> Tensor:
    """A module's output in the layout in which it is stored."""
    if stored.dim() == 5:
        return unfold(output, stored)
    if output.shape != stored.shape and output.dim() == 3:  # [H W, F, C] -> [F, H W, C]
        return output.transpose(0, 1)
    if output.dim() == 2 and len(output) == 1:  # the same for the whole batch
        return output.expand_as(stored)
    return output
