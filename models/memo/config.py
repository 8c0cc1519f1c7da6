"""The card of MEMO: spec, plan, checkpoint files, emotions, the paper's figures."""

from __future__ import annotations

from models.checkpoints.layout import VAE, WAV2VEC, NetworkFile
from models.errors import LiveheadError
from models.registry import PaperFlops
from models.sd15.config import FLOW_MATCHING, LATENT_512, SD15Card, SD15Spec

EMOTIONS = 9
"""Classes of the published networks, numbered from 0."""
NO_EMOTION = EMOTIONS
"""The label of no emotion, and of unconditional rows."""


def emotion_label(chosen: int | None) -> int:
    """The label of every chunk: the chosen class, or that of none, known from training.

    The published labels come from features of emotion2vec, a model that is not among the
    publisher's files, so that nothing here reads an emotion from speech.

    Raises:
        LiveheadError: there is no such class (``bad_option``).
    """
    if chosen is None:
        return NO_EMOTION
    if not 0 <= chosen < EMOTIONS:
        raise LiveheadError(
            f"expected --emotion as a class from 0 to {EMOTIONS - 1}, got {chosen}",
            code="bad_option",
        )
    return chosen


def _file(network: str, *, fp32: bool = False) -> NetworkFile:
    return NetworkFile(network, (f"{network}/diffusion_pytorch_model.safetensors",), fp32=fp32)


CARD = SD15Card(
    name="memo",
    spec=SD15Spec(
        "memo", 30.0, 16, 2, 20, LATENT_512, FLOW_MATCHING, guidance=3.5, past=16, first_past=16
    ),
    plan="20:0,1,3,5,9,13,17,19+dfa",
    networks="models.memo.networks",
    pipeline="models.memo.pipeline",
    files=(
        _file("diffusion_net"),
        _file("reference_net"),
        _file("audio_proj", fp32=True),
        _file("image_proj"),
        VAE,
        WAV2VEC,
    ),
    takes=frozenset({"size", "dtype", "devices", "without_reference", "frames", "emotion"}),
    paper=PaperFlops(steps=20, key_steps=7, ratio=2.27, frames=16, face_share=0.4),
)
