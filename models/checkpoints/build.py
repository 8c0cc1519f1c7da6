"""Builds every network of a model without values: its own, and those that libraries provide.

The libraries' classes have the published names; ``rename.py`` knows where files differ.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from models.checkpoints.layout import NetworkFile, find_file
from models.checkpoints.load import CONFIG, read_json
from models.errors import WeightsError

VAE_CONFIG: dict[str, Any] = {
    "in_channels": 3,
    "out_channels": 3,
    "block_out_channels": [128, 256, 512, 512],
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "layers_per_block": 2,
    "latent_channels": 4,
    "norm_num_groups": 32,
    "act_fn": "silu",
    "sample_size": 256,
}
WHISPER_CONFIG: dict[str, Any] = {
    "n_mels": 80,
    "n_audio_ctx": 1500,
    "n_audio_state": 384,
    "n_audio_head": 6,
    "n_audio_layer": 4,
}


def build_vae(config: Mapping[str, Any] | None = None) -> nn.Module:
    """An ``AutoencoderKL`` on the meta device; sd-vae-ft-mse's size if none is given."""
    from diffusers import AutoencoderKL

    kind: Any = AutoencoderKL
    known = inspect.signature(kind.__init__).parameters
    sizes = {name: value for name, value in (config or VAE_CONFIG).items() if name in known}
    for name in ("block_out_channels", "down_block_types", "up_block_types"):
        sizes[name] = tuple(sizes[name])
    with torch.device("meta"):
        network: nn.Module = kind(**sizes)
    return network


def build_wav2vec(config: Mapping[str, Any] | None = None) -> nn.Module:
    """A ``Wav2Vec2Model`` on the meta device; wav2vec2-base's size if none is given."""
    from transformers import Wav2Vec2Config, Wav2Vec2Model

    with torch.device("meta"):
        return Wav2Vec2Model(Wav2Vec2Config.from_dict(dict(config or {})))


def build_whisper(config: Mapping[str, Any] | None = None) -> nn.Module:
    """Whisper's encoder on the meta device; whisper-tiny's size if none is given.

    Args:
        config: OpenAI's ``dims``.
    """
    from transformers import WhisperConfig
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    dims = {**WHISPER_CONFIG, **(config or {})}
    width = int(dims["n_audio_state"])
    with torch.device("meta"):
        return WhisperEncoder(
            WhisperConfig(
                num_mel_bins=dims["n_mels"],
                d_model=width,
                encoder_layers=dims["n_audio_layer"],
                encoder_attention_heads=dims["n_audio_head"],
                encoder_ffn_dim=4 * width,
                max_source_positions=dims["n_audio_ctx"],
            )
        )


def whisper_positions(length: int, channels: int) -> Tensor:
    """Whisper's own table: sines, then cosines, of rates from 1 to 1/10000 [length, channels]."""
    rates = torch.exp(-math.log(10_000) / (channels // 2 - 1) * torch.arange(channels // 2))
    angles = torch.arange(length)[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1)


LIBRARY = {"vae": build_vae, "wav2vec": build_wav2vec, "whisper": build_whisper}


def build_networks(
    name: str,
    own_networks: Callable[..., dict[str, nn.Module]],
    files: Sequence[NetworkFile],
    config: Mapping[str, Any] | None = None,
    folder: Path | None = None,
) -> dict[str, nn.Module]:
    """All networks of a model on the meta device, by the names of its files.

    Args:
        name: of the model, for errors.
        own_networks: builds the model's own networks from a configuration, or the published ones.
        files: of the model's card.
        config: constructor values of all networks; the published ones if None.
        folder: where ``config.json`` of the library's networks may lie, which then counts.

    Raises:
        WeightsError: a configuration describes no such network.
    """
    try:
        with torch.device("meta"):
            own = own_networks(config) if config else own_networks()
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, RuntimeError) as error:
        where = folder / CONFIG if folder else "the configuration"
        raise WeightsError(
            f"{where} does not describe {name}'s networks: {error!r}; it holds constructor values"
            " as a parity directory's tiny_config.json does",
            code="bad_weights",
        ) from error
    return {
        file.network: own[file.network]
        if file.network in own
        else _from_library(file, config, folder)
        for file in files
    }


def library_config(config: Mapping[str, Any] | None, kind: str) -> dict[str, Any] | None:
    """The group of a configuration that describes the library's network ``kind``, if any."""
    for name, group in (config or {}).items():
        if name == kind or name.startswith(f"{kind} "):
            return dict(group)
    return None


def stored_config(folder: Path, file: NetworkFile) -> dict[str, Any] | None:
    """``config.json`` beside a network's file, as its publisher wrote it; None if there is none.

    Raises:
        WeightsError: the file or its folder is missing or unreadable.
    """
    path = find_file(folder, file).with_name("config.json")
    return read_json(path) if path.exists() else None


def _from_library(
    file: NetworkFile, config: Mapping[str, Any] | None, folder: Path | None
) -> nn.Module:
    kind = file.network
    stored = stored_config(folder, file) if folder else None
    return build_checked(LIBRARY[kind], stored or library_config(config, kind), kind)


def build_checked(build: Any, config: Mapping[str, Any] | None, kind: str) -> nn.Module:
    """Build a network from a stored configuration.

    Raises:
        WeightsError: the configuration is foreign.
        ModuleNotFoundError: the library is not installed.
    """
    try:
        network: nn.Module = build(config)
    except ModuleNotFoundError:  # no fault of the configuration
        raise
    except Exception as error:  # libraries check their own configurations, each in its way
        reason = (str(error).strip() or repr(error)).splitlines()[0]
        raise WeightsError(
            f"the configuration of {kind} describes no such network: {reason}; copy its config.json"
            " again from its publisher",
            code="bad_weights",
        ) from error
    return network
