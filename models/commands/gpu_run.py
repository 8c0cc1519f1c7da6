"""Draws a pack's portraits as clips, trains ``mini`` on them with `livehead train`, and exports."""

from __future__ import annotations

import argparse
import json
import math
import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import torch

from models.commands import train
from models.commands.data_photos import draw_clip, plan_clips, report_refused
from models.commands.workers import run_in_processes
from models.dataset.clips import is_finished, list_clips
from models.dataset.recordings import FIRST_HELD_OUT
from models.errors import LiveheadError
from models.io.console import emit_json, say
from models.mini.audio import AudioEncoder
from models.puppets.clip_writer import PhotoClipPlan, clip_folder
from models.puppets.portraits import list_portraits
from models.training.pack import unpack_recordings
from models.training.speech_features import encode_clip_speech

RESERVE = 15.0
"""Seconds at the end for the last validation and the export."""
LAST_CLIPS = 20.0
"""Seconds for the clips that were begun in time; a process that hangs costs no more."""
TINY_CLIPS, TINY_FRAMES = {"held_out": 1, "train": 3}, 48
"""A rehearsal's clips, and their length."""
_encoder: AudioEncoder | None = None


def run(args: argparse.Namespace, machine: dict[str, Any], started: float) -> int:
    """Draw, train, export; what was done stays in ``--work``, and a second run goes on with it.

    Args:
        args: the options of ``models.commands.gpu_train``.
        machine: what it found.
        started: when it started, seconds.

    Raises:
        LiveheadError: too little could be drawn, or no time is left to train.
    """
    device = "cpu" if args.tiny else "cuda"
    stop_at = started + 60 * args.minutes - RESERVE
    seconds: dict[str, float] = {}
    report: dict[str, Any] = {"machine": machine, "seconds": seconds}

    def done(phase: str) -> None:
        seconds[phase] = round(time.time() - started - sum(seconds.values()), 1)
        say(f"[{time.time() - started:4.0f} s] {phase}: {seconds[phase]:.1f} s")

    done("check")
    data, training = args.work / "data", args.work / "training"
    report["clips"] = draw(args, data, training / "speech", started + 60 * args.draw_minutes)
    done("draw")
    common = ["--data", data, "--out", training, "--device", device, "--start", args.start]
    if args.codec_minutes > 0:
        minutes = min(args.codec_minutes, (stop_at - time.time()) / 60)
        _train(["codec", *common, "--minutes", minutes])
        done("codec")
    codec = [] if args.codec_minutes > 0 else ["--codec", args.start]
    words = ["mini", *common, *codec, "--minutes", 0.1 if args.tiny else math.inf]
    few = ["--reader-steps", 2] if args.tiny else ["--batch-scale", args.batch_scale]
    train.train_mini(_parse([*words, *few]), stop_at)
    done("encode and train")
    args.out.mkdir(parents=True, exist_ok=True)
    _train(["export", "--out", training, "--weights", args.out / "weights"])
    for name in ("codec", "mini"):
        if (training / name / "curve.jsonl").exists():
            shutil.copy(training / name / "curve.jsonl", args.out / f"curve-{name}.jsonl")
    done("export")
    (args.out / "report.json").write_text(json.dumps(report, indent=1), encoding="utf-8")
    emit_json(report)
    return 0


def draw(args: argparse.Namespace, data: Path, speech: Path, stop_at: float) -> dict[str, int]:
    """Draw clips of the pack into ``data`` until ``stop_at``, held-out ones first.

    Returns:
        How many clips there are, by split.

    Raises:
        LiveheadError: too few for a training.
    """
    names = unpack_recordings(args.pack, data / "speech")
    recordings = sum(int(name) < FIRST_HELD_OUT for name in names)
    sources = list_portraits(args.pack / "portraits")
    plans = plan_clips(sources, data / "speech", args.takes, args.seconds, recordings)
    plans.sort(key=lambda plan: plan.split)  # "held_out" < "train"
    if args.tiny:
        parts = [[p for p in plans if p.split == split][:n] for split, n in TINY_CLIPS.items()]
        plans = [replace(p, frames=min(p.frames, TINY_FRAMES)) for part in parts for p in part]
        stop_at = math.inf
    pending = [plan for plan in plans if not is_finished(clip_folder(data, plan))]
    if pending and time.time() < stop_at:
        results = run_in_processes(
            [(plan, data, speech, stop_at) for plan in pending],
            _draw_and_listen,
            start=_start_drawing,
            workers=args.workers,
            label="frames",
            total=sum(plan.frames for plan in pending),
            unit="frame",
            give_up=lambda: time.time() > stop_at + LAST_CLIPS,
        )
        report_refused(data / "refused.json", dict(filter(None, results)))
    clips = {split: len(list_clips(data, split)) for split in ("train", "held_out")}
    say(f"{clips['train']} clips to train on, {clips['held_out']} held out, of {len(plans)}")
    if clips["train"] < 2 or clips["held_out"] < 1:
        raise LiveheadError(
            "expected at least 2 clips to train on and 1 held out, got"
            f" {clips['train']} and {clips['held_out']}; give --draw-minutes more",
            code="bad_option",
        )
    return clips


def _start_drawing() -> None:
    global _encoder
    _encoder = AudioEncoder()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)


def _draw_and_listen(
    plan: PhotoClipPlan, data: Path, speech: Path, stop_at: float
) -> tuple[str, str] | None:
    """Draw a clip and encode its speech, in a process that shares the work with others."""
    assert _encoder is not None
    if time.time() >= stop_at:
        return None
    refused = draw_clip(plan, data)
    if refused is None:
        encode_clip_speech(_encoder, clip_folder(data, plan), speech)
    return refused


def _train(words: Sequence[object]) -> None:
    """Run a sub-command of `livehead train`."""
    train.run(_parse(words))


def _parse(words: Sequence[object]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="livehead train")
    train.add_arguments(parser)
    return parser.parse_args([str(word) for word in words])
