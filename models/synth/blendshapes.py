"""The 52 ARKit blendshapes, and mouth and motion tracks expressed in them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.mini.motion import MOTION, MOUTH_UNITS

ARKIT_BLENDSHAPES = (
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
"""In alphabetical order."""

GAZE_RANGE = 0.5
"""Radians of gaze at weight 1 of an eyeLook blendshape."""


def arkit_weights(blendshape: str) -> tuple[tuple[str, float], ...]:
    """ARKit blendshapes and weights of one mouth blendshape, or of blink or brow of ``MOTION``."""
    if blendshape == "blink":
        return (("eyeBlinkLeft", 1.0), ("eyeBlinkRight", 1.0))
    if blendshape == "brow":
        return (("browInnerUp", 1.0), ("browOuterUpLeft", 0.6), ("browOuterUpRight", 0.6))
    if blendshape in ARKIT_BLENDSHAPES:
        return ((blendshape, 1.0),)
    return ((blendshape + "Left", 1.0), (blendshape + "Right", 1.0))


def to_arkit(mouth: NDArray[np.float32], motion: NDArray[np.float32]) -> NDArray[np.float32]:
    """Express tracks in ARKit blendshapes; head pose is none of them and is left out.

    Args:
        mouth: [T, 13], columns ``MOUTH_UNITS``.
        motion: [T, 7], columns ``MOTION``.

    Returns:
        float32 [T, 52], columns ``ARKIT_BLENDSHAPES``.

    Raises:
        ValueError: the tracks have other shapes or lengths.
    """
    expected = ((len(mouth), len(MOUTH_UNITS)), (len(mouth), len(MOTION)))
    if (mouth.shape, motion.shape) != expected:
        raise ValueError(f"expected tracks {expected}, got {mouth.shape} and {motion.shape}")
    out = np.zeros((len(mouth), len(ARKIT_BLENDSHAPES)), np.float32)
    sources = [(name, mouth[:, k]) for k, name in enumerate(MOUTH_UNITS)]
    sources += [(name, motion[:, MOTION.index(name)]) for name in ("blink", "brow")]
    for name, values in sources:
        for blendshape, share in arkit_weights(name):
            out[:, ARKIT_BLENDSHAPES.index(blendshape)] = share * values
    yaw = motion[:, MOTION.index("gaze_yaw")] / GAZE_RANGE
    down = motion[:, MOTION.index("gaze_pitch")] / GAZE_RANGE
    # The person's left is the picture's right, so yaw > 0 turns the left eye outwards.
    gaze = {
        "eyeLookOutLeft": yaw,
        "eyeLookInRight": yaw,
        "eyeLookInLeft": -yaw,
        "eyeLookOutRight": -yaw,
        "eyeLookDownLeft": down,
        "eyeLookDownRight": down,
        "eyeLookUpLeft": -down,
        "eyeLookUpRight": -down,
    }
    for name, values in gaze.items():
        out[:, ARKIT_BLENDSHAPES.index(name)] = np.clip(values, 0.0, 1.0)
    return out
