"""The folder of ``mini``'s weights: what is in it, how it is written, and strict loading.

codec.safetensors   the autoencoder: latents <-> pixels (float16)
unet.safetensors    the denoiser (int8, packed.py)
reader.safetensors  the regressor: speech features -> mouth blendshapes (int8)
mini.json           sha256 of the three, the step plan, how they were trained; of a person's own
                    also the gain of the mouth
"""

from __future__ import annotations

import json
import math
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from models.errors import WeightsError
from models.lightning.plan import StepPlan, parse
from models.mini.audio import AudioEncoder
from models.mini.autoencoder import Autoencoder
from models.mini.config import MINI
from models.mini.mouth import BlendshapeRegressor
from models.mini.packed import pack, unpack
from models.mini.pipeline import MiniIdentity, MiniPipeline, MiniStream
from models.mini.unet import MiniUNet
from models.options import SIZE, ModelOptions
from models.pipeline import DiffusionGenerator
from models.registry import ModelCard
from models.runtime.choose import prepare_engine
from models.runtime.eager import preferred_dtype
from models.runtime.engine import Engine

BUNDLED = Path(__file__).parents[1] / "weights" / "mini"
MANIFEST = "mini.json"
MOST_THREADS = 4
"""A chunk is too small for more."""


class MiniNetworks(NamedTuple):
    """The trained networks of ``mini`` by the names of their files, float32, not yet fused."""

    codec: Autoencoder
    unet: MiniUNet
    reader: BlendshapeRegressor


def load_mini_networks(folder: Path) -> MiniNetworks:
    """The trained networks in a weights folder.

    Raises:
        WeightsError: the folder, a file or a tensor is missing, foreign or misshapen.
    """
    return _networks(folder, read_manifest(folder)["sha256"])


def _networks(folder: Path, sums: dict[str, str]) -> MiniNetworks:
    networks = MiniNetworks(
        Autoencoder(MINI.codec),
        MiniUNet(MINI),
        BlendshapeRegressor(MINI.audio_features, MINI.audio_window),
    )
    for name, network in networks._asdict().items():
        _fill(network, folder / f"{name}.safetensors", sums[name])
    return networks


def load_generator(
    card: ModelCard, options: ModelOptions
) -> DiffusionGenerator[MiniIdentity, MiniStream]:
    """``mini`` as the options say, from a weights folder or the bundled one.

    Raises:
        WeightsError: weights are missing or do not fit.
        LiveheadError: the engine is not installed (``missing_engine``).
    """
    threads = options.threads or None
    cv2.setNumThreads(1)  # threads beside PyTorch's slow both
    engine = prepare_engine(options.engine, threads)
    folder = Path(options.weights) if options.weights else None
    pipeline, stored = load_mini(folder, threads=threads or 1, engine=engine, size=options.size)
    pipeline.liveliness = options.liveliness
    plan = parse(options.plan) if options.plan else stored
    free = engine is None and not options.threads
    return DiffusionGenerator(pipeline, plan, most_threads=MOST_THREADS if free else 1)


def load_mini(
    folder: Path | None = None,
    *,
    threads: int = 1,
    dtype: torch.dtype | None = None,
    engine: Engine | None = None,
    size: tuple[int, int] = (SIZE, SIZE),
) -> tuple[MiniPipeline, StepPlan]:
    """The pipeline and the stored plan of a weights folder (the bundled one if None).

    Args:
        threads: of the speech encoder.
        dtype: to compute in; what suits the machine if None.
        engine: runs the networks; PyTorch itself if None.
        size: (height, width) of a frame, pixels.

    Raises:
        WeightsError: the folder, a file or a tensor is missing, foreign or misshapen.
    """
    folder = folder or BUNDLED
    record = read_manifest(folder)
    networks = _networks(folder, record["sha256"])
    pipeline = MiniPipeline(
        replace(MINI, mouth_gain=record.get("mouth_gain", MINI.mouth_gain)),
        networks.unet,
        networks.codec,
        networks.reader,
        AudioEncoder(threads=threads),
        dtype or preferred_dtype(),
        engine,
        size,
    )
    return pipeline, StepPlan.from_json(record["plan"])


def save_mini(
    folder: Path,
    states: dict[str, dict[str, Tensor]],
    plan: StepPlan,
    training: dict[str, Any],
    mouth_gain: float | None = None,
) -> None:
    """Write a weights folder.

    Args:
        states: of codec, unet and reader.
        training: how they were trained, for the record.
        mouth_gain: of ``MiniSpec``, where these weights need another than the usual one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    sums = {}
    for name, state in states.items():
        stored = {key: v.half() for key, v in state.items()} if name == "codec" else pack(state)
        data = save({key: value.contiguous() for key, value in stored.items()})
        (folder / f"{name}.safetensors").write_bytes(data)
        sums[name] = sha256(data).hexdigest()
    record: dict[str, Any] = {
        "model": MINI.name,
        "sha256": sums,
        "plan": plan.to_json(),
        "training": training,
    }
    if mouth_gain is not None:
        record["mouth_gain"] = round(mouth_gain, 3)
    (folder / MANIFEST).write_text(json.dumps(record, indent=2) + "\n")


def read_manifest(folder: Path) -> dict[str, Any]:
    """The record of a weights folder.

    Raises:
        WeightsError: the folder has none.
    """
    path = folder / MANIFEST
    try:
        record: dict[str, Any] = json.loads(path.read_text())
    except FileNotFoundError as error:
        raise WeightsError(
            f"expected {MANIFEST} in {folder}, found none; give --weights a folder written by"
            " `livehead train export`",
            code="missing_weights",
        ) from error
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path} is not readable JSON: {error}", code="bad_weights") from error
    if not isinstance(record, dict) or record.get("model") != MINI.name:
        raise WeightsError(f"{path} does not describe {MINI.name!r}", code="bad_weights")
    sums = record.get("sha256")
    gain = record.get("mouth_gain", MINI.mouth_gain)
    if not isinstance(gain, (int, float)) or not 0 < gain < math.inf:
        raise WeightsError(
            f"expected in {path} a positive mouth_gain, got {gain!r}; write the folder again",
            code="bad_weights",
        )
    if not isinstance(sums, dict) or set(sums) != set(MiniNetworks._fields) or "plan" not in record:
        raise WeightsError(
            f"expected in {path} the sha256 of {', '.join(MiniNetworks._fields)} and a plan;"
            " write the folder again with `livehead train export`",
            code="bad_weights",
        )
    return record


def _fill(network: nn.Module, path: Path, expected_sum: str) -> None:
    """Load one file into one network: checksum, exact names, exact shapes."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise WeightsError(
            f"expected weights at {path}: {error.strerror}", code="missing_weights"
        ) from error
    found = sha256(data).hexdigest()
    if found != expected_sum:
        raise WeightsError(
            f"{path} has sha256 {found[:12]}..., expected {expected_sum[:12]}...:"
            " the file is truncated or foreign; copy it again",
            code="bad_weights",
        )
    try:
        state = unpack(load(data))
    except SafetensorError as error:
        raise WeightsError(
            f"{path} is not a safetensors file: {error}", code="bad_weights"
        ) from error
    wanted = network.state_dict()
    wrong = sorted(set(wanted) ^ set(state)) + sorted(
        key for key in set(wanted) & set(state) if wanted[key].shape != state[key].shape
    )
    if wrong:
        raise WeightsError(
            f"{path} does not fit: missing, extra or misshapen tensors {wrong[:5]}"
            f" ({len(wrong)} in all); these weights belong to another version",
            code="bad_weights",
        )
    network.load_state_dict(state)
