"""Trains the denoiser on one person, and keeps what does best on the held-out part."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from models.dataset.clips import list_clips, load_clip
from models.finetune.opening import calibrate_gain
from models.finetune.rest import draw_clip, keep_rest
from models.io.console import progress
from models.lightning.plan import StepPlan
from models.mini.checkpoint import load_mini_networks, read_manifest, save_mini
from models.mini.config import MINI
from models.mini.mouth import BlendshapeRegressor
from models.training.denoiser import FINETUNE_PHASES, train_denoiser
from models.training.latents import Variant, encode_clip
from models.training.run import InitFrom
from models.training.speech_features import ClipSpeech, apply_regressor, encode_speech

PEAK_LR = 4e-4
"""Of a start from trained weights half of it is used."""
VALIDATE_EVERY = 100
FROZEN = ("units", "field", "audio")
"""What reads units and speech keeps its meaning; a person's video is too short to learn it from."""
PICTURE_WEIGHT = FINETUNE_PHASES[0].image_weight


@dataclass
class BestWeights:
    """The weights of the best validation; losses are of the held-out part of the video.

    Attributes:
        before, after: of the start, and of ``state``.
        step, last: when ``state`` was reached, and of the last validation.
        gain: of the mouth, with which it opens as far as in the held-out part.
    """

    before: float = float("nan")
    after: float = float("inf")
    step: int = 0
    last: int = 0
    gain: float = MINI.mouth_gain
    state: dict[str, Tensor] = field(default_factory=dict)

    def __call__(self, step: int, losses: dict[str, float], state: dict[str, Tensor]) -> None:
        """Look at one validation."""
        loss = losses["held_out"] + PICTURE_WEIGHT * losses["held_out_picture"]
        if not self.state:
            self.before = loss
        self.last = step
        if loss < self.after:
            self.after, self.step = loss, step
            self.state = {key: value.clone() for key, value in state.items()}


def finetune(out: Path, start: Path, *, minutes: float, source: dict[str, Any]) -> BestWeights:
    """Train on ``out/clips`` and write a weights folder to ``out``.

    Args:
        out: folder of the person's clips.
        start: weights folder to begin with; its codec and mouth reader are kept.
        source: what the weights were made from, for their record.

    Raises:
        WeightsError: ``start`` cannot be used.
        LiveheadError: a clip cannot be read.
    """
    record = read_manifest(start)
    networks = load_mini_networks(start)
    codec = networks.codec.eval().requires_grad_(False)
    train, held_out = list_clips(out, "train"), list_clips(out, "held_out")
    speech = _speech(networks.reader.eval(), [*train, *held_out], out / "training")
    plan = StepPlan.from_json(record["plan"])

    def prepare(path: Path) -> Variant:
        variant = encode_clip(codec, load_clip(path))
        return keep_rest(variant, draw_clip(networks.unet, plan, variant, speech[variant.clip]))

    variants, validation = (
        [prepare(path) for path in progress(paths, "encoding clips")] for paths in (train, held_out)
    )
    origin = {"sha256": record["sha256"]["unet"], **record["training"]}
    best = BestWeights()
    train_denoiser(
        codec,
        variants,
        validation,
        speech,
        out / "training",
        minutes=minutes,
        resume=False,
        init=InitFrom(networks.unet.state_dict(), origin),
        frozen=FROZEN,
        peak=PEAK_LR,
        validate_every=VALIDATE_EVERY,
        on_validation=best,
    )
    networks.unet.load_state_dict(best.state)
    clips = [
        (load_clip(path), v, speech[v.clip]) for path, v in zip(held_out, validation, strict=True)
    ]
    best.gain = calibrate_gain(networks.unet, codec, plan, clips)
    states = {
        "codec": codec.state_dict(),
        "unet": best.state,
        "reader": networks.reader.state_dict(),
    }
    training = {"steps": best.step, "minutes": round(minutes, 1), "began_with": origin}
    save_mini(out, states, plan, {"denoiser": training, "person": source}, best.gain)
    return best


def _speech(reader: BlendshapeRegressor, paths: list[Path], cache: Path) -> dict[str, ClipSpeech]:
    """Features of the clips' speech, and what the mouth reader says of it."""
    speech = {}
    for name, raw in encode_speech(paths, cache / "speech").items():
        features, predicted = apply_regressor(reader, raw)
        speech[name] = ClipSpeech(features, predicted, raw.mouth, raw.motion)
    return speech
