"""``livehead data photos``: talking clips with exact truth from a folder of portraits."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from models.commands.workers import count, parse_part, run_in_processes
from models.dataset.clips import FPS, Split, is_finished
from models.dataset.recordings import is_recorded
from models.errors import LiveheadError, PortraitError
from models.io.console import say
from models.puppets.clip_writer import PhotoClipPlan, clip_folder, write_clip
from models.puppets.portraits import PortraitFile, find_portrait, list_portraits
from models.puppets.speech_pool import (
    SECONDS,
    Recording,
    plan_recordings,
    recording_folder,
    write_recording,
)
from models.synth.assets import open_assets
from models.synth.text_to_speech import TextToSpeech

FIRST_HELD_OUT = 9000
HELD_OUT_RECORDINGS = 16
HELD_OUT_SECONDS = 12.0
_text_to_speech: TextToSpeech | None = None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("--portraits", type=Path, required=True, help="folder of portraits")
    parser.add_argument("--assets", type=Path, required=True, help="folder of the speech model")
    parser.add_argument("--out", type=Path, required=True, help="data folder to write or resume")
    parser.add_argument("--takes", type=int, default=1, help="clips of each portrait")
    parser.add_argument("--seconds", type=float, default=6.4, help="of a training clip")
    parser.add_argument("--recordings", type=int, default=130, help="that the portraits share")
    parser.add_argument("--workers", type=int, default=1, help="processes")
    parser.add_argument("--part", default="0/1", help="i/n: make only every n-th clip, from i")


def run(args: argparse.Namespace) -> int:
    """Write all recordings and clips that are not finished.

    Raises:
        LiveheadError: an option or a folder cannot be used.
    """
    try:
        first, step = parse_part(args.part)
    except ValueError as error:
        raise LiveheadError(str(error), code="bad_option") from error
    if not 1 <= args.seconds <= SECONDS or min(args.takes, args.recordings, args.workers) < 1:
        raise LiveheadError(
            f"expected 1 <= --seconds <= {SECONDS:g} and --takes, --recordings and --workers >= 1,"
            f" got {args.seconds:g}, {args.takes}, {args.recordings} and {args.workers}",
            code="bad_option",
        )
    sources = list_portraits(args.portraits)
    pool = args.out / "speech"
    _speak(pool, args.assets, args.recordings, args.workers)
    plans = plan_clips(sources, pool, args.takes, args.seconds, args.recordings)[first::step]
    pending = [plan for plan in plans if not is_finished(clip_folder(args.out, plan))]
    say(f"{len(pending)} of {len(plans)} clips to make in {args.out}")
    if pending:
        results = run_in_processes(
            [(plan, args.out) for plan in pending],
            draw_clip,
            workers=args.workers,
            label="frames",
            total=sum(plan.frames for plan in pending),
            unit="frame",
        )
        report_refused(args.out / "refused.json", dict(filter(None, results)))
    return 0


def plan_clips(
    sources: list[PortraitFile], pool: Path, takes: int, seconds: float, recordings: int
) -> list[PhotoClipPlan]:
    """Clips of all portraits: every take with another recording, or another part of one."""
    frames, whole = round(seconds * FPS), round(SECONDS * FPS)
    train = [source for source in sources if source.split == "train"]
    order = np.random.default_rng(5).permutation(len(train)).tolist()
    plans = []
    for take in range(takes):
        for k, source in enumerate(train[n] for n in order):
            folder = pool / f"{(7 * k + 3 * take) % recordings:03d}"
            start = (53 * (k // recordings) + 97 * take) % (whole - frames + 1)
            plans.append(PhotoClipPlan(take * len(train) + k, source, take, folder, start, frames))
    for k, source in enumerate(s for s in sources if s.split == "held_out"):
        folder = pool / f"{900 + k % HELD_OUT_RECORDINGS:03d}"
        plans.append(
            PhotoClipPlan(FIRST_HELD_OUT + k, source, 0, folder, 0, round(HELD_OUT_SECONDS * FPS))
        )
    return plans


def _speak(pool: Path, assets: Path, recordings: int, workers: int) -> None:
    splits: tuple[tuple[Split, int], ...] = (
        ("train", recordings),
        ("held_out", HELD_OUT_RECORDINGS),
    )
    planned = [one for split, n in splits for one in plan_recordings(n, split)]
    pending = [one for one in planned if not is_recorded(recording_folder(pool, one))]
    if pending:
        open_assets(assets)  # unpacked once, before several processes want to
        run_in_processes(
            [(one, pool) for one in pending],
            _record,
            start=_load_speech,
            settings=(assets,),
            workers=workers,
            label="speech",
            total=len(pending),
            unit="recording",
        )


def _load_speech(assets: Path) -> None:
    global _text_to_speech
    _text_to_speech = TextToSpeech(open_assets(assets))


def _record(recording: Recording, pool: Path) -> None:
    assert _text_to_speech is not None
    write_recording(_text_to_speech, recording, pool)
    count()


def draw_clip(plan: PhotoClipPlan, out: Path) -> tuple[str, str] | None:
    """Write a clip, in a process of ``run_in_processes``.

    Returns:
        A portrait that cannot speak, with the reason; None for one that can.
    """
    try:
        portrait = find_portrait(plan.source)
    except PortraitError as error:
        return plan.source.path.name, str(error)
    write_clip(plan, portrait, out, count)
    return None


def report_refused(path: Path, refused: dict[str, str]) -> None:
    """Write the portraits that cannot speak and their reasons, if there are any."""
    if refused:
        path.write_text(json.dumps(refused, indent=1), encoding="utf-8")
        say(f"{len(refused)} portraits cannot be made to speak; the reasons are in {path}")
