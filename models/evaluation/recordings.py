"""Evaluates recordings without a true video: as they are, and as other devices pass them on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.evaluation.channels import CHANNELS
from models.evaluation.compare import Metrics, Reading, Signal
from models.evaluation.eval_clip import gather
from models.evaluation.faces import track_face
from models.evaluation.mouth_metric import MouthMetric, pose_of, read_frames
from models.evaluation.pictures import draw_speech
from models.evaluation.speech import calm, compare_with_clean, compare_with_sound, loudness
from models.evaluation.tasks import Setting
from models.evaluation.timing import TimedGenerator
from models.generator import frame_count, generate_all
from models.io.audio import read_speech
from models.io.console import progress
from models.io.contact_sheet import MouthBox, mouth_box_of

Sound = NDArray[np.float32]


@dataclass(frozen=True)
class Speaker:
    """Who speaks the recordings: an identity, where its mouth is, and how its portrait reads."""

    identity: object
    place: MouthBox
    still: Reading


def evaluate_speech(
    setting: Setting, picture: NDArray[np.uint8], files: Sequence[Path]
) -> dict[str, dict[str, Metrics]]:
    """Let a portrait speak recordings; metrics by file name, then by channel (``CHANNELS``).

    Every channel is held against the loudness of the recording itself, and against the mouth that
    was made of the recording itself.
    """
    identity = setting.generator.prepare(picture)
    place = mouth_box_of(identity, setting.generator.size)
    speaker = Speaker(identity, place, _still(identity, setting.ruler))
    return {path.name: _evaluate_file(setting, speaker, path) for path in files}


def _evaluate_file(setting: Setting, speaker: Speaker, path: Path) -> dict[str, Metrics]:
    rate = setting.generator.sample_rate
    speech = read_speech(path, rate)[: round(setting.seconds * rate)]
    clean: dict[str, Signal] = {}
    found: dict[str, Metrics] = {}
    for channel, passed_on in CHANNELS.items():
        name = path.stem if not found else f"{path.stem}_{channel}"
        reading, metrics = _speak(setting, speaker, passed_on(speech, rate), name)
        for tool, opening, still in _openings(reading, speaker.still):
            metrics |= compare_with_sound(opening, still, speech, tool, setting.generator.fps)
            if tool in clean:
                metrics |= compare_with_clean(opening, clean[tool], tool)
            elif not found:
                clean[tool] = opening
        found[channel] = metrics
    return found


def _speak(setting: Setting, speaker: Speaker, heard: Sound, name: str) -> tuple[Reading, Metrics]:
    """Make the video of what a generator hears; read it, draw it, and measure how calm it is."""
    timed = TimedGenerator(setting.generator)
    count = frame_count(timed, heard.size)
    chunks = progress(
        generate_all(timed, timed.open(speaker.identity), heard),
        f"frames of {name}",
        -(-count // timed.chunk_frames),
    )
    frames = gather(chunks, (count, *timed.size, 3))
    reading = _read_alone(frames, setting.ruler, name)
    eyes = None if reading.face is None else reading.face.eyes
    metrics = calm(frames, eyes, timed.chunk_frames, timed.fps)
    metrics["ms_per_frame"] = 1000 * timed.watch.seconds / count
    if setting.out:
        curve = {"loudness": loudness(heard, timed.fps)}
        draw_speech(setting.out, name, frames, speaker.place, reading, curve, timed.fps)
    return reading, metrics


def _read_alone(frames: NDArray[np.uint8], ruler: MouthMetric | None, label: str) -> Reading:
    """Read a video without truth; the ruler needs landmarks to know where the mouth is."""
    face = track_face(frames, f"landmarks, {label}")
    if ruler is None or face is None:
        return Reading(face, None)
    return Reading(face, read_frames(ruler, frames, pose_of(face.eyes_xy, face.mouth_xy)))


def _still(identity: object, ruler: MouthMetric | None) -> Reading:
    """How the portrait itself reads; as nothing where an identity does not show it."""
    picture = getattr(getattr(identity, "portrait", None), "crop", None)
    return Reading(None, None) if picture is None else _read_alone(picture[None], ruler, "portrait")


def _openings(reading: Reading, still: Reading) -> list[tuple[str, Signal, float]]:
    """Tool, mouth opening [T] and the portrait's opening, for each tool that saw something.

    Where the portrait cannot be read, the most closed twentieth of the video stands for it.
    """
    found = []
    for tool, opening, rest in (
        ("ruler", reading.jaw(), still.jaw()),
        ("landmarks", reading.gap(), still.gap()),
    ):
        if opening is not None:
            value = np.nanpercentile(opening, 5) if rest is None else rest[0]
            found.append((tool, opening, float(value)))
    return found
