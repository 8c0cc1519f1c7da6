"""Which file of a publisher's folder holds which network, as rows; finding them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from models.checkpoints import rename as renames
from models.errors import WeightsError

VAE = (
    "sd-vae-ft-mse/diffusion_pytorch_model.safetensors",
    "sd-vae-ft-mse/diffusion_pytorch_model.bin",
    "stabilityai/sd-vae-ft-mse/diffusion_pytorch_model.safetensors",
    "vae/diffusion_pytorch_model.safetensors",
)
WAV2VEC = (
    "wav2vec/wav2vec2-base-960h/model.safetensors",
    "wav2vec/wav2vec2-base-960h/pytorch_model.bin",
    "facebook/wav2vec2-base-960h/model.safetensors",
    "wav2vec2-base-960h/model.safetensors",
    "wav2vec2/model.safetensors",
)


@dataclass(frozen=True)
class NetworkFile:
    """One network's place in the folder.

    Attributes:
        network: its name.
        places: files that may hold it, the first one found is read; the first is written.
        prefix: of its names in that file; "" if the file holds nothing else.
        rename: stored names -> the network's.
        united: a second file whose tensors win over the first one's (EchoMimic's denoiser).
        exact: keeps float32 whatever the others compute in, as published.
    """

    network: str
    places: tuple[str, ...]
    prefix: str = ""
    rename: Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]] | None = None
    united: str = ""
    exact: bool = False


_VAE = NetworkFile("vae", VAE, rename=renames.vae)
_WAV2VEC = NetworkFile("wav2vec", WAV2VEC, rename=renames.wav2vec, exact=True)


def _hallo(network: str) -> NetworkFile:
    return NetworkFile(network, ("hallo/net.pth", "net.pth"), prefix=f"{network}.")


def _memo(network: str, folder: str = "", exact: bool = False) -> NetworkFile:
    where = f"{folder}{network}/diffusion_pytorch_model.safetensors"
    return NetworkFile(network, (where,), exact=exact)


def _echomimic(suffix: str) -> tuple[NetworkFile, ...]:
    return (
        NetworkFile(
            "denoising_unet", (f"motion_module{suffix}.pth",), united=f"denoising_unet{suffix}.pth"
        ),
        NetworkFile("reference_unet", ("reference_unet.pth",)),
        NetworkFile("face_locator", ("face_locator.pth",)),
        _VAE,
        NetworkFile(
            "whisper", ("audio_processor/whisper_tiny.pt",), rename=renames.whisper, exact=True
        ),
    )


# The largest come first: what is mapped and what is converted then peak together only once.
LAYOUTS: dict[str, tuple[NetworkFile, ...]] = {
    "hallo": (
        _hallo("denoising_unet"),
        _hallo("reference_unet"),
        _hallo("audioproj"),
        _hallo("imageproj"),
        _hallo("face_locator"),
        _VAE,
        _WAV2VEC,
    ),
    "echomimic": _echomimic(""),
    "echomimic-acc": _echomimic("_acc"),
    "memo": (
        _memo("diffusion_net"),
        _memo("reference_net"),
        _memo("audio_proj", exact=True),
        _memo("image_proj"),
        _memo("audio_emotion_classifier", "misc/", exact=True),
        _VAE,
        _WAV2VEC,
    ),
}


def find_file(folder: Path, part: NetworkFile) -> Path:
    """The file that holds a network.

    Raises:
        WeightsError: none of its places exists.
    """
    for place in part.places:
        if (folder / place).is_file():
            return folder / place
    others = f" (or {', '.join(part.places[1:])})" if part.places[1:] else ""
    raise WeightsError(
        f"expected {part.places[0]}{others} in {folder}, found none; put the publisher's files"
        " there under their own names (docs/published-weights.md), nothing is downloaded",
        code="missing_weights",
    )


def check_folder(folder: Path, name: str) -> None:
    """Refuse a folder that lacks a file, before gigabytes are read.

    Raises:
        WeightsError: there is no such folder, or the first file that it lacks.
    """
    if not folder.is_dir():
        raise WeightsError(
            f"expected a folder of {name}'s weights, got no folder at {folder}; check --weights",
            code="missing_weights",
        )
    for part in LAYOUTS[name]:
        find_file(folder, part)
        if part.united and not (folder / part.united).is_file():
            raise WeightsError(
                f"expected {part.united} in {folder}, found none; put the publisher's files there"
                " (docs/published-weights.md), nothing is downloaded",
                code="missing_weights",
            )
