"""Tensors of checkpoint files by name: opened lazily, renamed, merged, and loaded strictly."""

from __future__ import annotations

import pickle
import warnings
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from models.errors import WeightsError

WRAPPERS = ("state_dict", "model_state_dict")
_SHOWN = 4
"""Names that an error lists."""
_NEXT = (
    "these weights belong to another model, version or size; take the file from its publisher"
    " (docs/published-weights.md)"
)
_HINT = "copy it again from its publisher; docs/published-weights.md lists every file"


class TensorFile(Mapping[str, Tensor]):
    """The tensors of one file by name; memory-mapped, so that only what is read costs memory.

    Forgetting the object and its tensors unmaps the file. No code of the file is ever run.

    Args:
        path: ``*.safetensors``, or what ``torch.save`` wrote.

    Raises:
        WeightsError: the file is missing (``missing_weights``), truncated, or holds anything but
            named tensors (``bad_weights``).
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_file():
            raise WeightsError(
                f"expected weights at {path}, found none; {_HINT}", code="missing_weights"
            )
        try:
            self._tensors = _SafeFile(path) if path.suffix == ".safetensors" else _pickled(path)
        except (
            SafetensorError,
            pickle.UnpicklingError,
            RuntimeError,
            ValueError,
            EOFError,
            OSError,
            KeyError,
            AttributeError,
            zipfile.BadZipFile,
        ) as error:
            raise WeightsError(
                f"{path} ({path.stat().st_size} bytes) is truncated or no checkpoint:"
                f" {_first_line(error)}; {_HINT}",
                code="bad_weights",
            ) from error

    def __getitem__(self, name: str) -> Tensor:
        return self._tensors[name]

    def __contains__(self, name: object) -> bool:
        return name in self._tensors

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)


class _SafeFile(Mapping[str, Tensor]):
    """Tensors of a safetensors file, mapped when asked for."""

    def __init__(self, path: Path) -> None:
        opened: Any = safe_open
        self._file: Any = opened(path, framework="pt")
        self._names: dict[str, None] = dict.fromkeys(self._file.keys())

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __getitem__(self, name: str) -> Tensor:
        if name not in self._names:
            raise KeyError(name)
        tensor: Tensor = self._file.get_tensor(name)
        return tensor

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _pickled(path: Path) -> Mapping[str, Tensor]:
    """A flat state dict, or one inside the wrapper that its publisher saved it in."""
    # Files older than PyTorch 1.6 are no zip archives and cannot be mapped.
    mapped = zipfile.is_zipfile(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what it warns of ends as an error of ours
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    if isinstance(content, dict):
        for wrapper in WRAPPERS:
            if isinstance(content.get(wrapper), dict):
                content = content[wrapper]
    if not isinstance(content, dict) or not content:
        raise ValueError(f"it holds a {type(content).__name__}, not named tensors")
    foreign = [
        name
        for name, value in content.items()
        if not (isinstance(name, str) and isinstance(value, Tensor))
    ]
    if foreign:
        raise ValueError(f"{foreign[:3]} are no named tensors")
    return content


def _first_line(error: Exception) -> str:
    """What a person needs of an error that may be pages long."""
    text = (str(error) or repr(error)).strip().splitlines()[0]
    return text if len(text) <= 160 else text[:157] + "..."


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
    problems = [list_some(word, names) for word, names in faults.items() if names]
    if problems:
        raise WeightsError(
            f"{source} does not fit: {'; '.join(problems)}. {_NEXT}", code="bad_weights"
        )


def _same_kind(tensor: Tensor, wanted: Tensor) -> bool:
    dense = tensor.layout == torch.strided and not tensor.is_quantized
    return dense and tensor.is_floating_point() == wanted.is_floating_point()


def list_some(word: str, names: Iterable[str]) -> str:
    """``3 missing: a, b, ...``, the first few names only."""
    listed = list(names)
    more = ", ..." if len(listed) > _SHOWN else ""
    return f"{len(listed)} {word}: {', '.join(listed[:_SHOWN])}{more}"


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


MOTION = ".motion_modules."


def overlay(
    wanted: Mapping[str, Tensor], motion: TensorFile, denoising: TensorFile
) -> Mapping[str, Tensor]:
    """The motion file updated with the denoising file.

    The published loader skips a motion tensor of another name or shape without a word, and leaves
    that part of the network random. Here the union must be the network's names, each with its
    shape, and the error says which file is at fault.

    Args:
        wanted: the network's state dict.
        motion: ``motion_module*.pth``, the temporal modules' names.
        denoising: ``denoising_unet*.pth``, all other names; wins where both have one.

    Raises:
        WeightsError: a name is missing from the union, extra, or misshapen.
    """
    merged: dict[str, Tensor] = {**motion, **denoising}
    faults = [
        *_faults(motion, wanted, [n for n in wanted if MOTION in n and n not in merged]),
        *_faults(denoising, wanted, [n for n in wanted if MOTION not in n and n not in merged]),
    ]
    if faults:
        raise WeightsError(
            f"the two files do not unite to the denoiser's {len(wanted)} tensors:"
            f" {'; '.join(faults)}. {_NEXT}",
            code="bad_weights",
        )
    return merged


def _faults(file: TensorFile, wanted: Mapping[str, Tensor], missing: list[str]) -> list[str]:
    """What is wrong with one file, in words; empty if nothing is."""
    found = {
        "missing": missing,
        "extra": [name for name in file if name not in wanted],
        "misshapen": [
            f"{name} {tuple(tensor.shape)} instead of {tuple(wanted[name].shape)}"
            for name, tensor in file.items()
            if name in wanted and tensor.shape != wanted[name].shape
        ],
    }
    problems = [list_some(word, names) for word, names in found.items() if names]
    return [f"{file.path} has {', '.join(problems)}"] if problems else []
