"""Networks that several published models take from a library, built without values.

The libraries' classes have the published names; ``renames`` knows where files differ.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from models.checkpoints.layout import LAYOUTS, find_file
from models.checkpoints.load import read_json
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


def vae(config: Mapping[str, Any] | None = None) -> nn.Module:
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


def wav2vec(config: Mapping[str, Any] | None = None) -> nn.Module:
    """A ``Wav2Vec2Model`` on the meta device; wav2vec2-base's size if none is given."""
    from transformers import Wav2Vec2Config, Wav2Vec2Model

    with torch.device("meta"):
        return Wav2Vec2Model(Wav2Vec2Config.from_dict(dict(config or {})))


def whisper(config: Mapping[str, Any] | None = None) -> nn.Module:
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


def stored_config(folder: Path, name: str, network: str) -> dict[str, Any] | None:
    """``config.json`` beside a network's file, as its publisher wrote it; None if there is none.

    Raises:
        WeightsError: the file or its folder is missing or unreadable.
    """
    part = next(part for part in LAYOUTS[name] if part.network == network)
    path = find_file(folder, part).with_name("config.json")
    return read_json(path) if path.exists() else None


def checked(build: Any, config: Mapping[str, Any] | None, kind: str) -> nn.Module:
    """Build a network from a stored configuration.

    Raises:
        WeightsError: the configuration is foreign.
    """
    try:
        network: nn.Module = build(config)
    except Exception as error:  # libraries check their own configurations, each in its way
        said = (str(error).strip() or repr(error)).splitlines()[0]
        raise WeightsError(
            f"the configuration of {kind} describes no such network: {said}; copy its config.json"
            " again from its publisher",
            code="bad_weights",
        ) from error
    return network
