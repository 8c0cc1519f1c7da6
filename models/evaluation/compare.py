"""Compares generated frames with true frames: tracks both with the same tools, then measures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.dataset.clips import FPS
from models.evaluation.eval_clip import EvalClip, GeneratedVideo
from models.evaluation.face_track import FaceTrack, track_face
from models.evaluation.identity import IdentityEmbedder, distance
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
    MOUTH_TRACKS,
    MouthMetric,
    Pose,
    pose_of,
    track_mouth,
    true_mouth_tracks,
)
from models.evaluation.picture import MouthColour, between_lips, flicker, still_in_truth
from models.evaluation.sharpness import mouth_energy, sharpness_against_portrait

IDENTITY_EVERY = 25
"""One frame of so many is embedded."""
CLOSED_SHARE = 0.25
"""Lips count as closed up to this far above their neutral opening, in deviations of the truth."""
NEUTRAL_FRAMES = 10
"""Fewer silent frames than this do not show a neutral mouth."""

MOUTH_METRICS = (
    "mouth_correlation",
    "sync_offset_frames",
    "mouth_amplitude_percent",
    "mouth_slope_percent",
    "closure_percent",
    "closure_truth_percent",
    "closure_chance_percent",
    "rest_excess_percent",
)
"""Metrics of a mouth-opening track, by each tool.

The amplitude is all movement relative to the truth's, the slope the part of it that is correlated
with the truth: amplitude times correlation.
"""

Signal = NDArray[np.float64]
Metrics = dict[str, float]


@dataclass(frozen=True)
class VideoTracks:
    """What both tools measured in one video of T frames.

    Attributes:
        face: landmark track, None if no face was found.
        mouth: mouth tracks of the metric model [T, 3], None without the model.
    """

    face: FaceTrack | None
    mouth: Signal | None

    def jaw(self) -> Signal | None:
        """Mouth opening by the metric model, [T]."""
        return None if self.mouth is None else self.mouth[:, MOUTH_TRACKS.index("jaw")]

    def gap(self) -> Signal | None:
        """Distance between the lips by landmarks, [T]."""
        return None if self.face is None else self.face.gap


def track_video(
    frames: NDArray[np.uint8], eval_clip: EvalClip, mouth_metric: MouthMetric | None, label: str
) -> VideoTracks:
    """Measure frames [T, H, W, 3]; without landmarks, eyes and mouth are where the truth has them.

    Args:
        label: of the progress bar.
    """
    face = track_face(frames, f"landmarks, {label}")
    if mouth_metric is None:
        return VideoTracks(face, None)
    pose: Pose = (
        pose_of(eval_clip.eyes_xy, eval_clip.mouth_xy)
        if face is None
        else pose_of(face.eyes_xy, face.mouth_xy)
    )
    return VideoTracks(face, track_mouth(mouth_metric, frames, pose))


def compare(
    generated: NDArray[np.uint8],
    tracks: VideoTracks,
    eval_clip: EvalClip,
    truth: VideoTracks,
    chunk: int,
) -> Metrics:
    """Every metric of one clip, by name; NaN where it cannot be measured.

    Args:
        generated: face windows, RGB uint8 [T, 256, 256, 3].
        tracks: of the generated frames.
        truth: tracks of the true frames.
        chunk: frames in a chunk.
    """
    return {
        **_mouth("ruler", tracks.jaw(), truth.jaw(), eval_clip),
        **_mouth("landmarks", tracks.gap(), truth.gap(), eval_clip),
        **_against_blendshapes(tracks, truth, eval_clip),
        **_eyes(tracks.face, truth.face),
        **_movement(generated, eval_clip, chunk),
        **_distance(generated, eval_clip),
    }


def _mouth(tool: str, opening: Signal | None, truth: Signal | None, eval_clip: EvalClip) -> Metrics:
    """Agreement of two mouth-opening tracks measured by one tool."""
    if opening is None or truth is None:
        return {f"{name}.{tool}": float("nan") for name in MOUTH_METRICS}
    spread = max(float(np.nanstd(truth)), 1e-6)
    neutral, neutral_truth = (neutral_opening(one, eval_clip.silent) for one in (opening, truth))
    closed, closed_truth = (one + CLOSED_SHARE * spread for one in (neutral, neutral_truth))
    agreement, size = correlation(opening, truth), 100 * amplitude(opening, truth)
    values = (
        agreement,
        sync_offset(opening, truth),
        size,
        size * agreement,
        100 * closed_share(opening, eval_clip.lips, closed),
        100 * closed_share(truth, eval_clip.lips, closed_truth),
        100 * closed_share(opening, np.flatnonzero(~eval_clip.silent), closed),
        100 * (neutral - neutral_truth) / spread,
    )
    return {f"{name}.{tool}": value for name, value in zip(MOUTH_METRICS, values, strict=True)}


def neutral_opening(opening: Signal, silent: NDArray[np.bool_]) -> float:
    """Median opening in silence, or the 5th percentile of all frames if there is too little."""
    finite = np.isfinite(opening)
    if not finite.any():
        return float("nan")
    quiet = opening[silent & finite]
    if quiet.size >= NEUTRAL_FRAMES:
        return float(np.median(quiet))
    return float(np.percentile(opening[finite], 5))


def _against_blendshapes(tracks: VideoTracks, truth: VideoTracks, eval_clip: EvalClip) -> Metrics:
    """Correlation with the clip's exact blendshapes: of the generated frames, and of the true
    frames, which is the upper bound of each tool."""
    exact = true_mouth_tracks(eval_clip.clip.mouth[: eval_clip.frames])
    videos = (("known", tracks), ("ceiling", truth))
    metrics: Metrics = {}
    for k, name in enumerate(MOUTH_TRACKS):
        for kind, video in videos:
            value = float("nan")
            if video.mouth is not None:
                value = correlation(video.mouth[:, k], exact[:, k])
            metrics[f"{name}_{kind}.ruler"] = value
    jaw = exact[:, MOUTH_TRACKS.index("jaw")]
    for kind, video in videos:
        gap = video.gap()
        metrics[f"jaw_{kind}.landmarks"] = float("nan") if gap is None else correlation(gap, jaw)
    return metrics


def _eyes(face: FaceTrack | None, truth: FaceTrack | None) -> Metrics:
    metrics: Metrics = {}
    for suffix, track in (("", face), ("_truth", truth)):
        found = None if track is None else blinks(track.eyes, FPS)
        metrics[f"blinks_per_minute{suffix}"] = float("nan") if found is None else found.per_minute
        metrics[f"blink_depth{suffix}"] = float("nan") if found is None else found.depth
    return metrics


def _movement(generated: NDArray[np.uint8], eval_clip: EvalClip, chunk: int) -> Metrics:
    """Frame changes, chunk borders and drift, each with the same of the truth."""
    metrics: Metrics = {}
    changes = {}
    for suffix, frames in (("", generated), ("_truth", eval_clip.truth)):
        changes[suffix] = frame_changes(frames, eval_clip.head)
        metrics[f"border_ratio{suffix}"] = border_ratio(changes[suffix], chunk)
        metrics[f"drift_background{suffix}"] = picture_drift(frames, eval_clip.background, FPS)
        metrics[f"drift_colour{suffix}"] = colour_drift(frames, eval_clip.head, FPS)
    expected = changes["_truth"].mean()
    metrics["frame_change"] = float(changes[""].mean() / expected) if expected else float("nan")
    metrics["border_excess"] = metrics["border_ratio"] / metrics["border_ratio_truth"]
    for name in ("drift_background", "drift_colour"):
        metrics[f"{name}_excess"] = metrics[name] - metrics[f"{name}_truth"]
    return metrics


def _distance(generated: NDArray[np.uint8], eval_clip: EvalClip) -> Metrics:
    """PSNR against the truth, and that of the still portrait; dB."""
    boxes = eval_clip.boxes
    still = np.broadcast_to(eval_clip.portrait, eval_clip.truth.shape)
    return {
        "psnr": psnr(generated, eval_clip.truth),
        "psnr_still": psnr(still, eval_clip.truth),
        "psnr_mouth": psnr(generated, eval_clip.truth, boxes),
        "psnr_mouth_still": psnr(still, eval_clip.truth, boxes),
    }


def compare_pictures(
    generated: GeneratedVideo,
    eval_clip: EvalClip,
    truth: VideoTracks,
    portrait: NDArray[np.uint8] | None,
) -> Metrics:
    """Colour of the mouth's inside, sharpness and flicker.

    Args:
        truth: tracks of the true windows, whose lips bound the inside of the mouth.
        portrait: as the whole frames show it, RGB uint8 [H, W, 3], if known.
    """
    windows, colour = generated.windows, MouthColour()
    if truth.face is not None:
        for window, true, (upper, lower) in zip(
            windows, eval_clip.truth, truth.face.lips, strict=True
        ):
            colour.add(window, true, between_lips(upper, lower, window.shape[:2]))
    cover = np.asarray(eval_clip.head * 255, np.uint8)
    boxes = eval_clip.boxes
    made, true_energy = (mouth_energy(video, boxes) for video in (windows, eval_clip.truth))
    return {
        "chroma_error": colour.error(),
        "bluest": colour.bluest(),
        "sharpness_mouth_percent": 100 * made / max(true_energy, 1e-6),
        "flicker": flicker(windows, still_in_truth(eval_clip.truth, cover)),
        **sharpness_against_portrait(generated, portrait, boxes),
    }


def compare_identity(
    embedder: IdentityEmbedder, windows: NDArray[np.uint8], eval_clip: EvalClip
) -> Metrics:
    """Distance of the face from the portrait's, and that of the truth; mean of a frame a second."""
    portrait = embedder.embed(eval_clip.portrait)
    metrics: Metrics = {}
    for suffix, video in (("", windows), ("_truth", eval_clip.truth)):
        away = [distance(embedder.embed(frame), portrait) for frame in video[::IDENTITY_EVERY]]
        metrics[f"identity{suffix}"] = float(np.mean(away))
    metrics["identity_excess"] = metrics["identity"] - metrics["identity_truth"]
    return metrics
