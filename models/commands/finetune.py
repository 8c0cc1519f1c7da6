"""``livehead finetune``: a weights folder that knows one person, from a video of them speaking."""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from models.dataset.clips import FPS
from models.errors import LiveheadError
from models.finetune.consent import Consent, ask_consent, write_consent
from models.finetune.footage import read_footage
from models.finetune.person_clips import PersonClips
from models.finetune.personal import finetune
from models.finetune.selection import Selection, select_frames
from models.finetune.tracking import track_landmarks
from models.io.console import emit_json, say, table
from models.mini.checkpoint import BUNDLED, load_mini_networks
from models.mini.motion import MOUTH_UNITS
from models.training.perceptual import PerceptualDistance

MINUTES = 15.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--video",
        type=Path,
        required=True,
        metavar="FILE",
        help="one person who looks at the camera and speaks, a minute or more",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to make")
    parser.add_argument(
        "--minutes", type=float, default=MINUTES, help="training time (default %(default)g)"
    )
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument(
        "--weights",
        type=Path,
        default=BUNDLED,
        metavar="DIR",
        help="weights to begin with (default: the bundled ones)",
    )
    parser.add_argument(
        "--yes", action="store_true", help="the person consents; recorded as if typed"
    )
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")


def run(
    args: argparse.Namespace,
    *,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    answer: Callable[[str], str] = input,
) -> int:
    """Track the person of a video, train on them, and write the weights.

    Raises:
        LiveheadError: there is no consent, or the video, an option or weights cannot be used.
    """
    _check(args)
    footage = read_footage(args.video)
    load_mini_networks(args.weights)  # what is missing is found before the work
    PerceptualDistance()
    consent = ask_consent(args.video, agreed=args.yes, now=now, answer=answer)
    torch.set_num_threads(args.threads)
    track = track_landmarks(footage.frames(), footage.length)
    selection = select_frames(track)
    args.out.mkdir(parents=True, exist_ok=True)
    write_consent(args.out, consent)
    mouths = PersonClips(footage, track, selection).write(args.out)
    units = np.concatenate(list(mouths.values()))
    _say_found(selection, footage.length, units)
    source = _source(consent, selection, args.minutes)
    best = finetune(args.out, args.weights, minutes=args.minutes, source=source)
    say(
        f"loss on the held-out part: {best.before:.4f} before, {best.after:.4f} after"
        f" (step {best.step} of {best.last} is kept)"
    )
    say(f"wrote {args.out}; use it with --weights {args.out} and {args.out / 'portrait.jpg'}")
    if args.json:
        emit_json(
            {
                "frames": footage.length,
                "frames_used": selection.used,
                "dropped": selection.dropped,
                "reference_frame": selection.reference,
                "units": _ranges(units),
                "held_out_loss": {"before": round(best.before, 5), "after": round(best.after, 5)},
                "mouth_gain": round(best.gain, 3),
                "steps": best.last,
                "kept_step": best.step,
                "out": str(args.out),
            }
        )
    return 0


def _check(args: argparse.Namespace) -> None:
    """Check the options before anything is computed.

    Raises:
        LiveheadError: one is impossible (``bad_option``).
    """
    if args.threads < 1 or not 0 < args.minutes < math.inf:
        raise _bad(
            "expected at least one thread and some minutes, got"
            f" --threads {args.threads} --minutes {args.minutes}"
        )
    if not args.video.is_file():
        raise _bad(f"expected a video file, got no file at {args.video}")
    if args.out.exists() and not (args.out.is_dir() and not any(args.out.iterdir())):
        raise _bad(f"expected a new or empty folder as --out, got {args.out}; name another")


def _bad(message: str) -> LiveheadError:
    return LiveheadError(message, code="bad_option")


def _say_found(selection: Selection, frames: int, units: NDArray[np.float32]) -> None:
    dropped = ", ".join(f"{count} {why}" for why, count in selection.dropped.items() if count)
    say(
        f"{selection.used} of {frames} frames are used ({selection.used / FPS:.0f} s);"
        f" dropped: {dropped or 'none'}"
    )
    say(f"the neutral face is at {selection.reference / FPS:.1f} s")
    table(
        ["unit", "mean", "95 %", "largest"],
        [[name, *values] for name, values in _ranges(units).items()],
    )


def _ranges(units: NDArray[np.float32]) -> dict[str, list[float]]:
    """Mean, 95th percentile and maximum of each mouth unit."""
    return {
        name: [round(float(value), 3) for value in (x.mean(), np.percentile(x, 95), x.max())]
        for name, x in zip(MOUTH_UNITS, units.T, strict=True)
    }


def _source(consent: Consent, selection: Selection, minutes: float) -> dict[str, Any]:
    """What the weights record of where they come from."""
    return {
        "video_sha256": consent.sha256,
        "seconds_used": round(selection.used / FPS, 1),
        "minutes": minutes,
        "consent": asdict(consent),
    }
