"""Which file of a publisher's folder holds which network; finding them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from models.errors import WeightsError


@dataclass(frozen=True)
class NetworkFile:
    """Where a publisher stores one network.

    Attributes:
        network: its name.
        paths: files that may hold it, the first one found is read; the first is written.
        prefix: of its names in that file; "" if the file holds nothing else.
        rename: how stored names become the network's (``rename.RENAMES``); "" where they are equal.
        overlay: a second file whose tensors win over the first one's (EchoMimic's denoiser).
        fp32: keeps float32 whatever the others compute in, as published.
    """

    network: str
    paths: tuple[str, ...]
    prefix: str = ""
    rename: Literal["", "vae", "wav2vec", "whisper"] = ""
    overlay: str = ""
    fp32: bool = False


VAE = NetworkFile(
    "vae",
    (
        "sd-vae-ft-mse/diffusion_pytorch_model.safetensors",
        "sd-vae-ft-mse/diffusion_pytorch_model.bin",
        "stabilityai/sd-vae-ft-mse/diffusion_pytorch_model.safetensors",
        "vae/diffusion_pytorch_model.safetensors",
    ),
    rename="vae",
)
WAV2VEC = NetworkFile(
    "wav2vec",
    (
        "wav2vec/wav2vec2-base-960h/model.safetensors",
        "wav2vec/wav2vec2-base-960h/pytorch_model.bin",
        "facebook/wav2vec2-base-960h/model.safetensors",
        "wav2vec2-base-960h/model.safetensors",
        "wav2vec2/model.safetensors",
    ),
    rename="wav2vec",
    fp32=True,
)
WHISPER = NetworkFile("whisper", ("audio_processor/whisper_tiny.pt",), rename="whisper", fp32=True)


def find_file(folder: Path, file: NetworkFile) -> Path:
    """The file that holds a network.

    Raises:
        WeightsError: none of its paths exists.
    """
    for path in file.paths:
        if (folder / path).is_file():
            return folder / path
    others = f" (or {', '.join(file.paths[1:])})" if file.paths[1:] else ""
    raise WeightsError(
        f"expected {file.paths[0]}{others} in {folder}, found none; put the publisher's files"
        " there under their own names (docs/published-weights.md), nothing is downloaded",
        code="missing_weights",
    )


def check_folder(folder: Path, name: str, files: Sequence[NetworkFile]) -> None:
    """Refuse a folder that lacks a file of the model ``name``, before gigabytes are read.

    Raises:
        WeightsError: there is no such folder, or the first file that it lacks.
    """
    if not folder.is_dir():
        raise WeightsError(
            f"expected a folder of {name}'s weights, got no folder at {folder}; check --weights",
            code="missing_weights",
        )
    for file in files:
        find_file(folder, file)
        if file.overlay and not (folder / file.overlay).is_file():
            raise WeightsError(
                f"expected {file.overlay} in {folder}, found none; put the publisher's files there"
                " (docs/published-weights.md), nothing is downloaded",
                code="missing_weights",
            )
