"""Compares generated frames with the truth: reads both with the same rulers, then measures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.dataset.clips import FPS
from models.evaluation.eval_clip import EvalClip
from models.evaluation.faces import FaceTrack, track_face
from models.evaluation.measure import (
    amplitude,
    blinks,
    border_ratio,
    closed_share,
    colour_drift,
    correlation,
    frame_changes,
    picture_drift,
    psnr,
    sync_offset,
)
from models.evaluation.mouth_metric import (
    READINGS,
    MouthMetric,
    Pose,
    pose_of,
    read_frames,
    truth_readings,
)

CLOSED_SHARE = 0.25
"""Lips count as closed when they are this near to their own rest, in deviations of the truth."""
REST_FRAMES = 10
"""Fewer silent frames than this do not show a mouth at rest."""

MOUTH = (
    "mouth_correlation",
    "sync_offset_frames",
    "mouth_amplitude_percent",
    "mouth_slope_percent",
    "closure_percent",
    "closure_truth_percent",
    "closure_chance_percent",
    "rest_excess_percent",
)
"""What is measured on a mouth-opening track, by each tool.

The amplitude is all movement against the truth's, the slope that part of it which goes with the
truth: amplitude times correlation.
"""

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
    frames: NDArray[np.uint8], subject: EvalClip, ruler: MouthMetric | None, label: str
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
    generated: NDArray[np.uint8], made: Reading, subject: EvalClip, true: Reading, chunk: int
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
        **_head(made.face, true.face),
        **_movement(generated, subject, chunk),
        **_distance(generated, subject),
    }


def _mouth(tool: str, made: Signal | None, true: Signal | None, subject: EvalClip) -> Metrics:
    """Agreement of two mouth-opening tracks that one tool read."""
    if made is None or true is None:
        return {f"{name}.{tool}": float("nan") for name in MOUTH}
    spread = max(float(np.nanstd(true)), 1e-6)
    rest_made, rest_true = (rest_of(track, subject.silent) for track in (made, true))
    near_made, near_true = (rest + CLOSED_SHARE * spread for rest in (rest_made, rest_true))
    agreement, size = correlation(made, true), 100 * amplitude(made, true)
    values = (
        agreement,
        sync_offset(made, true),
        size,
        size * agreement,
        100 * closed_share(made, subject.lips, near_made),
        100 * closed_share(true, subject.lips, near_true),
        100 * closed_share(made, np.flatnonzero(~subject.silent), near_made),
        100 * (rest_made - rest_true) / spread,
    )
    return {f"{name}.{tool}": value for name, value in zip(MOUTH, values, strict=True)}


def rest_of(opening: Signal, silent: NDArray[np.bool_]) -> float:
    """How far a mouth is open at rest: in silence, or where it is most closed if there is none."""
    seen = np.isfinite(opening)
    if not seen.any():
        return float("nan")
    quiet = opening[silent & seen]
    if quiet.size >= REST_FRAMES:
        return float(np.median(quiet))
    return float(np.percentile(opening[seen], 5))


def _known(made: Reading, true: Reading, subject: EvalClip) -> Metrics:
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


def _head(made: FaceTrack | None, true: FaceTrack | None) -> Metrics:
    """Whether the head goes where the true one goes: by the middle of the eyes, across and down."""
    if made is None or true is None:
        return {"head_correlation": float("nan"), "head_amplitude_percent": float("nan")}
    ways = [(made.eyes_xy.mean(1)[:, axis], true.eyes_xy.mean(1)[:, axis]) for axis in range(2)]
    return {
        "head_correlation": float(np.mean([correlation(*way) for way in ways])),
        "head_amplitude_percent": 100 * float(np.mean([amplitude(*way) for way in ways])),
    }


def _movement(generated: NDArray[np.uint8], subject: EvalClip, chunk: int) -> Metrics:
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


def _distance(generated: NDArray[np.uint8], subject: EvalClip) -> Metrics:
    """PSNR against the truth, beside that of a portrait that never moves; dB."""
    boxes = subject.boxes
    still = np.broadcast_to(subject.still, subject.truth.shape)
    return {
        "psnr": psnr(generated, subject.truth),
        "psnr_still": psnr(still, subject.truth),
        "psnr_mouth": psnr(generated, subject.truth, boxes),
        "psnr_mouth_still": psnr(still, subject.truth, boxes),
    }
