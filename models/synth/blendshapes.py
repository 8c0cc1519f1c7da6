"""The 52 face units, and mouth and motion tracks expressed in them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.mini.motion import MOTION, MOUTH_UNITS

FACE_UNITS = (
    "browDownLeft",
    "browDownRight",
    "browInnerUp",
    "browOuterUpLeft",
    "browOuterUpRight",
    "cheekPuff",
    "cheekSquintLeft",
    "cheekSquintRight",
    "eyeBlinkLeft",
    "eyeBlinkRight",
    "eyeLookDownLeft",
    "eyeLookDownRight",
    "eyeLookInLeft",
    "eyeLookInRight",
    "eyeLookOutLeft",
    "eyeLookOutRight",
    "eyeLookUpLeft",
    "eyeLookUpRight",
    "eyeSquintLeft",
    "eyeSquintRight",
    "eyeWideLeft",
    "eyeWideRight",
    "jawForward",
    "jawLeft",
    "jawOpen",
    "jawRight",
    "mouthClose",
    "mouthDimpleLeft",
    "mouthDimpleRight",
    "mouthFrownLeft",
    "mouthFrownRight",
    "mouthFunnel",
    "mouthLeft",
    "mouthLowerDownLeft",
    "mouthLowerDownRight",
    "mouthPressLeft",
    "mouthPressRight",
    "mouthPucker",
    "mouthRight",
    "mouthRollLower",
    "mouthRollUpper",
    "mouthShrugLower",
    "mouthShrugUpper",
    "mouthSmileLeft",
    "mouthSmileRight",
    "mouthStretchLeft",
    "mouthStretchRight",
    "mouthUpperUpLeft",
    "mouthUpperUpRight",
    "noseSneerLeft",
    "noseSneerRight",
    "tongueOut",
)
"""The 52 face units, in alphabetical order."""

LOOK_RANGE = 0.5
"""Radians of gaze that a full eyeLook unit stands for."""


def parts_of(unit: str) -> tuple[tuple[str, float], ...]:
    """Face units that a mouth unit, or blink or brow of the motion track, stands for."""
    if unit == "blink":
        return (("eyeBlinkLeft", 1.0), ("eyeBlinkRight", 1.0))
    if unit == "brow":
        return (("browInnerUp", 1.0), ("browOuterUpLeft", 0.6), ("browOuterUpRight", 0.6))
    if unit in FACE_UNITS:
        return ((unit, 1.0),)
    return ((unit + "Left", 1.0), (unit + "Right", 1.0))


def to_arkit(mouth: NDArray[np.float32], motion: NDArray[np.float32]) -> NDArray[np.float32]:
    """Express tracks in the 52 face units; head pose is no face unit and is left out.

    Args:
        mouth: [T, 13], columns ``MOUTH_UNITS``.
        motion: [T, 7], columns ``MOTION``.

    Returns:
        float32 [T, 52], columns ``FACE_UNITS``.

    Raises:
        ValueError: the tracks have other shapes or lengths.
    """
    want = ((len(mouth), len(MOUTH_UNITS)), (len(mouth), len(MOTION)))
    if (mouth.shape, motion.shape) != want:
        raise ValueError(f"expected tracks {want}, got {mouth.shape} and {motion.shape}")
    out = np.zeros((len(mouth), len(FACE_UNITS)), np.float32)
    sources = [(name, mouth[:, k]) for k, name in enumerate(MOUTH_UNITS)]
    sources += [(name, motion[:, MOTION.index(name)]) for name in ("blink", "brow")]
    for name, values in sources:
        for unit, share in parts_of(name):
            out[:, FACE_UNITS.index(unit)] = share * values
    yaw = motion[:, MOTION.index("gaze_yaw")] / LOOK_RANGE
    down = motion[:, MOTION.index("gaze_pitch")] / LOOK_RANGE
    # The person's left is the picture's right, so yaw > 0 turns the left eye outwards.
    looks = {
        "eyeLookOutLeft": yaw,
        "eyeLookInRight": yaw,
        "eyeLookInLeft": -yaw,
        "eyeLookOutRight": -yaw,
        "eyeLookDownLeft": down,
        "eyeLookDownRight": down,
        "eyeLookUpLeft": -down,
        "eyeLookUpRight": -down,
    }
    for name, values in looks.items():
        out[:, FACE_UNITS.index(name)] = np.clip(values, 0.0, 1.0)
    return out
