"""Measures whether a portrait that speaks for minutes slowly changes colour, edges or identity.

Its head rests, so that nothing but the network changes the picture, and its last span says the same
as its first. No frame is kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from models.dataset.clips import FPS, Clip
from models.evaluation.compare import IDENTITY_EVERY, Metrics
from models.evaluation.eval_clip import window_of
from models.evaluation.identity import IdentityEmbedder, distance
from models.evaluation.joined_speech import JoinedSpeech, join_speech
from models.evaluation.report import Bar, at_most
from models.evaluation.sharpness import edge_energy
from models.evaluation.speaking import Speaker
from models.face.geometry import Similarity, cut
from models.face.window import SIDE
from models.generator import AnyGenerator

SPAN_SECONDS = 20.0
MIN_SPANS = 3
LOOKS = ("red", "green", "blue", "edges", "identity")
"""Columns of what is measured in a frame: colour of the face's window in grey levels, edge energy,
and distance to the portrait."""
UNSEEN = 0.5
"""A smaller change of colour is no trend, grey levels."""

Signal = NDArray[np.float64]


def _no_trend(trend: float, metrics: Metrics) -> bool:
    return abs(trend) <= max(metrics["colour_trend_error"], UNSEEN)


DRIFT_BARS = (
    Bar("colour_drift", "<= 2 levels", at_most(2)),
    Bar("colour_drift_largest", "<= 2 levels", at_most(2)),
    Bar("colour_trend", f"within its error or {UNSEEN:g} levels", _no_trend),
    Bar("edges_drift_percent", "-3 .. 3", lambda value, _: abs(value) <= 3),
    Bar("identity_drift", "<= 0.03", at_most(0.03)),
)


@dataclass(frozen=True)
class Drift:
    """Means of each span, [n, 5], columns ``LOOKS``; and what follows from them."""

    spans: Signal
    metrics: Metrics


def span_count(minutes: float) -> int:
    """Spans of a video, at least ``MIN_SPANS``."""
    return max(MIN_SPANS, round(minutes * 60 / SPAN_SECONDS))


def speech_for_drift(clips: Sequence[Clip], spans: int) -> JoinedSpeech:
    """Recordings one after another; the last span is the first again."""
    span = round(SPAN_SECONDS * FPS)
    speech = join_speech(clips, (spans - 1) * span)
    return speech.then(speech.first(span))


def evaluate_drift(
    generator: AnyGenerator,
    picture: NDArray[np.uint8],
    speech: JoinedSpeech,
    embedder: IdentityEmbedder | None,
    label: str,
) -> Drift:
    """Let a portrait speak and measure how it changes.

    Raises:
        PortraitError: the picture cannot be used.
    """
    identity = generator.prepare(picture)
    speaking = Speaker(generator, identity, speech.sound, still=True, label=label)
    looks = look_at_frames(speaking.chunks(), identity, embedder)
    span = round(SPAN_SECONDS * FPS)
    spans = np.stack([np.nanmean(looks[k : k + span], 0) for k in range(0, len(looks), span)])
    return Drift(spans, drift_metrics(spans))


def look_at_frames(
    chunks: Iterable[NDArray[np.uint8]], identity: Any, embedder: IdentityEmbedder | None
) -> Signal:
    """Look at the face window of every frame: [T, 5], columns ``LOOKS``.

    Identity is 0 without an embedder, and NaN in the frames between the embedded ones.
    """
    portrait = getattr(identity, "portrait", None)
    known = getattr(portrait, "window", None)
    like = None if embedder is None or known is None else embedder.embed(known)
    face = _face(portrait)
    to_window: Similarity | None = None
    looks: list[list[float]] = []
    for frame in (one for chunk in chunks for one in chunk):
        to_window = to_window or window_of(identity, frame)
        window = cut(frame, to_window, SIDE, "edge")
        away = 0.0
        if embedder is not None and like is not None:
            due = len(looks) % IDENTITY_EVERY == 0
            away = distance(embedder.embed(window), like) if due else float("nan")
        colour = cv2.mean(window, face)[:3]
        looks.append([*colour, float(edge_energy(window)[face > 0].mean()), away])
    return np.array(looks)


def _face(portrait: Any) -> NDArray[np.uint8]:
    """Where skin may move in the window, 0 or 255; everywhere if that is not known."""
    cover = getattr(portrait, "cover", None)
    if cover is None:
        return np.full((SIDE, SIDE), 255, np.uint8)
    return np.asarray(255 * (cv2.resize(cover, (SIDE, SIDE)) > 0.5), np.uint8)


def drift_metrics(spans: Signal) -> Metrics:
    """Changes between spans, [n, 5].

    Returns:
        ``*_drift``: from the first span to the last; ``*_largest``: between any two;
        ``colour_trend``: change over the whole video by a straight line, of the colour channel that
        changes most, and twice its standard error, ``colour_trend_error``.
    """
    colours, edges, away = spans[:, :3], spans[:, 3], spans[:, 4]
    change, error = max((trend(one) for one in colours.T), key=lambda found: abs(found[0]))
    return {
        "colour_drift": float(np.abs(colours[-1] - colours[0]).max()),
        "colour_drift_largest": float(np.ptp(colours, axis=0).max()),
        "colour_trend": change,
        "colour_trend_error": error,
        "edges_drift_percent": 100 * float(edges[-1] / edges[0] - 1),
        "edges_largest_percent": 100 * float(edges.max() / edges.min() - 1),
        "identity_drift": float(away[-1] - away[0]),
        "identity_largest": float(np.ptp(away)),
    }


def trend(values: Signal) -> tuple[float, float]:
    """Change of values [n >= 3] from end to end by a fitted line, and twice its standard error."""
    steps = len(values) - 1
    at = np.linspace(-0.5, 0.5, len(values))
    slope = float(at @ values / (at @ at))
    off = values - values.mean() - slope * at
    return slope, 2 * float(np.sqrt(off @ off / (steps - 1) / (at @ at)))
