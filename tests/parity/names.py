"""Compares names, shapes and buffers of full-size networks with the published listing."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from models.checkpoints import build as shared
from models.checkpoints import rename as renames
from models.errors import WeightsError
from tests.parity.directory import KEYS
from tests.parity.items import Item, absent

LISTINGS = Path(__file__).parent / "listings"  # keys_full.json of each, by gzip -9 --no-name
SHOWN = 3
# Networks that a library builds; whatever family uses them, they are the same.
LIBRARY: dict[str, Callable[[], nn.Module]] = {
    "vae": shared.build_vae,
    "vae_sd_vae_ft_mse": shared.build_vae,
    "wav2vec2": shared.build_wav2vec,
    "whisper_tiny_encoder": shared.build_whisper,
}


@dataclass(frozen=True)
class Listing:
    """What is published of one network.

    Attributes:
        shapes: of every tensor of its state dict; None where only ``parameters`` is known.
        buffers: names of those that are no parameters; None if unknown.
        parameters: how many values the parameters have; None if unknown.
    """

    shapes: dict[str, tuple[int, ...]] | None
    buffers: frozenset[str] | None = None
    parameters: int | None = None


def compare_names(
    model: str, networks: Mapping[str, nn.Module], directory: Path | None = None
) -> Iterator[Item]:
    """One item for each published network: the number of names or shapes that differ.

    Args:
        networks: by the listing's names, at the published size, on the meta device.
        directory: where ``keys_full.json`` lies; the bundled listing if None.

    Raises:
        WeightsError: the listing is missing or foreign.
    """
    for name, listing in read_listings(model, directory).items():
        network = LIBRARY[name]() if name in LIBRARY else networks.get(name)
        if network is not None:
            wrong = differences(network, listing, library=name in LIBRARY)
            note = "; ".join(wrong[:SHOWN])
            yield Item(f"names.{name}", float(len(wrong)), 0.0, not wrong, note=note)
        else:
            yield absent(f"names.{name}", "no such network is built")


def differences(network: nn.Module, listing: Listing, *, library: bool = False) -> list[str]:
    """Every way in which a network is not the listed one, in words.

    Args:
        library: the network is a library's: whisper's names are translated, and what the library
            calls a buffer is its own affair.
    """
    if listing.shapes is None:
        count = sum(parameter.numel() for parameter in network.parameters())
        return [] if count == listing.parameters else [f"{count} values, not {listing.parameters}"]
    shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    if library and "embed_positions.weight" in shapes:
        shapes = {renames.whisper_published(name): shape for name, shape in shapes.items()}
    published = listing.shapes
    wrong = [f"missing {name}" for name in published if name not in shapes]
    wrong += [f"extra {name}" for name in shapes if name not in published]
    wrong += [
        f"{name} is {shapes[name]}, not {shape}"
        for name, shape in published.items()
        if name in shapes and shapes[name] != shape
    ]
    if listing.buffers is not None and not library:
        buffers = {name for name, _ in network.named_buffers()} & shapes.keys()
        wrong += [f"{name} is a buffer on one side" for name in sorted(buffers ^ listing.buffers)]
    return wrong


def read_listings(model: str, directory: Path | None = None) -> dict[str, Listing]:
    """The published listing of every network of a model.

    Raises:
        WeightsError: the file is missing or no such listing.
    """
    path = LISTINGS / f"{model}.json.gz" if directory is None else directory / KEYS
    try:
        content = path.read_bytes()
        record = json.loads(gzip.decompress(content) if path.suffix == ".gz" else content)
        found = _parsed(model, record)
    except FileNotFoundError as error:
        raise WeightsError(
            f"expected the published names at {path}, found none; give a folder that has {KEYS}",
            code="missing_weights",
        ) from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise WeightsError(
            f"{path} is no listing of {model}'s names ({error!r}); copy it again",
            code="bad_weights",
        ) from error
    if not found:
        raise WeightsError(f"{path} lists no network of {model}", code="bad_weights")
    return found


def _parsed(model: str, record: dict[str, Any]) -> dict[str, Listing]:
    """The three formats: Hallo's sub-modules, EchoMimic's flat tables, MEMO's records."""
    if model == "hallo":
        return {
            name: Listing(_shapes(one["state_dict"]), frozenset(one["buffers"]), one["n_params"])
            for name, one in record["submodules"].items()
        }
    if model == "echomimic":
        buffers = record["_buffers"]
        return {
            name: Listing(_shapes(one), frozenset(buffers.get(name, ())) if buffers else None)
            for name, one in record.items()
            if not name.startswith("_")
        }
    return {
        name: Listing(
            _shapes(one["shapes"]) if "shapes" in one else None,
            frozenset(one["buffers"]) if "buffers" in one else None,
            one["num_parameters"],
        )
        for name, one in record.items()
        if not name.startswith("_")
    }


def _shapes(table: dict[str, list[int]]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(shape) for name, shape in table.items()}
