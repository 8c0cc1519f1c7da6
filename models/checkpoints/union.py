"""EchoMimic's denoiser from its two files: names and shapes must unite to exactly the network."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from models.checkpoints.files import TensorFile
from models.checkpoints.tensors import NEXT, list_some
from models.errors import WeightsError

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
    united: dict[str, Tensor] = {**motion, **denoising}
    faults = [
        *_faults(motion, wanted, [n for n in wanted if MOTION in n and n not in united]),
        *_faults(denoising, wanted, [n for n in wanted if MOTION not in n and n not in united]),
    ]
    if faults:
        raise WeightsError(
            f"the two files do not unite to the denoiser's {len(wanted)} tensors:"
            f" {'; '.join(faults)}. {NEXT}",
            code="bad_weights",
        )
    return united


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
    said = [list_some(word, names) for word, names in found.items() if names]
    return [f"{file.path} has {', '.join(said)}"] if said else []
