"""Names that publishers stored and names that today's library classes use, both known in full."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from models.checkpoints.tensors import Renamed

_VAE_ATTENTION = {
    "query": "to_q",
    "key": "to_k",
    "value": "to_v",
    "proj_attn": "to_out.0",
}
_VAE = re.compile(r"(.*\.attentions\.\d+)\.(query|key|value|proj_attn)\.(weight|bias)")

_WAV2VEC = {
    ".conv.weight_g": ".conv.parametrizations.weight.original0",
    ".conv.weight_v": ".conv.parametrizations.weight.original1",
}
_WAV2VEC_PREFIX = "wav2vec2."
_WAV2VEC_HEAD = ("lm_head.",)

_WHISPER_LAYER = {
    "attn.query": "self_attn.q_proj",
    "attn.key": "self_attn.k_proj",
    "attn.value": "self_attn.v_proj",
    "attn.out": "self_attn.out_proj",
    "attn_ln": "self_attn_layer_norm",
    "mlp.0": "fc1",
    "mlp.2": "fc2",
    "mlp_ln": "final_layer_norm",
}
_WHISPER_TOP = {
    "positional_embedding": "embed_positions.weight",
    "ln_post.weight": "layer_norm.weight",
    "ln_post.bias": "layer_norm.bias",
}
_WHISPER_BLOCK = re.compile(r"blocks\.(\d+)\.(.+)\.(weight|bias)")


def rename_vae(tensors: Mapping[str, Tensor]) -> Renamed:
    """An autoencoder's tensors; its older attention names and 1x1 kernels become today's."""
    return Renamed(tensors, vae_name, _vae_shape)


def vae_name(name: str) -> str:
    """``...attentions.0.query.weight`` -> ``...attentions.0.to_q.weight``; others stay."""
    match = _VAE.fullmatch(name)
    if not match:
        return name
    block, old, kind = match.groups()
    return f"{block}.{_VAE_ATTENTION[old]}.{kind}"


def _vae_shape(name: str, tensor: Tensor) -> Tensor:
    """Older files keep attention's matrices as 1x1 convolutions."""
    matrix = ".attentions." in name and name.endswith(".weight") and tensor.ndim == 4
    return tensor[:, :, 0, 0] if matrix else tensor


def rename_wav2vec(tensors: Mapping[str, Tensor]) -> Renamed:
    """The encoder out of a file that may hold a whole recogniser."""
    return Renamed(tensors, wav2vec_name)


def wav2vec_name(name: str) -> str | None:
    """Without the recogniser's prefix and head; the weight norm under its newer names."""
    if name.startswith(_WAV2VEC_HEAD):
        return None
    name = name.removeprefix(_WAV2VEC_PREFIX)
    for old, new in _WAV2VEC.items():
        if name.endswith(old):
            return name.removesuffix(old) + new
    return name


def wav2vec_published(name: str) -> str:
    """The inverse of ``wav2vec_name``, for an encoder's own tensors."""
    for old, new in _WAV2VEC.items():
        if name.endswith(new):
            name = name.removesuffix(new) + old
    return _WAV2VEC_PREFIX + name


def rename_whisper(tensors: Mapping[str, Tensor]) -> Renamed:
    """The encoder out of OpenAI's file of a whole recogniser, under the library's names."""
    return Renamed(tensors, whisper_name)


def whisper_name(name: str) -> str | None:
    """``encoder.blocks.0.attn.query.weight`` -> ``layers.0.self_attn.q_proj.weight``; None for
    the decoder's."""
    if name.startswith("decoder."):
        return None
    name = name.removeprefix("encoder.")
    match = _WHISPER_BLOCK.fullmatch(name)
    if match and match[2] in _WHISPER_LAYER:
        return f"layers.{match[1]}.{_WHISPER_LAYER[match[2]]}.{match[3]}"
    return _WHISPER_TOP.get(name, name)


def whisper_published(name: str) -> str:
    """The inverse of ``whisper_name``: the library's name -> OpenAI's, with ``encoder.``."""
    for old, new in _WHISPER_TOP.items():
        if name == new:
            return f"encoder.{old}"
    match = re.fullmatch(r"layers\.(\d+)\.(.+)\.(weight|bias)", name)
    if match:
        for old, new in _WHISPER_LAYER.items():
            if match[2] == new:
                return f"encoder.blocks.{match[1]}.{old}.{match[3]}"
    return f"encoder.{name}"


RENAMES = {"vae": rename_vae, "wav2vec": rename_wav2vec, "whisper": rename_whisper}
