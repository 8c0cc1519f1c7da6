"""Loads every network of a model from its publisher's folder, strictly, one after the other."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from models.checkpoints.layout import NetworkFile, find_file
from models.checkpoints.rename import RENAMES
from models.checkpoints.tensors import TensorFile, list_some, load_strict, overlay, strip_prefix
from models.errors import WeightsError

CONFIG = "livehead.json"


def load_networks(
    folder: Path,
    files: Sequence[NetworkFile],
    networks: Mapping[str, nn.Module],
    dtype: torch.dtype,
    device: torch.device | str = "cpu",
) -> None:
    """Fill networks, built on the meta device, from their publisher's files.

    A network that a caller does not build is not read. Files are mapped, and unmapped before the
    next network is read: beside the networks, at most one file's tensors of one network are held.

    Args:
        folder: checked by ``layout.check_folder``.
        files: of the model's card.
        networks: by the names of ``files``.
        dtype: of all but the networks that keep float32 as published.

    Raises:
        WeightsError: a file or tensor is missing, extra, misshapen, truncated or foreign.
    """
    _refuse_unexpected_names(folder, files)
    for file in files:
        if file.network in networks:
            _load(folder, file, networks[file.network], dtype, device)
            networks[file.network].eval()


def read_config(folder: Path) -> dict[str, Any] | None:
    """Sizes that are not the published ones, out of ``livehead.json``; None for the published.

    Raises:
        WeightsError: the file is no JSON object.
    """
    path = folder / CONFIG
    return read_json(path) if path.exists() else None


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file.

    Raises:
        WeightsError: it is unreadable or something else.
    """
    try:
        record = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path} is not readable JSON: {error}", code="bad_weights") from error
    if not isinstance(record, dict):
        raise WeightsError(
            f"{path} holds a {type(record).__name__}, expected an object", code="bad_weights"
        )
    return record


def _load(
    folder: Path,
    file: NetworkFile,
    network: nn.Module,
    dtype: torch.dtype,
    device: torch.device | str,
) -> None:
    path = find_file(folder, file)
    first = TensorFile(path)
    tensors: Mapping[str, Tensor] = first
    source: Path | str = path
    if file.overlay:
        second = TensorFile(folder / file.overlay)
        tensors = overlay(network.state_dict(), first, second)
        source = f"{path} with {second.path.name}"
    if file.prefix:
        tensors = strip_prefix(tensors, file.prefix)
        source = f"{path} ({file.prefix}*)"
    if file.rename:
        tensors = RENAMES[file.rename](tensors)
    load_strict(network, tensors, torch.float32 if file.fp32 else dtype, source, device)


def _refuse_unexpected_names(folder: Path, files: Sequence[NetworkFile]) -> None:
    """A file shared by several networks holds theirs and nothing else.

    Raises:
        WeightsError: it has names of none of them.
    """
    prefixes: dict[Path, tuple[str, ...]] = {}
    for file in files:
        if file.prefix:
            path = find_file(folder, file)
            prefixes[path] = (*prefixes.get(path, ()), file.prefix)
    for path, known in prefixes.items():
        unexpected = [name for name in TensorFile(path) if not name.startswith(known)]
        if unexpected:
            raise WeightsError(
                f"{path} does not fit: {list_some('extra', unexpected)}; expected names that begin"
                f" with {', '.join(known)}. Take the file from its publisher"
                " (docs/published-weights.md)",
                code="bad_weights",
            )
