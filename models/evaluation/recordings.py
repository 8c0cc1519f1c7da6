"""Evaluates recordings without a true video, each also through simulated devices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.evaluation.channels import CHANNELS
from models.evaluation.compare import Metrics, Signal, VideoTracks
from models.evaluation.eval_clip import gather
from models.evaluation.face_track import track_face
from models.evaluation.figures import draw_speech
from models.evaluation.mouth_metric import MouthMetric, pose_of, track_mouth
from models.evaluation.speech import (
    compare_with_clean,
    compare_with_sound,
    loudness_track,
    metrics_without_truth,
)
from models.evaluation.tasks import EvalContext
from models.evaluation.timing import TimedGenerator
from models.generator import frame_count, generate_all
from models.io.audio import read_speech
from models.io.console import progress
from models.io.contact_sheet import MouthBox, mouth_box_of

Sound = NDArray[np.float32]


@dataclass(frozen=True)
class SpeakingPortrait:
    """The portrait that speaks the recordings: its identity, mouth position and own tracks."""

    identity: object
    mouth_box: MouthBox
    tracks: VideoTracks


def evaluate_speech(
    context: EvalContext, picture: NDArray[np.uint8], files: Sequence[Path]
) -> dict[str, dict[str, Metrics]]:
    """Let a portrait speak recordings; metrics by file name, then by channel (``CHANNELS``).

    The mouth of every channel is compared with the loudness of the unprocessed recording and with
    the mouth generated from it.
    """
    identity = context.generator.prepare(picture)
    mouth_box = mouth_box_of(identity, context.generator.size)
    speaker = SpeakingPortrait(identity, mouth_box, _track_portrait(identity, context.mouth_metric))
    return {path.name: _evaluate_file(context, speaker, path) for path in files}


def _evaluate_file(
    context: EvalContext, speaker: SpeakingPortrait, path: Path
) -> dict[str, Metrics]:
    rate = context.generator.sample_rate
    speech = read_speech(path, rate)[: round(context.seconds * rate)]
    clean: dict[str, Signal] = {}
    found: dict[str, Metrics] = {}
    for channel, transmit in CHANNELS.items():
        name = path.stem if not found else f"{path.stem}_{channel}"
        tracks, metrics = _speak(context, speaker, transmit(speech, rate), name)
        for tool, opening, neutral in _openings(tracks, speaker.tracks):
            metrics |= compare_with_sound(opening, neutral, speech, tool, context.generator.fps)
            if tool in clean:
                metrics |= compare_with_clean(opening, clean[tool], tool)
            elif not found:
                clean[tool] = opening
        found[channel] = metrics
    return found


def _speak(
    context: EvalContext, speaker: SpeakingPortrait, sound: Sound, name: str
) -> tuple[VideoTracks, Metrics]:
    """Generate the video of a sound, track and draw it, and measure what needs no truth."""
    timed = TimedGenerator(context.generator)
    count = frame_count(timed, sound.size)
    chunks = progress(
        generate_all(timed, timed.open(speaker.identity), sound),
        f"frames of {name}",
        -(-count // timed.chunk_frames),
    )
    frames = gather(chunks, speaker.identity, count).windows
    tracks = _track_alone(frames, context.mouth_metric, name)
    eyes = None if tracks.face is None else tracks.face.eyes
    metrics = metrics_without_truth(frames, eyes, timed.chunk_frames, timed.fps)
    metrics["ms_per_frame"] = 1000 * timed.watch.seconds / count
    if context.out:
        curve = {"loudness": loudness_track(sound, timed.fps)}
        draw_speech(context.out, name, frames, speaker.mouth_box, tracks, curve, timed.fps)
    return tracks, metrics


def _track_alone(
    frames: NDArray[np.uint8], mouth_metric: MouthMetric | None, label: str
) -> VideoTracks:
    """Track a video without truth; the mouth metric needs landmarks to find the mouth."""
    face = track_face(frames, f"landmarks, {label}")
    if mouth_metric is None or face is None:
        return VideoTracks(face, None)
    pose = pose_of(face.eyes_xy, face.mouth_xy)
    return VideoTracks(face, track_mouth(mouth_metric, frames, pose))


def _track_portrait(identity: object, mouth_metric: MouthMetric | None) -> VideoTracks:
    """Tracks of the portrait itself; none where the identity does not hold its window."""
    picture = getattr(getattr(identity, "portrait", None), "window", None)
    if picture is None:
        return VideoTracks(None, None)
    return _track_alone(picture[None], mouth_metric, "portrait")


def _openings(tracks: VideoTracks, portrait: VideoTracks) -> list[tuple[str, Signal, float]]:
    """Tool, mouth opening [T] and neutral opening, for each tool that found a face.

    The neutral opening is the portrait's, or else the 5th percentile of the video.
    """
    found = []
    for tool, opening, neutral in (
        ("ruler", tracks.jaw(), portrait.jaw()),
        ("landmarks", tracks.gap(), portrait.gap()),
    ):
        if opening is not None:
            value = np.nanpercentile(opening, 5) if neutral is None else neutral[0]
            found.append((tool, opening, float(value)))
    return found
