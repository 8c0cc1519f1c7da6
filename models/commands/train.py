"""``livehead train codec | mini | export``: from synthetic clips to a weights folder."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import torch

from models.dataset.clips import Split, list_clips
from models.errors import LiveheadError
from models.io.console import emit_json, say
from models.lightning.plan import parse
from models.mini.autoencoder import Autoencoder
from models.mini.checkpoint import load_mini_networks, read_manifest, save_mini
from models.mini.config import CARD
from models.training import speech_features
from models.training.autoencoder import train_codec
from models.training.denoiser import train_mini
from models.training.latents import encode_all
from models.training.run import Start

TRAININGS = (
    ("codec", 20.0, "train the latent codec"),
    ("mini", 90.0, "train the mouth reader and the denoiser on a trained codec"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Sub-commands and their options."""
    what = parser.add_subparsers(dest="what", required=True)
    for name, minutes, text in TRAININGS:
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
                "--variants",
                type=int,
                default=4,
                metavar="N",
                help="of each clip, with colour, zoom and shift changed, beside itself (default 4)",
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
    export.add_argument("--plan", default=CARD.plan, help=f"step plan (default {CARD.plan})")


def run(args: argparse.Namespace) -> int:
    """Run one sub-command; parts lie in OUT/codec and OUT/mini."""
    if args.what == "export":
        return _export(args)
    if args.threads < 1 or not args.minutes > 0:
        raise LiveheadError(
            "expected at least one thread and some minutes, got"
            f" --threads {args.threads} --minutes {args.minutes}",
            code="bad_option",
        )
    if getattr(args, "variants", 0) < 0:
        raise LiveheadError(f"expected --variants >= 0, got {args.variants}", code="bad_option")
    torch.set_num_threads(args.threads)
    return _train_codec(args) if args.what == "codec" else _train_mini(args)


def _train_codec(args: argparse.Namespace) -> int:
    _clips(args.data, "train", 1)
    train_codec(
        args.data,
        args.out / "codec",
        minutes=args.minutes,
        resume=not args.restart,
        start=_start(args.start, "codec"),
    )
    return 0


def _train_mini(args: argparse.Namespace) -> int:
    train, held_out = _clips(args.data, "train", 2), _clips(args.data, "held_out", 1)
    if args.codec is not None:
        _borrow_codec(args.codec, args.out / "codec")
    codec = _codec(args.out)
    variants = encode_all(codec, train, args.out / "latents", augmented=args.variants)
    unseen = encode_all(codec, held_out, args.out / "latents", augmented=0)
    recordings = speech_features.listen(train, args.out / "speech")
    unheard = speech_features.listen(held_out, args.out / "speech")
    reader, heard, report = speech_features.hear_all(recordings, unheard)
    torch.save(reader.state_dict(), args.out / "reader.pt")
    say("mouth units heard in held-out speech, correlation with the truth:")
    emit_json(dict(report))
    train_mini(
        codec.requires_grad_(False),
        variants,
        unseen,
        heard,
        args.out / "mini",
        minutes=args.minutes,
        reach=args.reach,
        resume=not args.restart,
        start=_start(args.start, "unet"),
    )
    return 0


def _clips(data: Path, split: Split, least: int) -> list[Path]:
    """The clips of one split, enough of them."""
    clips = list_clips(data, split)
    if len(clips) < least:
        raise LiveheadError(
            f"expected at least {least} finished clips ({split}) in {data}, got {len(clips)};"
            " make more with `livehead data synth`",
            code="bad_option",
        )
    return clips


def _part(out: Path, name: str) -> dict[str, Any]:
    """What an earlier command left in a training's folder."""
    path = out / name
    if not path.exists():
        raise LiveheadError(
            f"expected {name} in {out}, found none; run `livehead train codec`, then"
            " `livehead train mini`, with the same --out",
            code="missing_weights",
        )
    part: dict[str, Any] = torch.load(path, weights_only=True)
    return part


def _codec(out: Path) -> Autoencoder:
    """The trained codec of a training's folder."""
    codec: Autoencoder = Autoencoder().eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    codec.load_state_dict(_part(out, "codec/ema.pt"))
    if bool((codec.std == 1).all()):  # measured when the training ends
        raise LiveheadError(
            f"expected a finished codec in {out / 'codec'}, got one whose training was stopped;"
            " run the same `livehead train codec` again, it goes on",
            code="missing_weights",
        )
    return codec


def _start(weights: Path | None, name: str) -> Start | None:
    """One network of a weights folder to begin with, and what is recorded of it."""
    if weights is None:
        return None
    record = read_manifest(weights)
    network = getattr(load_mini_networks(weights), name)
    origin = {"sha256": record["sha256"][name], **record["training"]}
    return Start(network.state_dict(), origin)


def _borrow_codec(weights: Path, out: Path) -> None:
    """Put a weights folder's codec where a trained one would lie."""
    out.mkdir(parents=True, exist_ok=True)
    torch.save(load_mini_networks(weights).codec.state_dict(), out / "ema.pt")


def _export(args: argparse.Namespace) -> int:
    states = {
        "codec": _part(args.out, "codec/ema.pt"),
        "unet": _part(args.out, "mini/ema.pt"),
        "reader": _part(args.out, "reader.pt"),
    }
    save_mini(args.weights, states, parse(args.plan), {"denoiser": _record(args.out)})
    say(f"wrote {args.weights}")
    return 0


def _record(out: Path) -> dict[str, Any]:
    """Steps and minutes of the denoiser's training, and what it began with."""
    last = _part(out, "mini/last.pt")
    record = {"steps": last["step"], "minutes": round(last["spent"] / 60, 1)}
    return record if last["origin"] is None else {**record, "began_with": last["origin"]}
