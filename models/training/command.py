"""``livehead train codec | mini | export``: from synthetic clips to a weights folder."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

import torch

from models.codec import Codec
from models.console import emit_json, say
from models.lightning.plan import parse
from models.training import speech
from models.training.codec import train_codec
from models.training.latents import encode_all
from models.training.mini import train_mini
from models.training.synth.clips import list_clips
from models.weights.mini_files import load_networks, read_manifest, save_mini

DEFAULT_PLAN = "10:0,5+dfa"
BEFORE = "before.json"
"""In a training's folder: how the weights that it began with were trained, or null."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Sub-commands and their options."""
    what = parser.add_subparsers(dest="what", required=True)
    for name, minutes, text in (
        ("codec", 20.0, "train the latent codec"),
        ("mini", 90.0, "train the mouth reader and the denoiser on a trained codec"),
    ):
        sub = what.add_parser(name, help=text)
        sub.add_argument("--data", type=Path, required=True, help="folder of `livehead data synth`")
        sub.add_argument("--out", type=Path, required=True, help="folder of this training")
        sub.add_argument("--minutes", type=float, default=minutes, help="training time")
        sub.add_argument("--restart", action="store_true", help="do not resume")
        sub.add_argument("--threads", type=int, default=os.cpu_count())
        sub.add_argument(
            "--start",
            type=Path,
            metavar="WEIGHTS",
            help="begin a new training with the networks of this weights folder, such as the"
            " bundled models/weights/mini, instead of random ones",
        )
        if name == "mini":
            sub.add_argument(
                "--reach",
                type=float,
                default=0.02,
                help="how far, in radians, the head may be from its reference (default 0.02)",
            )
            sub.add_argument(
                "--codec",
                type=Path,
                metavar="WEIGHTS",
                help="take the codec of this weights folder, such as the bundled"
                " models/weights/mini, instead of training one",
            )
    export = what.add_parser("export", help="write a weights folder from trained parts")
    export.add_argument("--out", type=Path, required=True, help="folder of the training")
    export.add_argument("--weights", type=Path, required=True, help="weights folder to write")
    export.add_argument("--plan", default=DEFAULT_PLAN, help=f"step plan (default {DEFAULT_PLAN})")


def run(args: argparse.Namespace) -> int:
    """Run one sub-command; the codec lies in OUT/codec, the denoiser in OUT/mini."""
    if args.what == "export":
        return _export(args)
    torch.set_num_threads(args.threads)
    if args.what == "codec":
        train_codec(
            args.data,
            args.out / "codec",
            minutes=args.minutes,
            resume=not args.restart,
            start=None if args.start is None else load_networks(args.start).codec.state_dict(),
        )
        return 0
    return _train_mini(args)


def _train_mini(args: argparse.Namespace) -> int:
    if args.codec is not None:
        _borrow_codec(args.codec, args.out / "codec")
    codec = Codec().eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    codec.load_state_dict(torch.load(args.out / "codec" / "ema.pt", weights_only=True))
    train, held_out = list_clips(args.data, "train"), list_clips(args.data, "held_out")
    variants = encode_all(codec, train, args.out / "latents", augmented=True)
    unseen = encode_all(codec, held_out, args.out / "latents", augmented=False)
    recordings = speech.listen(train, args.out / "speech")
    unheard = speech.listen(held_out, args.out / "speech")
    reader, heard, report = speech.hear_all(recordings, unheard, steps=speech.STEPS)
    torch.save(reader.state_dict(), args.out / "reader.pt")
    say("mouth units heard in held-out speech, correlation with the truth:")
    emit_json(dict(report))
    begun = None if args.start is None else read_manifest(args.start)["training"]
    (args.out / BEFORE).write_text(json.dumps(begun) + "\n")
    train_mini(
        codec.requires_grad_(False),
        variants,
        unseen,
        heard,
        args.out / "mini",
        minutes=args.minutes,
        reach=args.reach,
        resume=not args.restart,
        start=None if args.start is None else load_networks(args.start).unet.state_dict(),
    )
    return 0


def _borrow_codec(weights: Path, out: Path) -> None:
    """Put a weights folder's codec where a trained one would lie."""
    out.mkdir(parents=True, exist_ok=True)
    torch.save(load_networks(weights).codec.state_dict(), out / "ema.pt")


def _export(args: argparse.Namespace) -> int:
    states: dict[str, Any] = {
        "codec": torch.load(args.out / "codec" / "ema.pt", weights_only=True),
        "unet": torch.load(args.out / "mini" / "ema.pt", weights_only=True),
        "reader": torch.load(args.out / "reader.pt", weights_only=True),
    }
    last = torch.load(args.out / "mini" / "last.pt", weights_only=True)
    training = {
        "denoiser_steps": last["step"],
        "denoiser_minutes": round(last["spent"] / 60, 1),
        "before": json.loads((args.out / BEFORE).read_text()),
    }
    save_mini(args.weights, states, parse(args.plan), training)
    say(f"wrote {args.weights}")
    return 0
