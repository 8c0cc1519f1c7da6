"""Writes networks as their publisher distributes them: for tests and for converted weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from models.checkpoints import rename as renames
from models.checkpoints.build import library_config
from models.checkpoints.layout import NetworkFile
from models.checkpoints.load import CONFIG
from models.checkpoints.random_init import randomise
from models.checkpoints.tensors import MOTION
from models.registry import find_card
from models.sd15.config import SD15Card
from models.sd15.load import build_card_networks


def sd15_card(name: str) -> SD15Card:
    """The card of a model with a publisher's checkpoint."""
    card = find_card(name)
    assert isinstance(card, SD15Card)
    return card


def write_random(name: str, folder: Path, config: Mapping[str, Any], seed: int) -> None:
    """Write a random checkpoint of other sizes, in the publisher's layout.

    EchoMimic's optional face detector is left out: with random values it finds no face.

    Args:
        config: constructor values of every network, as a parity directory's ``tiny_config.json``.
    """
    networks = build_card_networks(sd15_card(name), config)
    randomise(networks, seed, dict.fromkeys(networks, torch.float32))
    known = {kind: library_config(config, kind) for kind in ("vae", "wav2vec")}
    configs = {kind: group for kind, group in known.items() if group}
    write_checkpoint(name, folder, networks, config, configs)


def write_checkpoint(
    name: str,
    folder: Path,
    networks: Mapping[str, nn.Module],
    config: Mapping[str, Any],
    configs: Mapping[str, Mapping[str, Any]] | None = None,
) -> None:
    """Write a folder that ``load_networks`` reads.

    Args:
        name: of the model, as on command lines.
        networks: with values, by their names.
        config: sizes that are not the published ones; written to ``livehead.json``.
        configs: ``config.json`` of the networks that have one beside them (``vae``, ``wav2vec``).
    """
    files: dict[str, dict[str, Tensor]] = {}
    for part in sd15_card(name).files:
        state = _stored(part, networks[part.network])
        if part.overlay:
            files[part.paths[0]] = {key: state[key] for key in state if MOTION in key}
            files[part.overlay] = {key: state[key] for key in state if MOTION not in key}
        else:
            files.setdefault(part.paths[0], {}).update(state)
    for stored_at, tensors in files.items():
        path = folder / stored_at
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".safetensors":
            save_file(tensors, path)
        else:
            torch.save(_wrapped(path, tensors, config), path)
    _write_json(folder / CONFIG, config)
    for part in sd15_card(name).files:
        if configs and part.network in configs:
            beside = (folder / part.paths[0]).with_name("config.json")
            _write_json(beside, configs[part.network])


def _stored(part: NetworkFile, network: nn.Module) -> dict[str, Tensor]:
    """A network's tensors under the names of its file."""
    state = {key: value.detach().contiguous() for key, value in network.state_dict().items()}
    if part.rename == "whisper":
        return {renames.whisper_published(key): value for key, value in state.items()}
    if part.rename == "wav2vec":
        return {renames.wav2vec_published(key): value for key, value in state.items()}
    return {part.prefix + key: value for key, value in state.items()}


def _wrapped(path: Path, tensors: dict[str, Tensor], config: Mapping[str, Any]) -> dict[str, Any]:
    """Whisper's file keeps its sizes beside its tensors; the others are flat."""
    if path.suffix == ".pt":
        return {"dims": dict(config.get("whisper", {})), "model_state_dict": tensors}
    return dict(tensors)


def _write_json(path: Path, record: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(record, indent=2) + "\n", "utf-8")
