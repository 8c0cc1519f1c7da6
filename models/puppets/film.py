"""Films a photo puppet: a whole-picture mp4 whose head sways, as unknown footage for ``finetune``.

python -m models.puppets.film CLIP OUT.mp4 RECORDING...

CLIP is a clip's folder, whose portrait speaks; RECORDING are folders of a speech pool. OUT.npz
keeps the true units.
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from models.audio import SAMPLE_RATE
from models.dataset.clips import FPS, FRAME_SAMPLES, load_clip, read_audio
from models.face.geometry import Similarity
from models.face.landmarks import steady_landmarks
from models.face.portrait import find_face
from models.face.window import EDGE, SIDE, face_window
from models.io.console import progress
from models.io.video import Mp4Writer
from models.mini.motion import HEAD, IdleMotion
from models.puppets.puppet import Puppet

SWAY = 60.0
"""Pixels that a radian of yaw or pitch shifts the picture by."""
PIVOT = 0.8
"""Height about which the head rolls, as a share of the picture's."""


def main() -> None:
    """Write the video."""
    clip, out, *recordings = (Path(word) for word in sys.argv[1:])
    picture = _even(load_clip(clip).portrait)
    landmarks = steady_landmarks(picture, find_face(picture))
    puppet, window = Puppet(picture, landmarks), face_window(landmarks)
    mouth, sound = _speech(recordings)
    motion = IdleMotion(int(clip.name), FPS).frames(len(mouth))
    size = (picture.shape[0], picture.shape[1])
    with Mp4Writer(out, size, FPS, sound[:, None], SAMPLE_RATE) as writer:
        for row, now in progress(list(zip(mouth, motion, strict=True)), "frames"):
            still = now.copy()
            still[:HEAD] = 0.0
            whole = lay_in(picture, puppet.frame(row, still).rgb, window)
            writer.write(_moved(whole, now[:HEAD]))
    np.savez(out.with_suffix(".npz"), mouth=mouth, motion=motion)


def lay_in(
    picture: NDArray[np.uint8], window: NDArray[np.uint8], to_window: Similarity
) -> NDArray[np.uint8]:
    """The picture with another face window, without a seam."""
    rim = round(EDGE)
    share = np.zeros((SIDE, SIDE), np.float32)
    share[rim:-rim, rim:-rim] = 1.0
    matrix = to_window.matrix.copy()
    matrix[:, 2] += matrix[:, :2] @ np.array([0.5, 0.5]) - 0.5
    size = picture.shape[1], picture.shape[0]
    inverse = cv2.WARP_INVERSE_MAP
    over = cv2.warpAffine(window, matrix, size, flags=cv2.INTER_CUBIC | inverse)
    soft = cv2.GaussianBlur(share, (0, 0), rim / 2.5)
    alpha = cv2.warpAffine(soft, matrix, size, flags=cv2.INTER_LINEAR | inverse)[..., None]
    return np.asarray(picture * (1 - alpha) + over * alpha + 0.5, np.uint8)


def _moved(picture: NDArray[np.uint8], pose: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Shifted by yaw and pitch, zoomed a little by pitch, rolled."""
    height, width = picture.shape[:2]
    yaw, pitch, roll = (float(value) for value in pose)
    matrix = cv2.getRotationMatrix2D(
        (width / 2, PIVOT * height), float(np.degrees(roll)), 1 + 0.3 * pitch
    )
    matrix[:, 2] += np.array([SWAY * yaw, SWAY * pitch])
    moved = cv2.warpAffine(picture, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, np.uint8)


def _speech(folders: list[Path]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mouth units [T, 13] and sound [T * 640] of recordings, one after the other."""
    mouths, sounds = [], []
    for folder in folders:
        mouth, sound = np.load(folder / "mouth.npy"), read_audio(folder / "audio.wav")
        frames = min(len(mouth), len(sound) // FRAME_SAMPLES)
        mouths.append(mouth[:frames])
        sounds.append(sound[: frames * FRAME_SAMPLES])
    return np.concatenate(mouths), np.concatenate(sounds)


def _even(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = (side // 2 * 2 for side in picture.shape[:2])
    return np.ascontiguousarray(picture[:height, :width])


if __name__ == "__main__":
    main()
