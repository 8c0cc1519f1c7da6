"""What limits a portrait: each with a code, a sentence, and a hint for a better picture."""

from __future__ import annotations

from dataclasses import dataclass

from models.face.report import PortraitLimit, PortraitReport

WARN_YAW = 18.0
WARN_PITCH = 20.0
WARN_ROLL = 10.0
WARN_MISSING = 0.05
WARN_UNIT = 36.0
"""Distance from the eyes to the mouth below which a face looks soft, pixels of the picture."""
WARN_SHARPNESS = 0.35
WARN_PRESENCE = 0.9
WARN_LIGHT = 70.0
WARN_ASPECT = 1.12
"""Longer over shorter side from which a face in a picture pressed into a square looks wrong."""


@dataclass(frozen=True)
class Circumstances:
    """What a report does not hold.

    Attributes:
        presence: how certain it is that this is a face, [0, 1].
        light: brightness of the face's lightest parts, 0 to 255.
        chosen: by a box.
        closes_lips: whether the portrait is given closed lips.
        aspect: width over height of what is pressed into a square; 1 where it keeps its aspect.
    """

    presence: float
    light: float
    chosen: bool
    closes_lips: bool = True
    aspect: float = 1.0


def limits_of(report: PortraitReport, seen: Circumstances) -> tuple[PortraitLimit, ...]:
    """What limits a portrait, the most important first."""
    limits = []
    if report.faces > 1 and not seen.chosen:
        limits.append(
            PortraitLimit(
                "several_faces",
                f"There are {report.faces} people; the largest face was taken, or of several as"
                " large the most central one.",
                "Choose another with a box around the face, or cut the picture.",
            )
        )
    if seen.presence < WARN_PRESENCE:
        limits.append(
            PortraitLimit(
                "uncertain_face",
                "Eyes and mouth could not be located with certainty.",
                "A face that is uncovered, or drawn with clear eyes and a clear mouth, moves"
                " better.",
            )
        )
    if max(seen.aspect, 1 / seen.aspect) > WARN_ASPECT:
        what = "wider than high" if seen.aspect > 1 else "higher than wide"
        limits.append(
            PortraitLimit(
                "squeezed",
                f"The picture is {what}; this model presses it, and the face, into a square.",
                "Cut it to a square around head and shoulders.",
            )
        )
    limits += _pose(report)
    limits += _detail(report, seen)
    if seen.closes_lips and report.mouth in ("open", "smile_with_teeth"):
        what = "mouth is open" if report.mouth == "open" else "teeth show"
        limits.append(
            PortraitLimit(
                "mouth_open",
                f"The {what}; the portrait was given closed lips.",
                "A picture with the lips together looks most like the person.",
            )
        )
    return tuple(limits)


def _pose(report: PortraitReport) -> list[PortraitLimit]:
    limits = []
    if abs(report.yaw) > WARN_YAW:
        limits.append(
            PortraitLimit(
                "face_turned",
                f"The face is turned aside by {abs(report.yaw):.0f} degrees.",
                "One taken from the front moves better.",
            )
        )
    if abs(report.pitch) > WARN_PITCH:
        limits.append(
            PortraitLimit(
                "face_pitched",
                f"The face looks {'down' if report.pitch > 0 else 'up'} by"
                f" {abs(report.pitch):.0f} degrees.",
                "One taken at the height of the eyes moves better.",
            )
        )
    if abs(report.roll) > WARN_ROLL:
        limits.append(
            PortraitLimit(
                "head_tilted",
                f"The head is tilted by {abs(report.roll):.0f} degrees.",
                "An upright one moves better.",
            )
        )
    return limits


def _detail(report: PortraitReport, seen: Circumstances) -> list[PortraitLimit]:
    limits = []
    small = report.eye_mouth_px < WARN_UNIT
    if small:
        limits.append(
            PortraitLimit(
                "low_resolution",
                f"The face is small, {report.eye_mouth_px:.0f} pixels from eyes to mouth; it will"
                " look soft.",
                "Use a larger picture, or one taken from nearer.",
            )
        )
    if report.sharpness < WARN_SHARPNESS and not small:
        limits.append(
            PortraitLimit("blurred", "The face is blurred.", "Use a sharper picture of it.")
        )
    if report.beyond_picture > WARN_MISSING:
        limits.append(
            PortraitLimit(
                "close_crop",
                f"The picture ends close to the head; {100 * report.beyond_picture:.0f} % of the"
                " view was filled in.",
                "Leave more room around the head.",
            )
        )
    if seen.light < WARN_LIGHT:
        limits.append(
            PortraitLimit(
                "dark", "There is hardly any light on the face.", "Use a picture in better light."
            )
        )
    return limits
