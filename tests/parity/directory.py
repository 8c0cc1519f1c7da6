"""A directory of a model's tiny configuration, weights and stored values."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from models.checkpoints.tensors import load_strict
from models.errors import WeightsError
from models.sd15.config import DDIM_ZERO_SNR
from models.spec import ScheduleSpec
from tests.parity.items import Absent

CONFIG = "tiny_config.json"
KEYS = "keys_full.json"
MODELS = ("hallo", "echomimic", "memo")
# A group of the configuration that no other model has.
_MARKER = {"hallo": "imageproj", "echomimic": "whisper", "memo": "diffusion_net"}
# Where a network's weights are stored; Hallo's share a file, with powers of two in another.
_WEIGHTS = {
    "hallo": "tiny_weights_int8.safetensors",
    "echomimic": "tiny_weights_{}.safetensors",
    "memo": "weights_{}.safetensors",
}
_EXPONENTS = "tiny_weights_exponents.json"
# The arguments of diffusers' ``DDIMScheduler`` that the published models share.
_DDIM: dict[str, Any] = {
    "beta_schedule": "linear",
    "clip_sample": False,
    "prediction_type": "v_prediction",
    "timestep_spacing": "trailing",
    "set_alpha_to_one": True,
    "thresholding": False,
    "trained_betas": None,
}
Built = TypeVar("Built")


class Stored(dict[str, Tensor]):
    """The tensors of one safetensors file, in their stored dtypes; a missing file is empty.

    A name that the file lacks raises ``Absent``.

    Raises:
        WeightsError: the file is truncated or no safetensors file.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        if not path.exists():
            return
        try:
            with safe_open(path, framework="pt") as file:
                self.update({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            message = f"{path} is truncated or no safetensors file ({error}); copy it again"
            raise WeightsError(message, code="bad_weights") from error

    def __missing__(self, name: str) -> Tensor:
        raise Absent(f"no {name} in {self.path.name}" if self else f"no {self.path.name}")

    def float(self, name: str) -> Tensor:
        """One tensor as float32."""
        return self[name].float()


class Directory:
    """Tiny configuration, weights and stored values of one model.

    Every size, step count, guidance, weight and seed of a replay is read from here.

    Args:
        path: a folder in the format of the reference of ``model``.
        model: one of ``MODELS``.

    Raises:
        WeightsError: there is no such folder.
    """

    def __init__(self, path: Path, model: str) -> None:
        self.path, self.model = path, model
        if not path.is_dir():
            raise WeightsError(
                f"expected a folder of {model}'s tiny weights and stored values, got no folder at"
                f" {path}; check the path",
                code="missing_weights",
            )

    @cached_property
    def config(self) -> dict[str, Any]:
        """``tiny_config.json``: constructor values of the tiny networks, sizes of the run.

        Raises:
            WeightsError: it is missing or describes another model.
        """
        config = self._read(CONFIG)
        if not isinstance(config, dict) or _MARKER[self.model] not in config:
            raise WeightsError(
                f"{self.path / CONFIG} does not describe {self.model} (no"
                f" {_MARKER[self.model]!r}); give the folder of {self.model}",
                code="bad_weights",
            )
        return config

    def build(self, make: Callable[[dict[str, Any]], Built]) -> Built:
        """Build networks from the configuration.

        Raises:
            WeightsError: it describes no such networks.
        """
        config = self.config
        try:
            return make(config)
        except Exception as error:  # libraries check their own configurations, each in its way
            raise WeightsError(
                f"{self.path / CONFIG} does not describe {self.model}'s networks: {error!r}; copy"
                " it again",
                code="bad_weights",
            ) from error

    def json(self, name: str) -> Any:
        """A JSON file of stored values, such as ``golden_meta``; ``Absent`` if there is none."""
        if not (self.path / f"{name}.json").exists():
            raise Absent(f"no {name}.json")
        return self._read(f"{name}.json")

    def golden(self, name: str) -> Stored:
        """Stored values, such as ``golden("submodules")`` of ``golden_submodules.safetensors``."""
        return Stored(self.path / f"golden_{name}.safetensors")

    def weights(self, network: str) -> dict[str, Tensor]:
        """The state dict of one network as float32, under the published names.

        Raises:
            WeightsError: its file is missing, truncated or foreign.
        """
        stored = Stored(self._weights_path(network))
        prefix = f"{network}." if self.model == "hallo" else ""
        names = [name for name in stored if name.startswith(prefix)]
        if not names:
            which = f"tensors named {prefix}* in" if stored else "weights at"
            raise WeightsError(
                f"expected {which} {stored.path}, found none; give a whole folder of {self.model}",
                code="missing_weights",
            )
        exponents = self._read(_EXPONENTS) if prefix else {}
        return {
            name.removeprefix(prefix): _scaled(stored.float(name), exponents.get(name))
            for name in names
        }

    def fill(
        self, network: nn.Module, name: str, state: Mapping[str, Tensor] | None = None
    ) -> None:
        """Load a network's weights, or ``state``, as float32, and set it to evaluation mode.

        Raises:
            WeightsError: the file is missing, truncated or foreign, or a tensor is missing, extra
                or misshapen.
        """
        state = self.weights(name) if state is None else state
        load_strict(network, state, torch.float32, f"{self._weights_path(name)} ({name})")
        network.eval()

    def _weights_path(self, network: str) -> Path:
        return self.path / _WEIGHTS[self.model].format(network)

    def _read(self, name: str) -> Any:
        try:
            return json.loads((self.path / name).read_text("utf-8"))
        except FileNotFoundError as error:
            raise WeightsError(
                f"expected {name} in {self.path}, found none; give a folder in the format of"
                f" {self.model}'s reference",
                code="missing_weights",
            ) from error
        except (OSError, ValueError) as error:
            message = f"{self.path / name} is not readable JSON ({error}); copy it again"
            raise WeightsError(message, code="bad_weights") from error


def _scaled(integers: Tensor, exponent: int | None) -> Tensor:
    """``integers * 2 ** -exponent`` where an exponent is stored, else the tensor itself."""
    return integers if exponent is None else torch.ldexp(integers, torch.tensor(-exponent))


def ddim(arguments: Mapping[str, Any]) -> ScheduleSpec:
    """The schedule of diffusers' ``DDIMScheduler(**arguments)``; the published values by default.

    Raises:
        WeightsError: the arguments describe a scheduler that no published model has.
    """
    for name, value in _DDIM.items():
        if arguments.get(name, value) != value:
            raise WeightsError(
                f"expected a scheduler with {name} {value!r}, got {arguments[name]!r}; the"
                " published models run no other",
                code="bad_weights",
            )
    default = DDIM_ZERO_SNR
    return replace(
        default,
        train_steps=int(arguments.get("num_train_timesteps", default.train_steps)),
        beta_start=float(arguments.get("beta_start", default.beta_start)),
        beta_end=float(arguments.get("beta_end", default.beta_end)),
        zero_terminal_snr=bool(arguments.get("rescale_betas_zero_snr", default.zero_terminal_snr)),
    )
