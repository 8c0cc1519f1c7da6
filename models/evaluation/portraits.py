"""Evaluates portraits that have no true video: what they show against what was asked of them.

Each speaks twice with one seed: with its head and body at rest, so that pictures can be compared,
and with all its life, for the movement of its head.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from models.dataset.clips import FPS, Clip
from models.errors import PortraitError
from models.evaluation.asked_gap import asked_gap
from models.evaluation.compare import CLOSED_SHARE, IDENTITY_EVERY, Metrics, neutral_opening
from models.evaluation.eval_clip import gather, mouth_boxes
from models.evaluation.face_track import FaceTrack, track_face
from models.evaluation.head_motion import HeadTracker, compare_heads
from models.evaluation.identity import IdentityEmbedder, distance
from models.evaluation.joined_speech import JoinedSpeech, join_speech
from models.evaluation.measure import (
    amplitude,
    blinks,
    border_ratio,
    closed_share,
    correlation,
    frame_changes,
    sync_offset,
)
from models.evaluation.picture import Mask, flicker
from models.evaluation.report import Bar, Columns, at_least, at_most
from models.evaluation.sharpness import sharpness_against_portrait
from models.evaluation.speaking import Asked, Speaker
from models.evaluation.tasks import EvalContext
from models.face.landmarks import Landmarks, move_landmarks
from models.face.portrait import Portrait, find_face
from models.face.window import SIDE, UNIT
from models.generator import AnyGenerator
from models.io.image import load_image
from models.mini.motion import EXPRESSION
from models.mini.pipeline import MiniIdentity

PICTURES = {".png", ".jpg", ".jpeg", ".webp"}
REST = 0.05
"""Skin rests if it is asked to move by no more than this from frame to frame, window pixels."""
_AROUND_EYES = 0.45 * UNIT
"""Lids and their folds move this far from an eye, window pixels."""

LANDMARKS_SEE = 68.0
"""Percent of the asked gap that landmarks see where photo puppets show it truly: mean of 14
held-out ones, 40 to 92; their correlation is 0.95."""

PORTRAIT_BARS = (
    Bar("opening_correlation_true", ">= 0.88", at_least(0.88)),
    Bar(
        "opening_percent_true",
        "80 .. 115 % of what landmarks see of puppets",
        lambda value, _: 80 <= 100 * value / LANDMARKS_SEE <= 115,
    ),
    Bar("closure_percent", ">= 95", at_least(95)),
    Bar("sync_offset_frames", "-0.5 .. 0.5", lambda value, _: abs(value) <= 0.5),
    Bar("border_ratio", "<= 1.1", at_most(1.1)),
    Bar("flicker", "<= 1 level", at_most(1)),
    Bar("sharpness_rest_percent", ">= 97 of portrait, mouth left out", at_least(97)),
    Bar(
        "blinks_per_minute",
        "asked +- half of it",
        lambda rate, all_: (
            abs(rate - all_["blinks_per_minute_asked"]) <= 0.5 * all_["blinks_per_minute_asked"]
        ),
    ),
    *(
        Bar(f"head_{angle}_slope_percent", "80 .. 120", lambda value, _: 80 <= value <= 120)
        for angle in ("yaw", "pitch", "roll")
    ),
)
"""Each is judged on the mean over all portraits."""


@dataclass
class PortraitsEvaluation:
    """What was measured, and why some portraits were not.

    Attributes:
        metrics: by column, then by file name.
        refused: reasons by file name.
    """

    metrics: Columns = field(default_factory=dict)
    refused: dict[str, PortraitError] = field(default_factory=dict)


def list_pictures(folder: Path) -> list[Path]:
    """The pictures of a folder by name."""
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in PICTURES)


def evaluate_portraits(
    context: EvalContext, files: Sequence[Path], clips: Sequence[Clip]
) -> PortraitsEvaluation:
    """Let every portrait speak, each beginning with another of the clips' recordings."""
    found = PortraitsEvaluation()
    for k, path in enumerate(files):
        speech = join_speech(clips, round(context.seconds * FPS), k)
        for column, generator in context.generators.items():
            try:
                identity = generator.prepare(load_image(path))
            except PortraitError as error:
                found.refused[path.name] = error
                break
            label = f"{path.name}, {column}"
            measured = at_rest(generator, identity, speech, k, context.embedder, label)
            measured |= alive(generator, identity, speech, k, label)
            found.metrics.setdefault(column, {})[path.name] = measured
    return found


def at_rest(
    generator: AnyGenerator,
    identity: Any,
    speech: JoinedSpeech,
    seed: int,
    embedder: IdentityEmbedder | None,
    label: str,
) -> Metrics:
    """Mouth, eyes and picture of a portrait that speaks with its head at rest.

    Returns:
        Metrics by name, NaN where one cannot be measured. ``opening_*``: gap between the lips by
        landmarks against the gap that the true units, or those that the model heard, ask.
    """
    speaking = Speaker(
        generator, identity, speech.sound, seed=seed, still=True, label=f"frames of {label}"
    )
    video = gather(speaking.chunks(), identity, speaking.frames)
    asked, portrait = speaking.asked(), getattr(identity, "portrait", None)
    face = track_face(video.windows, f"landmarks of {label}")
    cover = _cover(portrait)
    mouth_xy = np.full((speaking.frames, 2), SIDE / 2) if face is None else face.mouth_xy
    changes = frame_changes(video.windows, cover)
    metrics = {
        **_opening(face, speech, asked, _upright(video.windows[0], portrait)),
        **_blinks(face, asked),
        "border_ratio": border_ratio(changes, generator.chunk_frames),
        "flicker": float("nan"),
        **sharpness_against_portrait(
            video, getattr(portrait, "picture", None), mouth_boxes(mouth_xy)
        ),
    }
    if asked is not None and isinstance(identity, MiniIdentity):
        still = resting_skin(identity, asked, cover > 0)
        metrics["flicker"] = flicker(video.windows, still)
    if embedder is not None and portrait is not None:
        like = embedder.embed(portrait.window)
        away = [distance(embedder.embed(one), like) for one in video.windows[::IDENTITY_EVERY]]
        metrics["identity"] = float(np.mean(away))
    return metrics


def alive(
    generator: AnyGenerator, identity: Any, speech: JoinedSpeech, seed: int, label: str
) -> Metrics:
    """Movement of the head of a portrait that speaks with all its life, in whole frames."""
    speaking = Speaker(generator, identity, speech.sound, seed=seed, label=f"life of {label}")
    frames = (frame for chunk in speaking.chunks() for frame in chunk)
    picture = getattr(getattr(identity, "portrait", None), "picture", None)
    try:
        tracker = HeadTracker(next(frames) if picture is None else picture)
    except PortraitError:  # a drawing in which the model found a face that is not found again
        return compare_heads(np.full((speaking.frames, 3), np.nan), None)
    seen = np.stack([tracker.angles(frame) for frame in frames])
    asked = speaking.asked()
    return compare_heads(seen, None if asked is None else asked.head)


def _cover(portrait: Portrait | None) -> NDArray[np.float32]:
    """Where skin may move, [256, 256] of 0 and 1; everywhere if that is not known."""
    cover = getattr(portrait, "cover", None)
    if cover is None:
        return np.ones((SIDE, SIDE), np.float32)
    return np.asarray(cv2.resize(cover, (SIDE, SIDE)) > 0.5, np.float32)


def _upright(window: NDArray[np.uint8], portrait: Portrait | None) -> Landmarks | None:
    """Landmarks of a portrait in its window, found in a frame's window if it does not say them."""
    known = getattr(portrait, "landmarks", None)
    if portrait is not None and known is not None:
        return move_landmarks(known, portrait.to_window)
    try:
        return find_face(window)
    except PortraitError:
        return None


def _opening(
    face: FaceTrack | None, speech: JoinedSpeech, asked: Asked | None, marks: Landmarks | None
) -> Metrics:
    unknown = np.full(speech.frames, np.nan)
    gap = unknown if face is None else face.gap
    true = unknown if marks is None else asked_gap(speech.mouth, marks)
    heard = unknown if marks is None or asked is None else asked_gap(asked.mouth, marks)
    closed = neutral_opening(gap, speech.silent) + CLOSED_SHARE * float(true.std())
    return {
        "opening_correlation_true": correlation(gap, true),
        "opening_percent_true": 100 * amplitude(gap, true),
        "opening_correlation_heard": correlation(gap, heard),
        "opening_percent_heard": 100 * amplitude(gap, heard),
        "sync_offset_frames": sync_offset(gap, true),
        "closure_percent": 100 * closed_share(gap, speech.lips, closed),
        "closure_chance_percent": 100 * closed_share(gap, np.flatnonzero(~speech.silent), closed),
    }


def _blinks(face: FaceTrack | None, asked: Asked | None) -> Metrics:
    metrics = {}
    lids = None if asked is None else 1.0 - asked.expression[:, EXPRESSION.index("blink")]
    for suffix, openness in (("", None if face is None else face.eyes), ("_asked", lids)):
        found = None if openness is None else blinks(openness, FPS)
        metrics[f"blinks_per_minute{suffix}"] = float("nan") if found is None else found.per_minute
        metrics[f"blink_depth{suffix}"] = float("nan") if found is None else found.depth
    return metrics


def resting_skin(identity: MiniIdentity, asked: Asked, cover: Mask) -> Iterator[Mask]:
    """Skin away from the eyes that is asked to rest between each frame and the next, [256, 256].

    Args:
        cover: where there is skin, [256, 256].
    """
    portrait = identity.portrait
    skin = cover.astype(np.uint8)
    for x, y in portrait.to_window.apply(portrait.eyes_xy.reshape(2, 2)):
        cv2.circle(skin, (round(x), round(y)), round(_AROUND_EYES), (0,), -1)
    places = (
        identity.skin.displacement(mouth, expression)
        for mouth, expression in zip(asked.mouth, asked.expression, strict=True)
    )
    for before, after in pairwise(places):
        moved = cv2.resize(np.linalg.norm(after - before, axis=2), (SIDE, SIDE))
        yield (moved <= REST) & (skin > 0)
