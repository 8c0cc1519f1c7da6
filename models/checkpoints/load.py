"""Loads every network of a published model from its folder, strictly, one after the other."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from models.checkpoints.files import TensorFile
from models.checkpoints.layout import LAYOUTS, NetworkFile, check_folder, find_file
from models.checkpoints.tensors import list_some, load_strict, strip_prefix
from models.checkpoints.union import overlay
from models.errors import WeightsError

CONFIG = "livehead.json"


def load_networks(
    name: str,
    folder: Path,
    networks: Mapping[str, nn.Module],
    dtype: torch.dtype,
    device: torch.device | str = "cpu",
) -> None:
    """Fill the networks of a model, built on the meta device, from its publisher's files.

    A network that a caller does not build is not read. Files are mapped, and unmapped before the
    next network is read: beside the networks, at most one file's tensors of one network are held.

    Args:
        name: ``hallo``, ``echomimic``, ``echomimic-acc`` or ``memo``.
        networks: by the names of ``LAYOUTS[name]``.
        dtype: of all but the audio encoders, which stay float32 as published.

    Raises:
        WeightsError: a file or tensor is missing, extra, misshapen, truncated or foreign.
    """
    check_folder(folder, name)
    _no_strangers(folder, LAYOUTS[name])
    for part in LAYOUTS[name]:
        if part.network in networks:
            _load(folder, part, networks[part.network], dtype, device)
            networks[part.network].eval()


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
    part: NetworkFile,
    network: nn.Module,
    dtype: torch.dtype,
    device: torch.device | str,
) -> None:
    path = find_file(folder, part)
    first = TensorFile(path)
    tensors: Mapping[str, Tensor] = first
    source: Path | str = path
    if part.united:
        second = TensorFile(folder / part.united)
        tensors = overlay(network.state_dict(), first, second)
        source = f"{path} with {second.path.name}"
    if part.prefix:
        tensors = strip_prefix(tensors, part.prefix)
        source = f"{path} ({part.prefix}*)"
    if part.rename:
        tensors = part.rename(tensors)
    load_strict(network, tensors, torch.float32 if part.exact else dtype, source, device)


def _no_strangers(folder: Path, parts: tuple[NetworkFile, ...]) -> None:
    """A file shared by several networks holds theirs and nothing else.

    Raises:
        WeightsError: it has names of none of them.
    """
    prefixes: dict[Path, tuple[str, ...]] = {}
    for part in parts:
        if part.prefix:
            path = find_file(folder, part)
            prefixes[path] = (*prefixes.get(path, ()), part.prefix)
    for path, known in prefixes.items():
        strange = [name for name in TensorFile(path) if not name.startswith(known)]
        if strange:
            raise WeightsError(
                f"{path} does not fit: {list_some('extra', strange)}; expected names that begin"
                f" with {', '.join(known)}. Take the file from its publisher"
                " (docs/published-weights.md)",
                code="bad_weights",
            )
