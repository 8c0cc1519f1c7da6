"""What a model hears in the training speech: encoder features, and mouth units read from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
from models.training.cache import kept

OFFSETS = (0, 2)  # first frame of version 0 (as recorded) and version 1 (another microphone)
FOLDS = 5
STEPS = 800  # of training for the reader of a fold; the final one takes twice as many


@dataclass(frozen=True)
class Heard:
    """Speech of one clip as the model hears it.

    Attributes:
        features: normalised, float16 [V, N, F, W, D]; chunk k of version v starts at frame
            ``start(v, k)``.
        units: mouth units read from the features by a reader that never saw this clip,
            float32 [V, N, F, U].
        mouth: true mouth units, float32 [S, U]; motion: true motion track, float32 [S, M].
    """

    features: Tensor
    units: Tensor
    mouth: Tensor
    motion: Tensor

    @staticmethod
    def start(version: int, chunk: int) -> int:
        """First frame of a chunk."""
        return CHUNK_FRAMES * chunk + OFFSETS[version]

    def chunks(self, frames: int) -> int:
        """Chunks that lie inside the first ``frames`` frames in every version."""
        return min((frames - max(OFFSETS)) // CHUNK_FRAMES, self.features.shape[1])


@dataclass(frozen=True)
class _Recording:
    features: Tensor  # raw, float16 [V, N, F, W, D]
    mouth: Tensor
    motion: Tensor

    def targets(self) -> Tensor:
        """True mouth units of every chunk, [V, N, F, U]."""
        index = torch.tensor(
            [
                [
                    [Heard.start(v, k) + f for f in range(CHUNK_FRAMES)]
                    for k in range(self.features.shape[1])
                ]
                for v in range(len(OFFSETS))
            ]
        )
        return self.mouth[index]


def other_microphone(audio: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """The same speech through another channel: telephone band half of the time, level, noise."""
    if rng.random() < 0.5:
        narrow = soxr.resample(audio, SAMPLE_RATE, 8000, quality="HQ")
        audio = soxr.resample(narrow, 8000, SAMPLE_RATE, quality="HQ")[: audio.size]
        audio = np.pad(audio, (0, -audio.size % 640)).astype(np.float32)
    else:
        tilt = rng.uniform(-0.6, 0.6)
        audio = audio + tilt * np.pad(audio[:-1], (1, 0)).astype(np.float32)
    noise = rng.normal(size=audio.size) * 10 ** (rng.uniform(-65, -42) / 20)
    changed = audio * 10 ** (rng.uniform(-12, 3) / 20) + noise
    return np.clip(changed, -1, 1).astype(np.float32)


def listen(paths: Sequence[Path], cache: Path) -> dict[str, _Recording]:
    """Encode the speech of clips, or load what an earlier call made of the same clips."""
    encoder = AudioEncoder()
    heard = {}
    for path in progress(paths, "listening"):

        def encode(path: Path = path) -> dict[str, Any]:
            return vars(_listen(encoder, path))

        stored = kept(cache / f"{path.name}.pt", fingerprint(path), encode)
        heard[path.name] = _Recording(stored["features"], stored["mouth"], stored["motion"])
    return heard


def _listen(encoder: AudioEncoder, path: Path) -> _Recording:
    clip = load_clip(path)
    rng = np.random.default_rng(int(path.name) + 17)
    chunks = len(clip.mouth) // CHUNK_FRAMES - 2
    versions = [clip.audio, other_microphone(clip.audio, rng)]
    features = np.stack(
        [
            _encode(encoder, audio, offset, chunks)
            for audio, offset in zip(versions, OFFSETS, strict=True)
        ]
    )
    return _Recording(
        torch.from_numpy(features).half(),
        torch.from_numpy(np.array(clip.mouth)),
        torch.from_numpy(np.array(clip.motion)),
    )


def _encode(
    encoder: AudioEncoder, audio: NDArray[np.float32], offset: int, chunks: int
) -> NDArray[np.float32]:
    windows = windows_of(level_audio(audio), start_frame=offset, levelled=True)
    return np.stack(
        [chunk_features(encoder, window) for _, window in zip(range(chunks), windows, strict=False)]
    )


def train_reader(recordings: Sequence[_Recording], *, steps: int, seed: int) -> BlendshapeRegressor:
    """Fit a mouth reader: squared error, each unit weighed by its own deviation."""
    torch.manual_seed(seed)
    features = torch.cat([r.features.flatten(0, 2) for r in recordings])
    targets = torch.cat([r.targets().flatten(0, 2) for r in recordings])
    reader = BlendshapeRegressor()
    sample = features[torch.randperm(len(features))[:20_000]].float().flatten(0, 1)
    reader.mean.copy_(sample.mean(0))
    reader.std.copy_(sample.std(0) + 1e-3)
    scale = targets.std(0) + 0.02
    optimiser = torch.optim.AdamW(reader.parameters(), 1e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps, 1e-5)
    reader.train()
    for _ in progress(range(steps), "mouth reader"):
        rows = torch.randint(0, len(features), (256,))
        read = reader(reader.normalise(features[rows].float()))
        loss = (((read - targets[rows]) / scale) ** 2).mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        schedule.step()
    return reader.eval()


@torch.no_grad()
def read_all(reader: BlendshapeRegressor, recording: _Recording) -> tuple[Tensor, Tensor]:
    """Normalised features float16 and mouth units of every chunk of a recording."""
    normalised = reader.normalise(recording.features.float())
    return normalised.half(), reader(normalised)


def hear_all(
    recordings: dict[str, _Recording], held_out: dict[str, _Recording]
) -> tuple[BlendshapeRegressor, dict[str, Heard], dict[str, float]]:
    """Read every clip with a reader that did not see it; returns the final reader as well.

    Training clips are split in ``FOLDS``; their units come from the reader of the other folds, so
    that the denoiser meets the same mistakes in training as in use. The report is the correlation
    with the truth on held-out speech, by mouth unit.
    """
    names = sorted(recordings)
    final = train_reader([recordings[n] for n in names], steps=2 * STEPS, seed=0)
    heard: dict[str, Heard] = {}
    for fold in range(FOLDS):
        mine = [n for k, n in enumerate(names) if k % FOLDS == fold]
        others = [recordings[n] for n in names if n not in mine]
        if not mine or not others:
            continue
        reader = train_reader(others, steps=STEPS, seed=fold + 1)
        for name in mine:
            _, units = read_all(reader, recordings[name])
            heard[name] = _heard(final, recordings[name], units)
    for name, recording in held_out.items():
        heard[name] = _heard(final, recording, read_all(final, recording)[1])
    return final, heard, reading_report([heard[n] for n in held_out], held_out)


def _heard(final: BlendshapeRegressor, recording: _Recording, units: Tensor) -> Heard:
    return Heard(read_all(final, recording)[0], units, recording.mouth, recording.motion)


def reading_report(heard: Sequence[Heard], truth: dict[str, _Recording]) -> dict[str, float]:
    """Correlation of read and true units over all held-out chunks, by unit name."""
    if not heard:
        return {}
    read = torch.cat([h.units.flatten(0, 2) for h in heard])
    true = torch.cat([r.targets().flatten(0, 2) for r in truth.values()])
    report = {}
    for k, name in enumerate(MOUTH_UNITS):
        if true[:, k].std() > 1e-4:
            pair = torch.corrcoef(torch.stack([read[:, k], true[:, k]]))
            report[name] = round(float(pair[0, 1]), 3)
    return report
