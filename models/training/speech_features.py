"""Speech of the training clips: encoder features, and blendshapes predicted from them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soxr
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.audio import SAMPLE_RATE
from models.audio.level import level_audio
from models.dataset.clips import fingerprint, load_clip
from models.io.console import progress
from models.mini.audio import CHUNK_FRAMES, AudioEncoder, chunk_features, windows_of
from models.mini.motion import MOUTH_UNITS
from models.mini.mouth import BlendshapeRegressor
from models.training.run import CPU, load_or_compute

VERSION_OFFSETS = (0, 2)
"""First frame of version 0 (as recorded) and of version 1 (through another microphone)."""
FOLDS = 5
BATCH = 256
PRESS = MOUTH_UNITS.index("mouthPress")
CLOSING = 0.3
"""Lips that close for p, b or m press more than this."""
STEPS = 1600
"""Of training for the regressor of a fold."""
FINAL = 6
"""As many times as long the final one is trained: its held-out correlation rises up to there."""


@dataclass(frozen=True)
class ClipSpeech:
    """Speech of one clip of S frames: V versions of N chunks of F frames.

    Attributes:
        features: normalised, float16 [V, N, F, W, D]; chunk k of version v starts at frame
            ``start(v, k)``.
        predicted: blendshapes predicted from the features by a regressor that was not trained on
            this clip, float32 [V, N, F, U].
        mouth: true blendshapes, float32 [S, U]; motion: true motion, float32 [S, M].
    """

    features: Tensor
    predicted: Tensor
    mouth: Tensor
    motion: Tensor

    @staticmethod
    def start(version: int, chunk: int) -> int:
        """First frame of a chunk."""
        return CHUNK_FRAMES * chunk + VERSION_OFFSETS[version]

    def chunks(self, frames: int) -> int:
        """Number of chunks that lie inside the first ``frames`` frames in every version."""
        return min((frames - max(VERSION_OFFSETS)) // CHUNK_FRAMES, self.features.shape[1])


@dataclass(frozen=True)
class RawFeatures:
    """Features of one clip before normalisation.

    Attributes:
        features: float16 [V, N, F, W, D].
        mouth: true blendshapes, float32 [S, U]; motion: true motion, float32 [S, M].
        recording: what the clip's sound was cut from; clips of one recording share words.
    """

    features: Tensor
    mouth: Tensor
    motion: Tensor
    recording: str = ""

    def targets(self) -> Tensor:
        """True blendshapes of every chunk, [V, N, F, U]."""
        index = torch.tensor(
            [
                [
                    [ClipSpeech.start(v, k) + f for f in range(CHUNK_FRAMES)]
                    for k in range(self.features.shape[1])
                ]
                for v in range(len(VERSION_OFFSETS))
            ]
        )
        return self.mouth[index]


def simulate_channel(audio: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Speech through another microphone: level, noise, and half of the time telephone band."""
    if rng.random() < 0.5:
        narrowband = soxr.resample(audio, SAMPLE_RATE, 8000, quality="HQ")
        audio = soxr.resample(narrowband, 8000, SAMPLE_RATE, quality="HQ")[: audio.size]
        audio = np.pad(audio, (0, -audio.size % 640)).astype(np.float32)
    else:
        tilt = rng.uniform(-0.6, 0.6)
        audio = audio + tilt * np.pad(audio[:-1], (1, 0)).astype(np.float32)
    noise = rng.normal(size=audio.size) * 10 ** (rng.uniform(-65, -42) / 20)
    changed = audio * 10 ** (rng.uniform(-12, 3) / 20) + noise
    return np.clip(changed, -1, 1).astype(np.float32)


def encode_speech(paths: Sequence[Path], cache: Path) -> dict[str, RawFeatures]:
    """Encode the speech of clips, or load what was encoded of the same clips from ``cache``."""
    encoder = AudioEncoder()
    recordings = {}
    for path in progress(paths, "listening"):
        recordings[path.name] = encode_clip_speech(encoder, path, cache)
    return recordings


def encode_clip_speech(encoder: AudioEncoder, path: Path, cache: Path) -> RawFeatures:
    """Encode the speech of one clip, or load what was encoded of it from ``cache``."""
    stored = load_or_compute(
        cache / f"{path.name}.pt", fingerprint(path), lambda: vars(_encode_clip(encoder, path))
    )
    stored.pop("made_of")
    return RawFeatures(**stored)


def _encode_clip(encoder: AudioEncoder, path: Path) -> RawFeatures:
    clip = load_clip(path)
    rng = np.random.default_rng(int(path.name) + 17)
    chunks = len(clip.mouth) // CHUNK_FRAMES - 2
    versions = [clip.audio, simulate_channel(clip.audio, rng)]
    features = np.stack(
        [
            _encode(encoder, audio, first_frame, chunks)
            for audio, first_frame in zip(versions, VERSION_OFFSETS, strict=True)
        ]
    )
    return RawFeatures(
        torch.from_numpy(features).half(),
        torch.from_numpy(np.array(clip.mouth)),
        torch.from_numpy(np.array(clip.motion)),
        str(clip.meta.get("recording", clip.name)),
    )


def _encode(
    encoder: AudioEncoder, audio: NDArray[np.float32], first_frame: int, chunks: int
) -> NDArray[np.float32]:
    windows = windows_of(level_audio(audio), start_frame=first_frame, levelled=True)
    return np.stack(
        [chunk_features(encoder, window) for _, window in zip(range(chunks), windows, strict=False)]
    )


def train_regressor(
    recordings: Sequence[RawFeatures], *, steps: int, seed: int, device: torch.device
) -> BlendshapeRegressor:
    """Train a blendshape regressor on clips; it is on the CPU wherever it was trained."""
    torch.manual_seed(seed)
    features = torch.cat([r.features.flatten(0, 2) for r in recordings])
    targets = torch.cat([r.targets().flatten(0, 2) for r in recordings])
    regressor = BlendshapeRegressor()
    mean, std = normalisation(features.flatten(0, 1))
    regressor.mean.copy_(mean)
    regressor.std.copy_(std)
    features, targets = features.to(device), targets.to(device)

    def draw(count: int) -> tuple[Tensor, Tensor]:
        indices = torch.randint(0, len(features), (count,)).to(device)
        return regressor.normalise(features[indices].float()), targets[indices]

    fit(regressor.to(device), draw, targets.std(0), steps=steps)
    return regressor.cpu().eval()


def normalisation(features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation [D] of raw features [N, D], of a sample of them."""
    sample = features[torch.randperm(len(features))[:140_000]].float()
    return sample.mean(0), sample.std(0) + 1e-3


def fit(
    regressor: BlendshapeRegressor,
    draw: Callable[[int], tuple[Tensor, Tensor]],
    spread: Tensor,
    *,
    steps: int,
) -> None:
    """Train by the squared error in units of each blendshape's deviation.

    Frames in which lips close for p, b or m count twice: they are few, and an open mouth is seen.

    Args:
        draw: so many frames: normalised features [B, W, D] and the truth [B, U].
        spread: deviation of each blendshape, [U].
    """
    optimizer = torch.optim.AdamW(regressor.parameters(), 1e-3, weight_decay=0.05, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps, 1e-5)
    regressor.train()
    for _ in progress(range(steps), "mouth reader"):
        features, truth = draw(BATCH)
        with torch.autocast(spread.device.type, torch.bfloat16):
            prediction = regressor(features)
        weight = 1 + (truth[:, PRESS, None] > CLOSING).float()
        error = ((prediction.float() - truth) / (spread + 0.02)) ** 2
        loss = (weight * error).mean() / weight.mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()


@torch.no_grad()
def apply_regressor(
    regressor: BlendshapeRegressor, recording: RawFeatures
) -> tuple[Tensor, Tensor]:
    """Normalised features, float16 [V, N, F, W, D], and blendshapes [V, N, F, U]."""
    normalised = regressor.normalise(recording.features.float())
    return normalised.half(), regressor(normalised)


def predict_blendshapes(
    recordings: dict[str, RawFeatures],
    held_out: dict[str, RawFeatures],
    *,
    steps: int,
    device: torch.device = CPU,
) -> tuple[BlendshapeRegressor, dict[str, ClipSpeech], dict[str, float]]:
    """Predict the blendshapes of every clip by cross-validation.

    Training clips are split in ``FOLDS`` by their recordings; their blendshapes come from a
    regressor trained on the other folds, so that the denoiser meets the same errors in training
    as in use.

    Args:
        steps: of training for the regressor of a fold; the final one takes ``FINAL`` times as many.
        device: trains the regressors.

    Returns:
        The regressor trained on all clips; the speech of each clip by name; and the correlation
        with the truth on held-out speech, by blendshape.
    """
    names = sorted(recordings)
    everything = [recordings[n] for n in names]
    final = train_regressor(everything, steps=FINAL * steps, seed=0, device=device)
    speech: dict[str, ClipSpeech] = {}
    order = sorted({recordings[n].recording for n in names})
    fold_of = {recording: k % FOLDS for k, recording in enumerate(order)}
    for fold in range(FOLDS):
        fold_names = [n for n in names if fold_of[recordings[n].recording] == fold]
        others = [recordings[n] for n in names if n not in fold_names]
        if not fold_names or not others:
            continue
        regressor = train_regressor(others, steps=steps, seed=fold + 1, device=device)
        for name in fold_names:
            _, predicted = apply_regressor(regressor, recordings[name])
            speech[name] = _clip_speech(final, recordings[name], predicted)
    for name, recording in held_out.items():
        speech[name] = _clip_speech(final, recording, apply_regressor(final, recording)[1])
    return final, speech, correlation_report([speech[n] for n in held_out], held_out)


def _clip_speech(
    final: BlendshapeRegressor, recording: RawFeatures, predicted: Tensor
) -> ClipSpeech:
    features, _ = apply_regressor(final, recording)
    return ClipSpeech(features, predicted, recording.mouth, recording.motion)


def correlation_report(
    speech: Sequence[ClipSpeech], truth: dict[str, RawFeatures]
) -> dict[str, float]:
    """Correlation of predicted and true blendshapes over all held-out chunks, by name."""
    if not speech:
        return {}
    return correlations(
        torch.cat([s.predicted.flatten(0, 2) for s in speech]),
        torch.cat([r.targets().flatten(0, 2) for r in truth.values()]),
    )


def correlations(prediction: Tensor, true: Tensor) -> dict[str, float]:
    """Correlation of blendshapes [N, U] with the truth, by name; those that move."""
    report = {}
    for k, name in enumerate(MOUTH_UNITS):
        if true[:, k].std() > 1e-4:
            pair = torch.corrcoef(torch.stack([prediction[:, k], true[:, k]]))
            report[name] = round(float(pair[0, 1]), 3)
    return report
