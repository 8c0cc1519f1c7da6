"""A directory of tiny weights and stored values of a published model, read lazily and checked."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from models.checkpoints.tensors import load_strict
from models.errors import WeightsError
from tests.parity.report import Absent

CONFIG = "tiny_config.json"
KEYS = "keys_full.json"
MODELS = ("hallo", "echomimic", "memo")
# A group of the configuration that no other model has.
_SIGN = {"hallo": "imageproj", "echomimic": "whisper", "memo": "diffusion_net"}
_ONE_FILE = {"hallo": "tiny_weights_int8.safetensors"}
_EXPONENTS = "tiny_weights_exponents.json"
Built = TypeVar("Built")
_FILE_OF = {"echomimic": "tiny_weights_{}.safetensors", "memo": "weights_{}.safetensors"}


class Stored(Mapping[str, Tensor]):
    """The tensors of one safetensors file, each read when asked for, in its stored dtype.

    Asking for a name that the file lacks, or anything of a missing file, raises ``Absent``.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._names: tuple[str, ...] = ()
        self._file: Any = None
        if path.exists():
            self._file = open_tensors(path)
            self._names = tuple(self._file.keys())

    def __getitem__(self, name: str) -> Tensor:
        if name not in self._names:
            what = f"no {name} in {self.path.name}" if self._file else f"no {self.path.name}"
            raise Absent(what)
        tensor: Tensor = self._file.get_tensor(name)
        return tensor

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def get(self, name: str, default: Any = None) -> Any:
        """As of a dict: an absent name gives the default."""
        with suppress(Absent):
            return self[name]
        return default

    def float(self, name: str) -> Tensor:
        """One tensor as float32."""
        return self[name].float()


class Directory:
    """Tiny configuration, weights and stored values of one model.

    Every size, step count, guidance, weight and seed of a replay comes from here.

    Args:
        path: a folder in the format of the reference of ``model``.
        model: one of ``MODELS``.

    Raises:
        WeightsError: there is no such folder, or it holds another model's values.
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
        if not isinstance(config, dict) or _SIGN[self.model] not in config:
            raise WeightsError(
                f"{self.path / CONFIG} does not describe {self.model} (no"
                f" {_SIGN[self.model]!r}); give the folder of {self.model}",
                code="bad_weights",
            )
        return config

    def build(self, make: Callable[[dict[str, Any]], Built]) -> Built:
        """Networks from the configuration.

        Raises:
            WeightsError: it describes no such networks.
        """
        try:
            return make(self.config)
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
        """Stored values, such as ``golden("submodules")`` of ``golden_submodules.safetensors``.

        Raises:
            WeightsError: the file is truncated or foreign (a missing one is an empty mapping).
        """
        return Stored(self.path / f"golden_{name}.safetensors")

    def weights(self, network: str) -> dict[str, Tensor]:
        """The tiny state dict of one network as float32, names as published.

        Args:
            network: ``denoising_unet``, ``reference_unet``, ``face_locator``, ``imageproj``,
                ``audioproj``, ``vae``, ``wav2vec`` (hallo); ``denoising_unet``,
                ``reference_unet``, ``face_locator``, ``vae``, ``whisper_encoder`` (echomimic);
                ``diffusion_net``, ``reference_net``, ``image_proj``, ``audio_proj``,
                ``audio_emotion_classifier``, ``vae``, ``wav2vec`` (memo).

        Raises:
            WeightsError: its file is missing, truncated or foreign.
        """
        if self.model in _ONE_FILE:
            return self._scaled(network + ".")
        stored = self._tensors(_FILE_OF[self.model].format(network))
        return {name: stored.float(name) for name in stored}

    def fill(self, network: nn.Module, name: str) -> None:
        """Give a network its tiny weights, as float32; it is then in evaluation mode.

        Raises:
            WeightsError: its file is missing, truncated or foreign, or a tensor is missing, extra
                or misshapen.
        """
        self.fill_with(network, name, self.weights(name))

    def fill_with(self, network: nn.Module, name: str, state: Mapping[str, Tensor]) -> None:
        """The same with tensors that were made of the stored ones.

        Raises:
            WeightsError: a tensor is missing, extra or misshapen.
        """
        load_strict(network, state, torch.float32, f"{self._file_of(name)} ({name})")
        network.eval()

    def has_weights(self, network: str) -> bool:
        """Whether the directory holds a network's weights at all."""
        if self.model in _ONE_FILE:
            return any(name.startswith(network + ".") for name in self._one_file)
        return self._file_of(network).exists()

    def _file_of(self, network: str) -> Path:
        name = _ONE_FILE.get(self.model) or _FILE_OF[self.model].format(network)
        return self.path / name

    @cached_property
    def _one_file(self) -> Stored:
        return self._tensors(_ONE_FILE[self.model])

    @cached_property
    def _exponents(self) -> dict[str, int]:
        exponents: dict[str, int] = self._read(_EXPONENTS)
        return exponents

    def _scaled(self, prefix: str) -> dict[str, Tensor]:
        """int8 * 2 ** -exponent where an exponent is stored, else the tensor itself."""
        found: dict[str, Tensor] = {}
        for name in self._one_file:
            if name.startswith(prefix):
                tensor = self._one_file.float(name)
                if name in self._exponents:
                    tensor = torch.ldexp(tensor, torch.tensor(-self._exponents[name]))
                found[name.removeprefix(prefix)] = tensor
        if not found:
            raise WeightsError(
                f"expected tensors named {prefix}* in {self._one_file.path}, found none; give a"
                f" whole folder of {self.model}",
                code="missing_weights",
            )
        return found

    def _tensors(self, name: str) -> Stored:
        stored = Stored(self.path / name)
        if not stored:
            raise WeightsError(
                f"expected weights at {self.path / name}, found none; give a whole folder of"
                f" {self.model}",
                code="missing_weights",
            )
        return stored

    def _read(self, name: str) -> Any:
        path = self.path / name
        try:
            return json.loads(path.read_text("utf-8"))
        except FileNotFoundError as error:
            raise WeightsError(
                f"expected {name} in {self.path}, found none; give a folder in the format of"
                f" {self.model}'s reference",
                code="missing_weights",
            ) from error
        except (OSError, ValueError) as error:
            raise WeightsError(
                f"{path} is not readable JSON ({error}); copy it again", code="bad_weights"
            ) from error


def open_tensors(path: Path) -> Any:
    """A safetensors file, opened for reading tensor by tensor.

    Raises:
        WeightsError: the file is truncated or no safetensors file.
    """
    try:
        return safe_open(path, framework="pt")
    except (SafetensorError, OSError) as error:
        raise WeightsError(
            f"{path} is truncated or no safetensors file ({error}); copy it again",
            code="bad_weights",
        ) from error
