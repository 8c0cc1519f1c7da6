"""``livehead bench cost``: operations of an SD 1.5 model by kind and resolution, and its gains."""

from __future__ import annotations

import argparse
from typing import Any

from models.bench.cost import Costs, Gain, gain, rows_by_kind
from models.bench.flops import by_kind, total
from models.bench.probes import cost_counter
from models.errors import LiveheadError
from models.io import console
from models.lightning.plan import StepPlan, parse
from models.registry import PaperFlops, find_card, measured_models

LEVELS = ("1/8", "1/16", "1/32", "1/64")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", required=True, help=" or ".join(measured_models()))
    parser.add_argument("--size", type=int, default=512, help="pixels (default %(default)s)")
    parser.add_argument("--frames", type=int, help="of a chunk (default: as published)")
    parser.add_argument(
        "--plan", help="step plan such as 40:0,4,8+dfa (default: the paper's numbers of steps)"
    )
    parser.add_argument(
        "--foreground",
        type=float,
        metavar="SHARE",
        help="face tokens in all tokens, for DFA (default: as of the bundled portraits)",
    )
    parser.add_argument(
        "--without-reference",
        default="",
        metavar="PATH,PATH",
        help="transformers that do not read the portrait (default: none)",
    )
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")


def run(args: argparse.Namespace) -> int:
    """Count and report.

    Raises:
        LiveheadError: an option makes no sense (``bad_option``, ``unknown_model``).
        PlanError: the plan cannot be read.
    """
    counter = cost_counter(args.model)
    claim = find_card(args.model).paper
    assert claim is not None, "whoever is counted is measured by the paper"
    share = claim.face_share if args.foreground is None else args.foreground
    if args.size < 64 or args.size % 64 or not 0 < share <= 1:
        raise LiveheadError(
            "expected --size as a multiple of 64 and --foreground above 0 up to 1, got"
            f" {args.size} and {share}",
            code="bad_option",
        )
    frames = claim.frames if args.frames is None else args.frames
    if frames < 1:
        raise LiveheadError(f"expected at least one frame, got {frames}", code="bad_option")
    args.foreground, without = share, frozenset(filter(None, args.without_reference.split(",")))
    costs = counter(args.size, frames, share, without)
    plan = parse(args.plan) if args.plan else None
    promised = _gain(costs, claim, plan)
    _show(args.model, costs, claim, promised)
    if args.json:
        console.emit_json(_record(args, costs, claim, promised))
    return 0


def _gain(costs: Costs, claim: PaperFlops, plan: StepPlan | None) -> Gain:
    if plan is None:
        return gain(costs, claim.steps, claim.key_steps)
    return gain(costs, plan.steps, len(plan.keys))


def _show(name: str, costs: Costs, claim: PaperFlops, promised: Gain) -> None:
    console.say(f"{name}: one key step of {costs.frames} frames, GMAC by kind and resolution")
    console.table(("kind", *LEVELS, "all"), rows_by_kind(costs.key))
    rows = [
        ("step as published", _gmac(total(costs.published))),
        ("key step", _gmac(total(costs.key))),
        ("light step", _gmac(total(costs.light))),
        ("light step with DFA", _gmac(total(costs.light_dfa))),
        *((f"once: {what}", _gmac(value)) for what, value in costs.once.items()),
    ]
    console.table(("what", "GMAC"), rows)
    console.say(
        f"{promised.keys} key steps of {promised.steps}: {promised.lightning:.2f} times fewer"
        f" operations, {promised.lightning_dfa:.2f} with DFA, of it {promised.redundant:.3f} by"
        f" leaving out discarded and repeated work; the paper: {claim.ratio} ({claim.key_steps} of"
        f" {claim.steps})"
    )


def _record(
    args: argparse.Namespace, costs: Costs, claim: PaperFlops, promised: Gain
) -> dict[str, Any]:
    return {
        "model": args.model,
        "size": args.size,
        "frames": costs.frames,
        "foreground": args.foreground,
        "without_reference": sorted(filter(None, args.without_reference.split(","))),
        "gmac": {
            "published": total(costs.published) / 1e9,
            "key": total(costs.key) / 1e9,
            "light": total(costs.light) / 1e9,
            "light_dfa": total(costs.light_dfa) / 1e9,
            "once": {what: value / 1e9 for what, value in costs.once.items()},
        },
        "key_by_kind": {
            kind: [value / 1e9 for value in values] for kind, values in by_kind(costs.key).items()
        },
        "steps": promised.steps,
        "keys": promised.keys,
        "ratio": {
            "lightning": promised.lightning,
            "lightning_dfa": promised.lightning_dfa,
            "lean": promised.redundant,
            "paper": claim.ratio,
        },
    }


def _gmac(macs: int) -> str:
    return f"{macs / 1e9:.1f}"
