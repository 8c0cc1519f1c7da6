"""Small configurations of the published models, in the form of a parity directory's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.support.checkpoints import write_random

BASE: dict[str, Any] = {
    "in_channels": 4,
    "out_channels": 4,
    "block_out_channels": [32, 32, 64, 64],
    "layers_per_block": 2,
    "norm_num_groups": 32,
    "attention_head_dim": 4,
    "cross_attention_dim": 24,
    "down_block_types": ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"],
    "up_block_types": ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3,
}
MOTION: dict[str, Any] = {
    "num_attention_heads": 8,
    "num_transformer_block": 1,
    "attention_block_types": ["Temporal_Self", "Temporal_Self"],
    "temporal_position_encoding": True,
    "temporal_position_encoding_max_len": 32,
    "temporal_attention_dim_div": 1,
}
VAE: dict[str, Any] = {
    "in_channels": 3,
    "out_channels": 3,
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "block_out_channels": [8, 8, 8, 8],
    "layers_per_block": 1,
    "act_fn": "silu",
    "latent_channels": 4,
    "norm_num_groups": 4,
    "sample_size": 64,
}
WAV2VEC: dict[str, Any] = {
    "hidden_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "conv_dim": [8] * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}
IMAGE: dict[str, Any] = {
    "cross_attention_dim": 24,
    "clip_embeddings_dim": 512,
    "clip_extra_context_tokens": 4,
}
AUDIO: dict[str, Any] = {
    "seq_len": 5,
    "blocks": 3,
    "channels": 24,
    "intermediate_dim": 28,
    "output_dim": 20,
    "context_tokens": 6,
}
ECHOMIMIC: dict[str, Any] = {
    "reference_unet": BASE,
    "denoising_unet": {**BASE, "motion_module_kwargs": MOTION},
    "face_locator": {
        "conditioning_embedding_channels": 32,
        "conditioning_channels": 1,
        "block_out_channels": [4, 8, 12, 16],
    },
    "vae": VAE,
    "whisper": {
        "n_mels": 80,
        "n_audio_ctx": 1500,
        "n_audio_state": 24,
        "n_audio_head": 2,
        "n_audio_layer": 4,
    },
}
CONFIGS: dict[str, dict[str, Any]] = {
    "hallo": {
        "reference_unet_and_denoising_unet_base": BASE,
        "denoising_unet_extra": {"audio_attention_dim": 20, "motion_module_kwargs": MOTION},
        "face_locator": {
            "conditioning_embedding_channels": 32,
            "conditioning_channels": 3,
            "block_out_channels": [4, 8, 8, 16],
        },
        "imageproj": IMAGE,
        "audioproj": AUDIO,
        "vae": VAE,
        "wav2vec": WAV2VEC,
    },
    "echomimic": ECHOMIMIC,
    "echomimic-acc": ECHOMIMIC,
    "memo": {
        "reference_net": BASE,
        "diffusion_net": {
            **BASE,
            "audio_attention_dim": 20,
            "emo_drop_rate": 0.05,
            "use_inflated_groupnorm": True,
            "motion_module_kwargs": MOTION,
        },
        "image_proj": IMAGE,
        "audio_proj": AUDIO,
        "audio_emotion_classifier": {
            "num_classifier_layers": 5,
            "num_classifier_channels": 16,
        },
        "vae": VAE,
        "wav2vec": WAV2VEC,
    },
}


def small_checkpoint(name: str, folder: Path, seed: int = 1) -> Path:
    """A random checkpoint of the smallest sizes in its publisher's layout; its folder."""
    write_random(name, folder, CONFIGS[name], seed)
    return folder
