"""Fills a network with a checkpoint's tensors: exact names, exact shapes, one error otherwise."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from models.errors import WeightsError

SHOWN = 4
NEXT = (
    "these weights belong to another model, version or size; take the file from its publisher"
    " (docs/published-weights.md)"
)


def load_strict(
    network: nn.Module,
    tensors: Mapping[str, Tensor],
    dtype: torch.dtype,
    source: Path | str,
    device: torch.device | str = "cpu",
) -> None:
    """Give a network, built on the meta device, its values in ``dtype``.

    A tensor that is stored in that dtype is used where it lies (mapped, not copied); any other is
    converted one by one, so that at most one is held twice. Numbers that are no floats keep their
    dtype.

    Args:
        tensors: names exactly those of the network's state dict.
        source: named in errors: the file, or the files.

    Raises:
        WeightsError: a tensor is missing, extra, misshapen or of a wrong kind; the network is then
            unchanged.
    """
    wanted = network.state_dict()
    check(wanted, tensors, source)
    state: dict[str, Tensor] = {}
    for name in wanted:
        tensor = tensors[name]
        if tensor.is_floating_point():
            tensor = tensor.to(dtype)
        state[name] = tensor.to(device)
    network.load_state_dict(state, strict=True, assign=True)
    network.requires_grad_(False)


def check(wanted: Mapping[str, Tensor], tensors: Mapping[str, Tensor], source: Path | str) -> None:
    """Compare names, shapes and kinds: floats for floats, dense tensors.

    Raises:
        WeightsError: they are not the same.
    """
    missing = [name for name in wanted if name not in tensors]
    extra = [name for name in tensors if name not in wanted]
    misshapen = [
        f"{name} {tuple(tensors[name].shape)} instead of {tuple(wanted[name].shape)}"
        for name in wanted
        if name in tensors and tensors[name].shape != wanted[name].shape
    ]
    kinds = [
        f"{name} {str(tensors[name].dtype).removeprefix('torch.')}"
        for name in wanted
        if name in tensors and not _same_kind(tensors[name], wanted[name])
    ]
    faults = {"missing": missing, "extra": extra, "misshapen": misshapen, "of a wrong kind": kinds}
    said = [list_some(word, names) for word, names in faults.items() if names]
    if said:
        raise WeightsError(f"{source} does not fit: {'; '.join(said)}. {NEXT}", code="bad_weights")


def _same_kind(tensor: Tensor, wanted: Tensor) -> bool:
    dense = tensor.layout == torch.strided and not tensor.is_quantized
    return dense and tensor.is_floating_point() == wanted.is_floating_point()


def list_some(word: str, names: Iterable[str]) -> str:
    """``3 missing: a, b, ...``, the first few names only."""
    listed = list(names)
    more = ", ..." if len(listed) > SHOWN else ""
    return f"{len(listed)} {word}: {', '.join(listed[:SHOWN])}{more}"


class Renamed(Mapping[str, Tensor]):
    """Tensors under other names, some left out; nothing is read before it is asked for.

    Args:
        tensors: as stored.
        rename: a stored name -> the network's; None leaves the tensor out.
        reshape: applied to what is read, given the stored name.
    """

    def __init__(
        self,
        tensors: Mapping[str, Tensor],
        rename: Callable[[str], str | None],
        reshape: Callable[[str, Tensor], Tensor] | None = None,
    ) -> None:
        self._tensors = tensors
        self._stored = {new: old for old in tensors if (new := rename(old)) is not None}
        self._reshape = reshape

    def __getitem__(self, name: str) -> Tensor:
        stored = self._stored[name]
        tensor = self._tensors[stored]
        return self._reshape(stored, tensor) if self._reshape else tensor

    def __contains__(self, name: object) -> bool:
        return name in self._stored

    def __iter__(self) -> Iterator[str]:
        return iter(self._stored)

    def __len__(self) -> int:
        return len(self._stored)


def strip_prefix(tensors: Mapping[str, Tensor], prefix: str) -> Renamed:
    """The tensors whose names begin with ``prefix``, without it."""
    return Renamed(
        tensors, lambda name: name.removeprefix(prefix) if name.startswith(prefix) else None
    )
