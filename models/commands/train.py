"""``livehead train codec | mini | reader | export``: from clips and speech to a weights folder."""

from __future__ import annotations

import argparse
import math
import os
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.dataset.clips import Split, list_clips
from models.errors import LiveheadError
from models.io.console import emit_json, say
from models.lightning.plan import parse
from models.mini.autoencoder import Autoencoder
from models.mini.checkpoint import load_mini_networks, read_manifest, save_mini
from models.mini.config import CARD
from models.training import speech_features
from models.training.autoencoder import train_autoencoder
from models.training.denoiser import train_denoiser
from models.training.latents import encode_all
from models.training.mouth_reader import STEPS, judge_reader, train_reader
from models.training.pool_speech import encode_pool
from models.training.run import InitFrom

TRAININGS = (
    ("codec", 20.0, "train the latent codec"),
    ("mini", 90.0, "train the mouth reader and the denoiser on a trained codec"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the sub-commands and their options."""
    what = parser.add_subparsers(dest="what", required=True)
    for name, minutes, text in TRAININGS:
        sub = what.add_parser(name, help=text)
        sub.add_argument("--data", type=Path, required=True, help="folder of `livehead data`")
        sub.add_argument("--minutes", type=float, default=minutes, help="training time")
        sub.add_argument("--restart", action="store_true", help="do not resume")
        _add_common_arguments(
            sub,
            start="begin a new training with the networks of this weights folder, such as the"
            " bundled models/weights/mini, instead of random ones",
        )
        if name == "codec":
            sub.add_argument(
                "--decoder-only",
                action="store_true",
                help="leave the encoder of --start as it is: latents stay valid, and every"
                " denoiser that was trained on them",
            )
        else:
            sub.add_argument(
                "--codec",
                type=Path,
                metavar="WEIGHTS",
                help="take the codec of this weights folder, such as the bundled"
                " models/weights/mini, instead of training one",
            )
            sub.add_argument(
                "--batch-scale",
                type=int,
                default=1,
                help="how many times as large batches are; a GPU takes no longer for 8",
            )
            sub.add_argument(
                "--reader-steps",
                type=int,
                default=speech_features.STEPS,
                help="steps of training for the mouth reader of a fold",
            )
    reader = what.add_parser("reader", help="train the mouth reader alone, on a pool of speech")
    reader.add_argument(
        "--speech", type=Path, required=True, help="speech/ inside a folder of `livehead data`"
    )
    reader.add_argument("--steps", type=int, default=STEPS, help="steps of training")
    _add_common_arguments(
        reader,
        start="normalise features as this weights folder does, for its denoiser; without it as the"
        " reader of `train mini` in --out does, if there is one",
    )
    export = what.add_parser("export", help="write a weights folder from trained parts")
    export.add_argument("--out", type=Path, required=True, help="folder of the training")
    export.add_argument("--weights", type=Path, required=True, help="weights folder to write")
    export.add_argument("--plan", default=CARD.plan, help=f"step plan (default {CARD.plan})")


def _add_common_arguments(training: argparse.ArgumentParser, *, start: str) -> None:
    """Add what every training takes; ``start`` says what it does with other weights."""
    training.add_argument("--out", type=Path, required=True, help="folder of this training")
    training.add_argument("--threads", type=int, default=os.cpu_count())
    training.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    training.add_argument("--start", type=Path, metavar="WEIGHTS", help=start)


def run(args: argparse.Namespace) -> int:
    """Run one sub-command; it keeps its files in OUT."""
    if args.what == "export":
        return _export(args)
    length = "steps" if args.what == "reader" else "minutes"
    if args.threads < 1 or not getattr(args, length) > 0:
        raise LiveheadError(
            f"expected at least one thread and some {length}, got"
            f" --threads {args.threads} --{length} {getattr(args, length)}",
            code="bad_option",
        )
    torch.set_num_threads(args.threads)
    if args.what == "reader":
        return _train_reader(args)
    return _train_autoencoder(args) if args.what == "codec" else train_mini(args)


def _device(args: argparse.Namespace) -> torch.device:
    if args.device == "cuda" and not torch.cuda.is_available():
        raise LiveheadError(
            "expected an NVIDIA GPU for --device cuda, and PyTorch sees none; leave --device out",
            code="bad_option",
        )
    return torch.device(args.device)


def _train_autoencoder(args: argparse.Namespace) -> int:
    _list_clips(args.data, "train", 1)
    if args.decoder_only and args.start is None:
        raise LiveheadError(
            "expected --start WEIGHTS with --decoder-only: the encoder to keep; got none",
            code="bad_option",
        )
    train_autoencoder(
        args.data,
        args.out / "codec",
        minutes=args.minutes,
        resume=not args.restart,
        init=_init_from(args.start, "codec"),
        decoder_only=args.decoder_only,
        device=_device(args),
    )
    return 0


def train_mini(args: argparse.Namespace, stop_at: float = math.inf) -> int:
    """Run `train mini`, which stops at the time ``stop_at`` (seconds) where that comes first.

    Raises:
        LiveheadError: an option or a folder cannot be used, or no time is left to train.
    """
    device = _device(args)
    train, held_out = _list_clips(args.data, "train", 2), _list_clips(args.data, "held_out", 1)
    if args.codec is not None:
        _copy_autoencoder(args.codec, args.out / "codec")
    autoencoder = _load_autoencoder(args.out).to(device)
    variants = encode_all(autoencoder, train, args.out / "latents")
    held_out_variants = encode_all(autoencoder, held_out, args.out / "latents")
    recordings = speech_features.encode_speech(train, args.out / "speech")
    held_out_recordings = speech_features.encode_speech(held_out, args.out / "speech")
    regressor, speech, report = speech_features.predict_blendshapes(
        recordings, held_out_recordings, steps=args.reader_steps, device=device
    )
    torch.save(regressor.state_dict(), args.out / "reader.pt")
    say("mouth units heard in held-out speech, correlation with the truth:")
    emit_json(dict(report))
    train_denoiser(
        autoencoder.requires_grad_(False),
        variants,
        held_out_variants,
        speech,
        args.out / "mini",
        minutes=_minutes(args, stop_at),
        resume=not args.restart,
        init=_init_from(args.start, "unet"),
        device=device,
        batch_scale=args.batch_scale,
    )
    return 0


def _minutes(args: argparse.Namespace, stop_at: float) -> float:
    """Minutes of the whole training, what it has spent before included."""
    left = (stop_at - time.time()) / 60
    if left <= 0:
        raise LiveheadError(
            f"expected time to train when all was prepared, got {left:.1f} minutes; what was"
            " prepared is kept, so run the same command again, or give it more minutes",
            code="bad_option",
        )
    if math.isinf(left) or args.restart or not (args.out / "mini" / "last.pt").exists():
        return float(min(args.minutes, left))
    spent = _load_artifact(args.out, "mini/last.pt")["spent"] / 60
    return float(min(args.minutes, spent + left))


def _list_clips(data: Path, split: Split, minimum: int) -> list[Path]:
    """List the clips of one split, at least ``minimum``."""
    clips = list_clips(data, split)
    if len(clips) < minimum:
        raise LiveheadError(
            f"expected at least {minimum} finished clips ({split}) in {data}, got {len(clips)};"
            " make more with `livehead data photos`",
            code="bad_option",
        )
    return clips


def _load_artifact(out: Path, name: str) -> dict[str, Any]:
    """Load a file that an earlier sub-command left in the folder of a training."""
    path = out / name
    if not path.exists():
        raise LiveheadError(
            f"expected {name} in {out}, found none; run `livehead train codec`, then"
            " `livehead train mini`, with the same --out",
            code="missing_weights",
        )
    artifact: dict[str, Any] = torch.load(path, weights_only=True, map_location="cpu")
    return artifact


def _load_autoencoder(out: Path) -> Autoencoder:
    """Load the trained autoencoder from the folder of a training."""
    autoencoder: Autoencoder = Autoencoder().eval()
    autoencoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    autoencoder.load_state_dict(_load_artifact(out, "codec/ema.pt"))
    if bool((autoencoder.std == 1).all()):  # measured when the training ends
        raise LiveheadError(
            f"expected a finished codec in {out / 'codec'}, got one whose training was stopped;"
            " run the same `livehead train codec` again, it goes on",
            code="missing_weights",
        )
    return autoencoder


def _init_from(weights: Path | None, name: str) -> InitFrom | None:
    """Initial weights: one network of a weights folder, with its provenance."""
    if weights is None:
        return None
    record = read_manifest(weights)
    network = getattr(load_mini_networks(weights), name)
    origin = {"sha256": record["sha256"][name], **record["training"]}
    return InitFrom(network.state_dict(), origin)


def _copy_autoencoder(weights: Path, out: Path) -> None:
    """Copy a weights folder's autoencoder to where a trained one would be."""
    out.mkdir(parents=True, exist_ok=True)
    torch.save(load_mini_networks(weights).codec.state_dict(), out / "ema.pt")


def _train_reader(args: argparse.Namespace) -> int:
    device, cache = _device(args), args.out / "pool"
    keep = _normalisation(args.start, args.out)
    held_out, heard = (encode_pool(args.speech, s, cache) for s in ("held_out", "train"))
    regressor = train_reader(heard, steps=args.steps, keep=keep, device=device)
    torch.save(regressor.state_dict(), args.out / "reader.pt")
    say("mouth units heard in held-out speech:")
    emit_json(judge_reader(regressor, held_out))
    return 0


def _normalisation(start: Path | None, out: Path) -> tuple[Tensor, Tensor] | None:
    """Mean and deviation of speech features that the denoiser was trained with, if there is one."""
    if start is not None:
        state = load_mini_networks(start).reader.state_dict()
    elif (out / "reader.pt").exists():
        state = _load_artifact(out, "reader.pt")
    else:
        return None
    return state["mean"], state["std"]


def _export(args: argparse.Namespace) -> int:
    states = {
        "codec": _load_artifact(args.out, "codec/ema.pt"),
        "unet": _load_artifact(args.out, "mini/ema.pt"),
        "reader": _load_artifact(args.out, "reader.pt"),
    }
    save_mini(args.weights, states, parse(args.plan), {"denoiser": _record(args.out)})
    say(f"wrote {args.weights}")
    return 0


def _record(out: Path) -> dict[str, Any]:
    """Steps and minutes of the denoiser's training, and what it started from."""
    last = _load_artifact(out, "mini/last.pt")
    record = {"steps": last["step"], "minutes": round(last["spent"] / 60, 1)}
    return record if last["origin"] is None else {**record, "began_with": last["origin"]}
