"""Every network of a published model, built without values: the family's own and the libraries'."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from models.checkpoints import libraries as shared
from models.checkpoints.layout import LAYOUTS
from models.checkpoints.load import CONFIG
from models.errors import LiveheadError, WeightsError

PACKAGES = {
    "hallo": "hallo",
    "echomimic": "echomimic",
    "echomimic-acc": "echomimic",
    "memo": "memo",
}
_LIBRARY = {"vae": shared.vae, "wav2vec": shared.wav2vec, "whisper": shared.whisper}


def build_networks(
    name: str, config: Mapping[str, Any] | None = None, folder: Path | None = None
) -> dict[str, nn.Module]:
    """All networks of a model on the meta device, by the names of ``LAYOUTS[name]``.

    Args:
        config: constructor values of all networks; the published ones if None.
        folder: where ``config.json`` of the library's networks may lie, which then counts.

    Raises:
        WeightsError: a configuration describes no such network.
    """
    build = model_module(name, "networks")
    try:
        with torch.device("meta"):
            own: dict[str, nn.Module] = build.networks(config) if config else build.networks()
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, RuntimeError) as error:
        where = folder / CONFIG if folder else "the configuration"
        raise WeightsError(
            f"{where} does not describe {name}'s networks: {error!r}; it holds constructor values"
            " as a parity directory's tiny_config.json does",
            code="bad_weights",
        ) from error
    networks: dict[str, nn.Module] = {}
    for part in LAYOUTS[name]:
        kind = part.network
        networks[kind] = own[kind] if kind in own else _library(name, kind, config, folder)
    return networks


def model_module(name: str, part: str) -> Any:
    """A module of the package that holds a model's own code.

    Raises:
        LiveheadError: this version does not have it yet (``unfinished``), or the extra that brings
            the libraries is not installed (``missing_extra``).
    """
    module = f"models.{PACKAGES[name]}.{part}"
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("models."):
            raise LiveheadError(
                f"{name} cannot be generated with this version of Livehead: it has no {error.name};"
                " use another --model",
                code="unfinished",
            ) from error
        raise LiveheadError(
            f"{name} needs the package {error.name}, which is not installed; install"
            " livehead[published]",
            code="missing_extra",
        ) from error


def library_config(config: Mapping[str, Any] | None, kind: str) -> dict[str, Any] | None:
    """The group of a configuration that describes the library's network ``kind``, if any."""
    for name, group in (config or {}).items():
        if name == kind or name.startswith(f"{kind} "):
            return dict(group)
    return None


def _library(
    name: str, kind: str, config: Mapping[str, Any] | None, folder: Path | None
) -> nn.Module:
    stored = shared.stored_config(folder, name, kind) if folder else None
    return shared.checked(_LIBRARY[kind], stored or library_config(config, kind), kind)
