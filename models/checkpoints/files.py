"""Opens a checkpoint file, safetensors or PyTorch's, and hands out its tensors without copying."""

from __future__ import annotations

import pickle
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from models.errors import WeightsError

WRAPPERS = ("state_dict", "model_state_dict")
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
            raise WeightsError(f"expected weights at {path}, found none; {_HINT}", code=MISSING)
        try:
            self._tensors = _safe(path) if path.suffix == ".safetensors" else _pickled(path)
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
                code=BAD,
            ) from error

    def __getitem__(self, name: str) -> Tensor:
        return self._tensors[name]

    def __contains__(self, name: object) -> bool:
        return name in self._tensors

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)


MISSING = "missing_weights"
BAD = "bad_weights"


class _Safe(Mapping[str, Tensor]):
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


def _safe(path: Path) -> Mapping[str, Tensor]:
    return _Safe(path)


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
