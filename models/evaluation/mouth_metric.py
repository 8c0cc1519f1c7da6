"""The mouth metric: a small network that regresses the mouth's shape from a crop of each frame.

Landmark networks are inaccurate on small mouths. This network is trained on the training
clips, whose blendshapes are exact; its correlation with the blendshapes of held-out clips is part
of the evaluation.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from models.dataset.clips import Clip
from models.errors import WeightsError
from models.io.console import progress
from models.mini.motion import MOUTH_UNITS

MOUTH_TRACKS = ("jaw", "rounding", "closure")
"""Columns of mouth tracks [T, 3]: jawOpen; mouthFunnel + mouthPucker; mouthPress."""
SIZE = (64, 96)
"""Height and width of a crop."""
SPAN = 1.5
"""Width of a crop in eye-to-mouth distances."""
LOWER = 0.08
"""The crop is centred this far below the mouth, in eye-to-mouth distances, to show the chin."""
SMOOTH_FRAMES = 2.0
STEPS = 1500
BATCH = 64
PEAK = 2e-3
FRAMES = 10_000
"""Of all clips together."""
JITTERS = 2
_JITTER_SHIFT, _JITTER_TURN, _JITTER_SCALE = 0.06, 0.05, 0.08
_BLURS = (0.0, 0.6, 1.2)
"""Standard deviations of blur in training: generated frames are softer than rendered ones."""


@dataclass(frozen=True)
class Pose:
    """Placement of the mouth crops.

    Attributes:
        middle: [T, 2], pixels; turn: [T], radians.
        unit: eye-to-mouth distance, pixels.
    """

    middle: NDArray[np.float64]
    turn: NDArray[np.float64]
    unit: float


class MouthMetric(nn.Module):
    """Crops [N, 3, 64, 96] in [0, 1] -> mouth tracks [N, 3].

    ``scale`` holds the standard deviations of the training targets.
    """

    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("scale", torch.ones(len(MOUTH_TRACKS)))
        widths = (3, 16, 32, 64, 64)
        layers: list[nn.Module] = []
        for before, after in zip(widths, widths[1:], strict=False):
            layers += [nn.Conv2d(before, after, 3, 2, 1), nn.GroupNorm(8, after), nn.SiLU()]
        self.look = nn.Sequential(*layers)
        pixels = (SIZE[0] // 16) * (SIZE[1] // 16)
        self.read = nn.Sequential(
            nn.Linear(64 * pixels, 64), nn.SiLU(), nn.Dropout(0.2), nn.Linear(64, len(MOUTH_TRACKS))
        )

    def forward(self, crops: Tensor) -> Tensor:
        """Mouth tracks [N, 3] in blendshape units, not clamped."""
        level = crops.mean((1, 2, 3), keepdim=True)
        spread = crops.std((1, 2, 3), keepdim=True) + 0.05
        tracks: Tensor = self.read(self.look((crops - level) / spread).flatten(1)) * self.scale
        return tracks


def pose_of(eyes_xy: NDArray[np.floating], mouth_xy: NDArray[np.floating]) -> Pose:
    """Crop placement that follows the eyes, so that mouth movement stays visible in the crops.

    Args:
        eyes_xy: [T, 2, 2] (or [T, 4]) middles of both eyes, pixels; mouth_xy: [T, 2].
    """
    eyes = _smooth(np.asarray(eyes_xy, np.float64).reshape(len(eyes_xy), 2, 2))
    between, across = eyes.mean(1), eyes[:, 1] - eyes[:, 0]
    turn = np.arctan2(across[:, 1], across[:, 0])
    offset = np.asarray(mouth_xy, np.float64) - between
    cosine, sine = np.cos(turn), np.sin(turn)
    upright = np.stack(
        [cosine * offset[:, 0] + sine * offset[:, 1], cosine * offset[:, 1] - sine * offset[:, 0]]
    )
    unit = float(np.median(np.linalg.norm(offset, axis=1)))
    x, y = np.median(upright, axis=1) + (0.0, LOWER * unit)
    middle = between + np.stack([cosine * x - sine * y, sine * x + cosine * y], 1)
    return Pose(middle, turn, unit)


def _smooth(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Gaussian over time, [T, ...]."""
    reach = round(3 * SMOOTH_FRAMES)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / SMOOTH_FRAMES) ** 2)
    flat = np.pad(values.reshape(len(values), -1), ((reach, reach), (0, 0)), mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(flat, kernel.size, axis=0)
    smooth: NDArray[np.float64] = (windows @ (kernel / kernel.sum())).reshape(values.shape)
    return smooth


def crop(
    frame: NDArray[np.uint8], middle: NDArray[np.floating], turn: float, unit: float
) -> NDArray[np.uint8]:
    """Mouth crop of one frame, RGB uint8 [64, 96, 3]; arguments as in ``Pose``."""
    height, width = SIZE
    scale = width / (SPAN * unit)
    cosine, sine = scale * np.cos(turn), scale * np.sin(turn)
    matrix = np.array([[cosine, sine, 0.0], [-sine, cosine, 0.0]])
    matrix[:, 2] = (width / 2, height / 2) - matrix[:, :2] @ np.asarray(middle, np.float64)
    flat = cv2.warpAffine(
        frame, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(flat, np.uint8)


@torch.no_grad()
def track_mouth(metric: MouthMetric, frames: NDArray[np.uint8], pose: Pose) -> NDArray[np.float64]:
    """Mouth tracks of a video RGB uint8 [T, H, W, 3]: [T, 3], columns ``MOUTH_TRACKS``."""
    metric.eval()
    batches = []
    for begin in range(0, len(frames), BATCH):
        crops = [
            crop(frames[k], pose.middle[k], float(pose.turn[k]), pose.unit)
            for k in range(begin, min(begin + BATCH, len(frames)))
        ]
        batches.append(metric(_to_batch(np.stack(crops))))
    return torch.cat(batches).double().numpy()


def true_mouth_tracks(mouth: NDArray[np.float32]) -> NDArray[np.float64]:
    """Exact mouth tracks [T, 3] from blendshapes [T, 13], columns ``MOUTH_TRACKS``."""
    column = {name: mouth[:, k].astype(np.float64) for k, name in enumerate(MOUTH_UNITS)}
    rounding = column["mouthFunnel"] + column["mouthPucker"]
    return np.stack([column["jawOpen"], rounding, column["mouthPress"]], 1)


def train_mouth_metric(clips: Sequence[Clip], *, steps: int = STEPS, seed: int = 0) -> MouthMetric:
    """Fit the network to training clips; about a minute on one core by default."""
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    each = max(8, FRAMES // len(clips))
    pairs = [_samples(clip, each, rng) for clip in progress(clips, "cutting mouths", len(clips))]
    crops = torch.from_numpy(np.concatenate([crops for crops, _ in pairs]))
    targets = torch.from_numpy(np.concatenate([targets for _, targets in pairs])).float()
    metric = MouthMetric()
    metric.scale.copy_(targets.std(0) + 1e-3)
    optimiser = torch.optim.AdamW(metric.parameters(), PEAK, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps, 1e-5)
    metric.train()
    for batch in progress(_batches(len(crops), steps), "ruler", steps):
        predicted = metric(_augment(crops[batch].permute(0, 3, 1, 2).float() / 255))
        loss = F.smooth_l1_loss(predicted / metric.scale, targets[batch] / metric.scale)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
    return metric.eval()


def _batches(count: int, steps: int) -> Iterator[Tensor]:
    for _ in range(steps):
        yield torch.randint(0, count, (BATCH,))


def _samples(
    clip: Clip, frames: int, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Crops of evenly spread frames with jittered placement, and their exact mouth tracks."""
    pose = pose_of(clip.eyes_xy, clip.mouth_xy)
    exact = true_mouth_tracks(clip.mouth)
    numbers = np.unique(np.linspace(0, clip.frames - 1, frames).astype(int))
    crops, targets = [], []
    for k in numbers:
        frame = clip.video[int(k)]
        for _ in range(JITTERS):
            shift = rng.normal(0, _JITTER_SHIFT * pose.unit, 2)
            turn = float(pose.turn[k] + rng.normal(0, _JITTER_TURN))
            unit = pose.unit * float(np.exp(rng.normal(0, _JITTER_SCALE)))
            cut = crop(frame, pose.middle[k] + shift, turn, unit)
            blur = float(rng.choice(_BLURS))
            crops.append(cv2.GaussianBlur(cut, (0, 0), blur) if blur else cut)
            targets.append(exact[k])
    return np.stack(crops).astype(np.uint8), np.stack(targets)


def _augment(crops: Tensor) -> Tensor:
    """Mirror half of the crops, scale colours, and add the same noise at different strengths."""
    half = len(crops) // 2
    crops = torch.cat([crops[:half].flip(3), crops[half:]])
    gain = 1 + 0.1 * torch.randn(len(crops), 3, 1, 1)
    strength = 0.02 * torch.randn(len(crops), 1, 1, 1)
    return torch.addcmul(crops * gain, strength, torch.randn_like(crops[:1]))


def _to_batch(crops: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(crops).permute(0, 3, 1, 2).float() / 255


def save_mouth_metric(metric: MouthMetric, path: Path, clips: Sequence[str]) -> None:
    """Write the weights and the names of the training clips."""
    temporary = path.with_name(path.name + ".part")
    torch.save({"state": metric.state_dict(), "clips": list(clips)}, temporary)
    temporary.replace(path)


def load_mouth_metric(path: Path) -> tuple[MouthMetric, list[str]]:
    """The network and the names of its training clips, as ``save_mouth_metric`` wrote them.

    Raises:
        WeightsError: the file is missing or holds something else.
    """
    metric = MouthMetric()
    try:
        record = torch.load(path, weights_only=True)
        metric.load_state_dict(record["state"])
        names = [str(name) for name in record["clips"]]
    except FileNotFoundError as error:
        raise WeightsError(
            f"expected a ruler at {path}, found none; leave the option out to train one",
            code="missing_weights",
        ) from error
    except Exception as error:  # torch.load raises whatever its reader meets in a foreign file
        raise WeightsError(
            f"expected a ruler at {path}, got {type(error).__name__}; delete the file",
            code="bad_weights",
        ) from error
    return metric.eval(), names
