"""Compares generated frames with the truth: reads both with the same rulers, then measures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.evaluation.faces import FaceTrack, track_face
from models.evaluation.measure import (
    amplitude,
    blinks,
    border_ratio,
    closed_share,
    colour_drift,
    correlation,
    frame_changes,
    lowest_around,
    picture_drift,
    psnr,
    sync_offset,
)
from models.evaluation.ruler import READINGS, Pose, Ruler, pose_of, read_frames, truth_readings
from models.evaluation.subject import Subject
from models.training.synth.clips import FPS

CLOSED_PERCENTILE = 80
"""Lips count as closed below what this share of the true p, b and m reach."""

MOUTH = (
    "mouth_correlation",
    "sync_offset_frames",
    "mouth_amplitude_percent",
    "closure_percent",
    "closure_truth_percent",
    "closure_chance_percent",
)
"""What is measured on a mouth-opening track, by each tool."""

Signal = NDArray[np.float64]
Metrics = dict[str, float]


@dataclass(frozen=True)
class Reading:
    """One video read by both rulers.

    Attributes:
        face: landmark track, None if no face was found.
        mouth: the ruler's readings [T, 3], None without a ruler.
    """

    face: FaceTrack | None
    mouth: Signal | None

    def jaw(self) -> Signal | None:
        """How far the mouth is open as the ruler reads it, [T]."""
        return None if self.mouth is None else self.mouth[:, READINGS.index("jaw")]

    def gap(self) -> Signal | None:
        """How far the lips are apart as landmarks show it, [T]."""
        return None if self.face is None else self.face.gap


def read_video(
    frames: NDArray[np.uint8], subject: Subject, ruler: Ruler | None, label: str
) -> Reading:
    """Read frames [T, H, W, 3]; without landmarks the true places of eyes and mouth serve."""
    face = track_face(frames, f"landmarks, {label}")
    if ruler is None:
        return Reading(face, None)
    pose: Pose = (
        pose_of(subject.eyes_xy, subject.mouth_xy)
        if face is None
        else pose_of(face.eyes_xy, face.mouth_xy)
    )
    return Reading(face, read_frames(ruler, frames, pose))


def compare(
    generated: NDArray[np.uint8], made: Reading, subject: Subject, true: Reading, chunk: int
) -> Metrics:
    """Every metric of one subject, by name; NaN where it cannot be had.

    Args:
        generated: RGB uint8 [T, H, W, 3]; made: how it reads; true: how the truth reads.
        chunk: frames in a chunk.
    """
    return {
        **_mouth("ruler", made.jaw(), true.jaw(), subject),
        **_mouth("landmarks", made.gap(), true.gap(), subject),
        **_known(made, true, subject),
        **_eyes(made.face, true.face),
        **_movement(generated, subject, chunk),
        **_distance(generated, subject),
    }


def _mouth(tool: str, made: Signal | None, true: Signal | None, subject: Subject) -> Metrics:
    """Agreement of two mouth-opening tracks that one tool read."""
    if made is None or true is None:
        return {f"{name}.{tool}": float("nan") for name in MOUTH}
    closed = _closure(made, true, subject.lips)
    values = (
        correlation(made, true),
        sync_offset(made, true),
        100 * amplitude(made, true),
        *(100 * share for share in closed),
    )
    return {f"{name}.{tool}": value for name, value in zip(MOUTH, values, strict=True)}


def _closure(made: Signal, true: Signal, lips: NDArray[np.intp]) -> tuple[float, float, float]:
    """Share of p, b and m with closed lips: generated, true, and generated at any instant."""
    lowest = lowest_around(true, lips)
    if not np.isfinite(lowest).any():
        return (float("nan"),) * 3
    threshold = float(np.nanpercentile(lowest, CLOSED_PERCENTILE))
    anywhere = np.arange(made.size)
    return (
        closed_share(made, lips, threshold),
        closed_share(true, lips, threshold),
        closed_share(made, anywhere, threshold),
    )


def _known(made: Reading, true: Reading, subject: Subject) -> Metrics:
    """Generated lips against the exact mouth units, and how well each tool reads the truth."""
    known = truth_readings(subject.clip.mouth[: subject.frames])
    metrics: Metrics = {}
    for k, name in enumerate(READINGS):
        for kind, reading in (("known", made), ("ceiling", true)):
            value = float("nan")
            if reading.mouth is not None:
                value = correlation(reading.mouth[:, k], known[:, k])
            metrics[f"{name}_{kind}.ruler"] = value
    jaw = known[:, READINGS.index("jaw")]
    for kind, reading in (("known", made), ("ceiling", true)):
        gap = reading.gap()
        metrics[f"jaw_{kind}.landmarks"] = float("nan") if gap is None else correlation(gap, jaw)
    return metrics


def _eyes(made: FaceTrack | None, true: FaceTrack | None) -> Metrics:
    metrics: Metrics = {}
    for end, face in (("", made), ("_truth", true)):
        found = None if face is None else blinks(face.eyes, FPS)
        metrics[f"blinks_per_minute{end}"] = float("nan") if found is None else found.per_minute
        metrics[f"blink_depth{end}"] = float("nan") if found is None else found.depth
    return metrics


def _movement(generated: NDArray[np.uint8], subject: Subject, chunk: int) -> Metrics:
    """Restlessness, chunk borders and drift, each beside the same of the truth."""
    metrics: Metrics = {}
    changes = {}
    for end, frames in (("", generated), ("_truth", subject.truth)):
        changes[end] = frame_changes(frames, subject.head)
        metrics[f"border_ratio{end}"] = border_ratio(changes[end], chunk)
        metrics[f"drift_background{end}"] = picture_drift(frames, subject.background, FPS)
        metrics[f"drift_colour{end}"] = colour_drift(frames, subject.head, FPS)
    still = changes["_truth"].mean()
    metrics["frame_change"] = float(changes[""].mean() / still) if still else float("nan")
    for name in ("border_ratio", "drift_background", "drift_colour"):
        metrics[f"{name}_excess"] = metrics[name] - metrics[f"{name}_truth"]
    return metrics


def _distance(generated: NDArray[np.uint8], subject: Subject) -> Metrics:
    """PSNR against the truth, beside that of a portrait that never moves; dB."""
    boxes = subject.boxes
    still = np.broadcast_to(subject.still, subject.truth.shape)
    return {
        "psnr": psnr(generated, subject.truth),
        "psnr_still": psnr(still, subject.truth),
        "psnr_mouth": psnr(generated, subject.truth, boxes),
        "psnr_mouth_still": psnr(still, subject.truth, boxes),
    }
