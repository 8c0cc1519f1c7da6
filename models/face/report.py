"""What was found in a picture of a person, and what limits the portrait made from it.

Plain values alone, so that a report can travel between processes and become JSON.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

MouthState = Literal["closed", "parted", "open", "smile_with_teeth"]
Box = tuple[float, float, float, float]
"""Left, top, width, height in pixels of the picture."""


@dataclass(frozen=True, slots=True)
class PortraitLimit:
    """One thing that makes a portrait less good than it could be.

    Attributes:
        code: stable, for programs.
        text: what limits it, a whole sentence.
        hint: what to do about it, a whole sentence.
    """

    code: str
    text: str
    hint: str


@dataclass(frozen=True, slots=True)
class PortraitReport:
    """What was found in a picture.

    Attributes:
        width, height: of the picture, pixels.
        face_box: of the face that was taken, brows to chin; can be given back as the box that
            chooses a person.
        eye_mouth_px: distance from the centre of the eyes to the mouth, pixels of the picture.
        yaw: degrees; positive turns to the picture's right.
        pitch: degrees; positive looks down.
        roll: degrees; positive sinks to the picture's right.
        mouth: how it is held.
        glasses: whether there are any; None where that is not certain.
        black_and_white: whether the picture has no colours.
        sharpness: of the face, 0 (blurred) to 1.
        beyond_picture: share of the view that lies beyond the picture and was filled in.
        faces: people found, this one included.
        limits: what makes the portrait less good, the most important first.
    """

    width: int
    height: int
    face_box: Box
    eye_mouth_px: float
    yaw: float
    pitch: float
    roll: float
    mouth: MouthState
    glasses: bool | None
    black_and_white: bool
    sharpness: float
    beyond_picture: float
    faces: int
    limits: tuple[PortraitLimit, ...] = ()

    @property
    def warnings(self) -> tuple[str, ...]:
        """The limits and what to do about them, for a person."""
        return tuple(f"{limit.text} {limit.hint}" for limit in self.limits)

    def in_file_pixels(self, reduction: float) -> PortraitReport:
        """The same of a file whose picture was reduced before it was looked at."""
        left, top, width, height = (round(reduction * side, 1) for side in self.face_box)
        return replace(
            self,
            width=round(reduction * self.width),
            height=round(reduction * self.height),
            face_box=(left, top, width, height),
            eye_mouth_px=round(reduction * self.eye_mouth_px, 1),
        )

    def as_record(self) -> dict[str, Any]:
        """As one JSON object."""
        record = asdict(self)
        record["face_box"] = list(self.face_box)
        record["limits"] = list(record["limits"])
        return record


def report_of(identity: object, reduction: float = 1.0) -> PortraitReport | None:
    """The report of what a generator prepared, in pixels of the file, of which ``reduction`` made
    one; None where it keeps none."""
    portrait = getattr(identity, "portrait", identity)
    report = getattr(portrait, "report", None)
    if not isinstance(report, PortraitReport):
        return None
    return report if reduction == 1 else report.in_file_pixels(reduction)
