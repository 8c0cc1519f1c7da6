"""Chooses frames of a tracked video: those to learn from, and the neutral one."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from models.face.geometry import fit_similarity
from models.face.landmarks import Landmarks
from models.face.portrait import MIN_PRESENCE
from models.finetune.footage import MIN_SECONDS, FootageError
from models.finetune.stabilise import STABLE, Floats, hold_still
from models.finetune.tracking import LandmarkTrack

MAX_TURN = np.radians(15)
"""From the median pose."""
MAX_STEP = 0.15
"""Furthest the eyes may go from one frame to the next, in distances from eyes to mouth."""
MAX_ZOOM = 1.5
"""Most by which the face may be larger or smaller than usual."""
MIN_RUN = 25
"""Frames that are used follow each other; shorter runs teach little."""
MIN_FRAMES = round(0.6 * MIN_SECONDS * 25)
NEUTRAL_FRAMES = 9
"""Landmarks of the neutral face are the median over so many frames."""
HELD_OUT_SHARE = 0.15
RIGID = (*STABLE, 1, 4, 127, 356, 234, 454)
"""Landmarks that tell how the head is turned."""
_LIPS, _LIDS = (13, 14), ((159, 145), (386, 374))
_CORNERS = (61, 291)


@dataclass(frozen=True)
class Run:
    """Frames ``start`` to ``stop`` (excluded) that are used, all for one purpose."""

    start: int
    stop: int
    held_out: bool

    @property
    def frames(self) -> int:
        """How many there are."""
        return self.stop - self.start


@dataclass(frozen=True)
class Selection:
    """What of a video is used.

    Attributes:
        runs: of frames, in order; the last ones are held out.
        reference: the frame with the most neutral face.
        neutral: landmarks of that face, [468, 3], pixels of the reference frame.
        dropped: how many frames are not used, by reason.
    """

    runs: tuple[Run, ...]
    reference: int
    neutral: Landmarks
    dropped: dict[str, int]

    @property
    def used(self) -> int:
        """How many frames are used."""
        return sum(run.frames for run in self.runs)


def select_frames(track: LandmarkTrack) -> Selection:
    """Drop what misleads, choose the neutral frame, hold out the end.

    Raises:
        FootageError: too little is left (``too_few_frames``).
    """
    lost = track.presence < MIN_PRESENCE
    turn = head_turns(track.points, ~lost)
    eyes, unit = _places(track.points)
    usual = float(np.median(unit[~lost]))
    step = np.linalg.norm(np.diff(eyes, axis=0, prepend=eyes[:1]), axis=1) / usual
    zoom = np.maximum(unit / usual, usual / np.maximum(unit, 1e-6))
    reasons = {
        "face lost": lost,
        "turned away": turn > MAX_TURN,
        "moved too much": (step > MAX_STEP) | (zoom > MAX_ZOOM),
    }
    used = np.ones(len(lost), bool)
    dropped = {}
    for reason, which in reasons.items():
        dropped[reason] = int((which & used).sum())
        used &= ~which
    spans = [span for span in _spans(used) if span[1] - span[0] >= MIN_RUN]
    left = sum(stop - start for start, stop in spans)
    dropped["between dropped ones"] = int(used.sum()) - left
    if left < MIN_FRAMES:
        raise FootageError(
            f"expected at least {MIN_FRAMES} frames with a steady face, got {left} of {len(used)}"
            f" ({', '.join(f'{k}: {n}' for k, n in dropped.items() if n)});"
            " look at the camera while speaking",
            code="too_few_frames",
        )
    kept = np.concatenate([np.arange(*span) for span in spans])
    order = kept[np.argsort(_unrest(track, turn, kept))][:NEUTRAL_FRAMES]
    best = int(order[0])
    still = hold_still(track.points[order], track.points[best])
    flat = [s.apply(p[:, :2]) for s, p in zip(still, track.points[order], strict=True)]
    neutral = np.column_stack([np.median(flat, 0), track.points[best, :, 2]])
    return Selection(
        _split(spans, left),
        best,
        Landmarks(neutral.astype(np.float32), float(track.presence[best])),
        dropped,
    )


def head_turns(points: NDArray[np.floating], found: NDArray[np.bool_]) -> Floats:
    """Angle between each found frame's direction of the head and the median one, radians, [T]."""
    rigid = points[:, list(RIGID)].astype(np.float64)
    at = np.flatnonzero(found)
    angles = np.zeros((len(points), 3))
    for k in at:
        _, turn, _ = fit_similarity(rigid[k], rigid[at[0]])
        angles[k] = cv2.Rodrigues(turn)[0][:, 0]
    away = angles[:, :2] - np.median(angles[found, :2], 0)  # roll does not hide anything
    return np.asarray(np.linalg.norm(away, axis=1))


def _places(points: NDArray[np.floating]) -> tuple[Floats, Floats]:
    """Middle of the eyes [T, 2], and distance from it to the mouth [T]."""
    marks = [Landmarks(frame, 1.0) for frame in points.astype(np.float32)]
    return np.stack([m.eyes.mean(0) for m in marks]), np.array([m.unit for m in marks])


def _unrest(track: LandmarkTrack, turn: Floats, kept: NDArray[np.intp]) -> Floats:
    """How far frames are from a neutral face, [len(kept)]: open mouth, narrow eyes, turn, blur."""
    points = track.points[kept].astype(np.float64)

    def distance(pair: tuple[int, int]) -> Floats:
        return np.asarray(np.linalg.norm(points[:, pair[0], :2] - points[:, pair[1], :2], axis=1))

    across = distance((33, 263))
    gap, width = distance(_LIPS) / across, distance(_CORNERS) / across
    lids = (distance(_LIDS[0]) + distance(_LIDS[1])) / across
    eyes_open = np.percentile(lids, 60)
    sharp = track.sharpness[kept] / np.median(track.sharpness[kept])
    unrest: Floats = (
        20 * (gap - gap.min())
        + 10 * np.maximum(0, 1 - lids / eyes_open)
        + 8 * np.abs(width / np.median(width) - 1)
        + 4 * turn[kept]
        + np.maximum(0, 1 - sharp)
    )
    return unrest


def _spans(used: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Starts and stops of runs of true values."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], used.astype(np.int8), [0]])))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]


def _split(spans: list[tuple[int, int]], frames: int) -> tuple[Run, ...]:
    """The last share of the frames is held out; a run that lies on the border is cut."""
    held_out = max(2 * MIN_RUN, round(HELD_OUT_SHARE * frames))
    left = frames - held_out
    runs = []
    for start, stop in spans:
        border = start + min(max(left, 0), stop - start)
        left -= stop - start
        runs += [Run(start, border, False), Run(border, stop, True)]
    return tuple(run for run in runs if run.frames >= MIN_RUN)
