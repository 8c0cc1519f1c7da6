"""``livehead evaluate``: measures clips, portraits without truth, step plans and recordings."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.commands.generator import make_generator
from models.dataset.clips import FPS, Clip, list_clips, load_clip
from models.errors import LiveheadError
from models.evaluation.baselines import Baselines
from models.evaluation.drift import (
    DRIFT_BARS,
    LOOKS,
    MIN_SPANS,
    SPAN_SECONDS,
    Drift,
    evaluate_drift,
    span_count,
    speech_for_drift,
)
from models.evaluation.figures import need_matplotlib
from models.evaluation.identity import IdentityEmbedder
from models.evaluation.plans import plan_name
from models.evaluation.portraits import PORTRAIT_BARS, evaluate_portraits, list_pictures
from models.evaluation.recordings import evaluate_speech
from models.evaluation.report import (
    BARS,
    Bar,
    Columns,
    metric_names,
    record,
    table_rows,
    to_jsonable,
)
from models.evaluation.tasks import (
    GENERATED,
    EvalContext,
    compare_plans,
    evaluate_clips,
    find_mouth_metric,
)
from models.generator import AnyGenerator
from models.io.console import emit_json, say, table
from models.io.image import load_image
from models.io.output import whole_file
from models.lightning.plan import StepPlan, parse
from models.options import add_model_arguments
from models.pipeline import DiffusionGenerator
from models.registry import MODELS
from models.weights.bundled import avatar_picture

SECONDS = 60.0
MIN_SECONDS = 1.0
PLAN_COLUMNS = (
    ("ms_per_frame", "ms"),
    ("latent_rmse_10", "rmse10"),
    ("psnr_mouth_10", "mouth10"),
    ("psnr_mouth_30", "mouth30"),
    ("mouth_correlation", "corr"),
    ("mouth_amplitude_percent", "ampl %"),
    ("mouth_amplitude_percent.landmarks", "shape %"),
    ("sync_offset_frames", "offset"),
    ("closure_percent", "closed %"),
    ("frame_change", "change"),
    ("border_ratio_excess", "border"),
    ("psnr_mouth", "mouth dB"),
)


class OptionError(LiveheadError):
    """Raised when the options make no sense together (``bad_option``)."""

    def __init__(self, message: str) -> None:
        super().__init__(message, code="bad_option")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, help="folder of `livehead data`")
    parser.add_argument("--clips", nargs="+", metavar="NAME", help="default: the held-out ones")
    add_model_arguments(parser.add_argument_group("model"), MODELS)
    parser.add_argument(
        "--seconds", type=float, default=SECONDS, help="of each clip (default %(default)g)"
    )
    parser.add_argument(
        "--against",
        type=Path,
        metavar="DIR",
        help="weights, as --weights takes them, to be measured beside on the same clips",
    )
    parser.add_argument(
        "--portraits",
        type=Path,
        metavar="DIR",
        help="instead of the clips: pictures that have no true video and speak the clips' words",
    )
    parser.add_argument(
        "--minutes",
        type=float,
        metavar="M",
        help="instead of the clips: let one portrait speak for so long and measure its drift",
    )
    parser.add_argument(
        "--compare",
        nargs="+",
        metavar="PLAN",
        help="hold these plans against plain sampling of 10 and 30 steps and of equal cost, and"
        " against key steps placed where cached features drift least",
    )
    parser.add_argument(
        "--speech",
        nargs="+",
        type=Path,
        metavar="FILE",
        help="recordings without a true video; each also through a microphone and a telephone",
    )
    who = parser.add_mutually_exclusive_group()
    who.add_argument("--avatar", metavar="ID", help="bundled avatar that speaks")
    who.add_argument("--portrait", type=Path, metavar="PICTURE", help="picture that speaks")
    parser.add_argument("--ruler", type=Path, metavar="FILE", help="default: DATA/ruler.pt")
    parser.add_argument(
        "--identity", action="store_true", help="also how far the face is from the portrait's"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="strips, curves and report.json")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")


def run(args: argparse.Namespace) -> int:
    """Evaluate what the options name.

    Raises:
        LiveheadError: data, weights, a recording or an option cannot be used.
    """
    _check(args)
    plans = [parse(text) for text in args.compare or ()]
    clips = _clips(args) if args.data else []
    alone = bool(args.portraits or args.minutes)  # these take from the clips what is said
    ruler = args.ruler or (args.data and not alone)
    mouth_metric = find_mouth_metric(args.data, args.ruler) if ruler else None
    embedder = IdentityEmbedder() if args.identity else None
    context = EvalContext(
        make_generator(args), mouth_metric, args.seconds, args.out, embedder, _against(args)
    )
    if clips and context.generator.fps != FPS:
        raise OptionError(
            f"expected a model of {FPS} frames per second, as clips have, got"
            f" {context.generator.fps:g} of {args.model}; give --speech without --data"
        )
    result: dict[str, Any] = {"model": args.model, "seconds": args.seconds}
    if args.against:
        result["against_weights"] = args.against.name
    if clips and not alone:
        result["motion"] = "of the clips"  # heads, eyes and brows get the true motion
    if args.portraits:
        result["portraits"] = _evaluate_portraits(context, args.portraits, clips)
    if args.minutes:
        result["drift"] = _evaluate_drift(context, _picture(args, clips), args.minutes, clips)
    if plans:
        result.update(_compare_plans(context, clips, plans))
    elif clips and not alone:
        result.update(_report(evaluate_clips(context, clips), BARS))
    if args.speech:
        result["speech"] = _evaluate_speech(context, _picture(args, clips), args.speech)
    if args.out:
        with whole_file(args.out / "report.json") as part:
            part.write_text(json.dumps(result, indent=1) + "\n")
        say(f"pictures and report.json are in {args.out}")
    if args.json:
        emit_json(result)
    return 0


def _check(args: argparse.Namespace) -> None:
    """Check the options before anything is computed.

    Raises:
        OptionError: an option is impossible or unfit for the others.
    """
    alone = [f"--{name}" for name in ("portraits", "minutes") if getattr(args, name)]
    if args.data is None and (args.against or alone):
        option = (alone or ["--against"])[0]
        raise OptionError(f"expected --data DIR with {option}, which uses its clips; add it")
    if args.data is None and not args.speech:
        raise OptionError("expected --data DIR or --speech FILE, got neither; give one of them")
    if args.data is None and (args.compare or args.clips):
        raise OptionError("expected --data DIR with --compare and --clips, got none; add it")
    if args.compare and args.model != "mini":
        raise OptionError(f"expected --model mini with --compare, got {args.model}")
    if args.size[0] != args.size[1]:
        height, width = args.size
        raise OptionError(
            f"expected --size as one side, got {width}x{height}; faces are measured in squares"
        )
    if args.compare and (args.against or alone):
        raise OptionError(
            f"expected --compare without {(alone or ['--against'])[0]}, got both; leave one out"
        )
    if args.portraits and not (args.portraits.is_dir() and list_pictures(args.portraits)):
        raise OptionError(f"expected a folder of pictures as --portraits, got {args.portraits}")
    shortest = MIN_SPANS * SPAN_SECONDS / 60
    if args.minutes is not None and not shortest <= args.minutes < math.inf:
        raise OptionError(f"expected --minutes >= {shortest:g}, got {args.minutes:g}")
    if not MIN_SECONDS <= args.seconds < math.inf:
        raise OptionError(f"expected --seconds >= {MIN_SECONDS:g}, got {args.seconds:g}")
    stems = [path.stem for path in args.speech or ()]
    for path in args.speech or ():
        if not path.is_file():
            raise OptionError(f"expected a sound file, got no file at {path}")
        if stems.count(path.stem) > 1:
            raise OptionError(
                f"expected recordings of different names, got {path.stem} twice; rename one, since"
                " results and pictures are called after them"
            )
    if args.out:
        need_matplotlib()
        if args.out.exists() and not args.out.is_dir():
            raise OptionError(f"expected a folder as --out, got the file {args.out}")
        args.out.mkdir(parents=True, exist_ok=True)


def _clips(args: argparse.Namespace) -> list[Clip]:
    """The clips that the options name; the held-out ones if none."""
    if args.clips:
        known = {path.name: path for path in list_clips(args.data)}
        missing = [name for name in args.clips if name not in known]
        if missing:
            raise OptionError(f"expected finished clips of {args.data}, got {', '.join(missing)}")
        return [load_clip(known[name]) for name in args.clips]
    held_out = [load_clip(path) for path in list_clips(args.data, "held_out")]
    if not held_out:
        raise OptionError(
            f"expected held-out clips in {args.data}, got none; make some with"
            " `livehead data photos`, or name others with --clips"
        )
    return held_out


def _picture(args: argparse.Namespace, clips: list[Clip]) -> NDArray[np.uint8]:
    """Portrait for the recordings: of the options, else of the first clip, else an avatar's."""
    if clips and not (args.portrait or args.avatar):
        return clips[0].portrait
    return load_image(args.portrait or avatar_picture(args.avatar))


def _against(args: argparse.Namespace) -> AnyGenerator | None:
    """The generator of --against: all other options are those of the evaluated one."""
    if args.against is None:
        return None
    return make_generator(argparse.Namespace(**{**vars(args), "weights": str(args.against)}))


def _report(columns: Columns, bars: Sequence[Bar]) -> dict[str, Any]:
    """Show a table of metrics, and give them as JSON."""
    beside = {column: metrics for column, metrics in columns.items() if column != GENERATED}
    headings, rows = table_rows(columns[GENERATED], bars, beside)
    table(headings, rows)
    return record(columns[GENERATED], bars, beside)


def _evaluate_portraits(context: EvalContext, folder: Path, clips: list[Clip]) -> dict[str, Any]:
    found = evaluate_portraits(context, list_pictures(folder), clips)
    result: dict[str, Any] = _report(found.metrics, PORTRAIT_BARS) if found.metrics else {}
    for name, error in found.refused.items():
        say(f"{name}: refused ({error.code}): {error}")
    refused = {name: {"code": e.code, "text": str(e)} for name, e in found.refused.items()}
    return {**result, "refused": refused}


def _evaluate_drift(
    context: EvalContext, picture: NDArray[np.uint8], minutes: float, clips: list[Clip]
) -> dict[str, Any]:
    speech = speech_for_drift(clips, span_count(minutes))
    drifts: dict[str, Drift] = {
        column: evaluate_drift(generator, picture, speech, context.embedder, f"frames, {column}")
        for column, generator in context.generators.items()
    }
    columns = {column: {f"{minutes:g} min": one.metrics} for column, one in drifts.items()}
    spans = {column: one.spans.round(4).tolist() for column, one in drifts.items()}
    return {**_report(columns, DRIFT_BARS), "looks": LOOKS, "spans": spans}


def _compare_plans(
    context: EvalContext, clips: list[Clip], plans: list[StepPlan]
) -> dict[str, Any]:
    if not isinstance(context.generator, DiffusionGenerator):
        raise OptionError("expected a diffusion model with --compare, got another")
    compared = compare_plans(context, context.generator, clips, plans)
    found = compared.metrics
    columns = [(metric_names(name, list(found.values()))[0], title) for name, title in PLAN_COLUMNS]
    table(
        ["plan", "keys", "light", *(title for _, title in columns), "compared as"],
        [
            [name, len(parse(name).keys), parse(name).light_steps]
            + [metrics.get(column, float("nan")) for column, _ in columns]
            + [compared.role(name)]
            for name, metrics in found.items()
        ],
    )
    return {
        "plans": {name: to_jsonable(metrics) for name, metrics in found.items()},
        "controls": {plan_name(one.plan): _baselines_record(one) for one in compared.baselines},
    }


def _baselines_record(one: Baselines) -> dict[str, Any]:
    """Baselines of a plan as JSON; times in ms of one chunk."""
    return {
        "equal_cost": plan_name(one.equal_cost),
        "placed_by_drift": plan_name(one.by_drift),
        "key_ms": round(one.key_ms, 3),
        "light_ms": round(one.light_ms, 3),
    }


def _evaluate_speech(
    context: EvalContext, picture: NDArray[np.uint8], files: list[Path]
) -> dict[str, dict[str, dict[str, float | None]]]:
    found = evaluate_speech(context, picture, files)
    for file, channels in found.items():
        names = list(dict.fromkeys(name for metrics in channels.values() for name in metrics))
        table(
            [file, *channels],
            [
                [name, *(metrics.get(name, float("nan")) for metrics in channels.values())]
                for name in names
            ],
        )
    return {
        file: {channel: to_jsonable(metrics) for channel, metrics in channels.items()}
        for file, channels in found.items()
    }
