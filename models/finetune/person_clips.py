"""Writes the clips of a person's video, in the format of every other clip."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.dataset.clip_files import finish_clip, to_cover, write_audio, write_portrait
from models.dataset.clips import FRAME_SAMPLES
from models.dataset.frames import write_frames
from models.face.geometry import Similarity, cut
from models.face.landmarks import Landmarks, move_landmarks, steady_landmarks
from models.face.window import SIDE, face_cover, face_window
from models.finetune.eyes import LidWatch, blinks_of
from models.finetune.fitting import fit_units, split_units
from models.finetune.footage import Footage
from models.finetune.selection import Run, Selection
from models.finetune.stabilise import Floats, hold_still, smooth
from models.finetune.tracking import LandmarkTrack
from models.io.console import progress
from models.mini.motion import MOTION

STEADY = 1.0
"""Frames over which the head's place is smoothed; landmarks tremble, heads do not."""


class PersonClips:
    """Turns a tracked video into clips.

    Attributes:
        window: from pixels of the reference frame to the face window.
        rest: landmarks of that frame, and ``neutral``: of the neutral face, window pixels.
    """

    def __init__(self, footage: Footage, track: LandmarkTrack, selection: Selection) -> None:
        self.footage, self.track, self.selection = footage, track, selection
        self._reference = next(islice(footage.frames(), selection.reference, None))
        # As for a portrait that is shown later, so that its window is the one learnt.
        found = steady_landmarks(self._reference, selection.neutral)
        self.window = face_window(found)
        self.rest = move_landmarks(found, self.window)
        self.neutral = move_landmarks(selection.neutral, self.window)
        self._photo = cut(self._reference, self.window, SIDE, "edge")

    def write(self, folder: Path) -> dict[str, NDArray[np.float32]]:
        """Write ``folder/clips/NNNN``; the mouth's units of all frames used, by clip."""
        frames = enumerate(self.footage.frames())
        total = self.selection.runs[-1].stop
        shown = iter(progress(frames, "cutting windows", total))
        mouths = {}
        for number, run in enumerate(self.selection.runs):
            clip = folder / "clips" / f"{number:04d}"
            clip.mkdir(parents=True)
            pictures = (picture for k, picture in shown if k >= run.start)
            mouths[clip.name] = self._write(clip, run, pictures)
        write_portrait(folder, self._reference)
        return mouths

    def _write(
        self, clip: Path, run: Run, pictures: Iterator[NDArray[np.uint8]]
    ) -> NDArray[np.float32]:
        to_window = self.windows(run)
        mouth, brow = self.units(run, to_window)
        motion = np.zeros((run.frames, len(MOTION)), np.float32)
        motion[:, MOTION.index("brow")] = brow
        watch = LidWatch(self._photo, self.rest.eyes)
        unlike: list[float] = []

        def windows() -> Iterator[NDArray[np.uint8]]:
            for window, picture in zip(to_window, pictures, strict=False):
                cropped = cut(picture, window, SIDE, "edge")
                unlike.append(watch.unlike(cropped))
                yield cropped

        write_frames(clip / "video.npz", windows())
        motion[:, MOTION.index("blink")] = blinks_of(np.array(unlike))
        np.savez(
            clip / "track.npz",
            mouth=mouth,
            motion=motion,
            mouth_xy=self._mouths(run, to_window),
            eyes_xy=np.tile(self.rest.eyes.reshape(4), (run.frames, 1)).astype(np.float32),
            neutral=self._photo,
            photo=self._photo,
            cover=to_cover(face_cover(self.rest.points[:, :2])),
            window=self.window.matrix,
        )
        write_portrait(clip, self._reference)
        samples = slice(run.start * FRAME_SAMPLES, run.stop * FRAME_SAMPLES)
        write_audio(clip / "audio.wav", self.footage.sound[samples])
        split = "held_out" if run.held_out else "train"
        finish_clip(clip, {"split": split, "identity_seed": 0, "start": run.start})
        return mouth

    def windows(self, run: Run) -> list[Similarity]:
        """From each frame's pixels to the window in which the head stands still."""
        points = smooth(self.track.points[run.start : run.stop], STEADY)
        still = hold_still(points, self.selection.neutral.points)
        return [frame.then(self.window) for frame in still]

    def units(
        self, run: Run, to_window: list[Similarity]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Mouth [T, 13] and brow [T] of a run."""
        moved = self._points(run, to_window) - self.neutral.points[:, :2]
        return split_units(fit_units(moved, self.neutral.points))

    def _points(self, run: Run, to_window: list[Similarity]) -> Floats:
        points = self.track.points[run.start : run.stop]
        return np.stack([w.apply(p[:, :2]) for w, p in zip(to_window, points, strict=True)])

    def _mouths(self, run: Run, to_window: list[Similarity]) -> NDArray[np.float32]:
        """Centre of the mouth in the window, [T, 2]."""
        flat = self._points(run, to_window).astype(np.float32)
        return np.stack([Landmarks(points, 1.0).mouth for points in flat])
