"""Evaluations that know the truth: clips against it, and step plans side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.dataset.clips import Clip, list_clips, load_clip
from models.evaluation.compare import Metrics, Reading, compare, read_video
from models.evaluation.controls import Controls, controls_of
from models.evaluation.eval_clip import EvalClip, generate, make_eval_clip
from models.evaluation.mouth_metric import (
    MouthMetric,
    load_mouth_metric,
    save_mouth_metric,
    train_mouth_metric,
)
from models.evaluation.pictures import draw_clip
from models.evaluation.plans import Output, distance, make_inputs, run_plan, short, time_plans
from models.evaluation.report import mean_of
from models.evaluation.timing import TimedGenerator
from models.generator import AnyGenerator
from models.io.console import warn
from models.lightning.plan import StepPlan, full_plan
from models.pipeline import DiffusionGenerator

REFERENCES = (10, 30)
"""Plain samplers that every plan is held against."""


@dataclass(frozen=True)
class Setting:
    """What all evaluations share.

    Attributes:
        generator: is evaluated.
        ruler: the second tool, None to go without.
        seconds: of each clip.
        out: folder for pictures, None for none.
    """

    generator: AnyGenerator
    ruler: MouthMetric | None
    seconds: float
    out: Path | None


def find_ruler(data: Path, path: Path | None = None) -> MouthMetric | None:
    """The ruler of a data folder: kept in ``ruler.pt``, trained if its clips have changed.

    Args:
        data: folder of `livehead data synth`; without training clips there is no ruler.
        path: take the ruler of this file instead.

    Raises:
        WeightsError: ``path`` holds none.
    """
    if path is not None:
        return load_mouth_metric(path)[0]
    kept = data / "ruler.pt"
    clips = list_clips(data, "train")
    names = [clip.name for clip in clips]
    if kept.exists():
        ruler, trained_on = load_mouth_metric(kept)
        if trained_on == names:
            return ruler
    if not clips:
        warn(f"no training clips in {data}: the ruler is left out, landmarks measure alone")
        return None
    ruler = train_mouth_metric([load_clip(clip) for clip in clips])
    save_mouth_metric(ruler, kept, names)
    return ruler


def evaluate_clips(setting: Setting, clips: Sequence[Clip]) -> dict[str, Metrics]:
    """Generate what each clip shows, and measure it against the clip; metrics by clip name."""
    return {clip.name: _evaluate_clip(setting, clip) for clip in clips}


def _evaluate_clip(setting: Setting, clip: Clip) -> Metrics:
    timed = TimedGenerator(setting.generator)
    identity = timed.prepare(clip.neutral)
    subject = make_eval_clip(clip, timed, identity, setting.seconds)
    generated = generate(timed, identity, subject, f"frames of {clip.name}")
    true = read_video(subject.truth, subject, setting.ruler, f"truth of {clip.name}")
    made = read_video(generated, subject, setting.ruler, f"frames of {clip.name}")
    if setting.out:
        draw_clip(setting.out, subject, generated, made, true)
    metrics = compare(generated, made, subject, true, timed.chunk_frames)
    return {**metrics, "ms_per_frame": 1000 * timed.watch.seconds / subject.frames}


@dataclass(frozen=True)
class Comparison:
    """Plans side by side.

    Attributes:
        metrics: mean over the clips, by plan: the plain references, the plans that were asked for,
            and their controls.
        controls: of each asked plan that has light steps.
    """

    metrics: dict[str, Metrics]
    controls: list[Controls]

    def role(self, name: str) -> str:
        """What a plan is compared for, in words."""
        roles = ["reference"] if name in map(str, REFERENCES) else []
        for one in self.controls:
            if name == short(one.equal_cost):
                roles.append(f"equal cost of {one.plan}")
            if name == short(one.by_drift):
                roles.append(f"{one.plan} placed by drift")
        return "; ".join(roles) or "asked for"


def compare_plans(
    setting: Setting,
    generator: DiffusionGenerator[Any, Any],
    clips: Sequence[Clip],
    plans: list[StepPlan],
) -> Comparison:
    """Hold plans against plain ones, plain sampling of equal cost, and keys placed by drift.

    The controls are chosen on the first clip.
    """
    references = [full_plan(steps) for steps in REFERENCES]
    controls: list[Controls] | None = None
    found: dict[str, list[Metrics]] = {}
    for clip in clips:
        identity = generator.prepare(clip.neutral)
        subject = make_eval_clip(clip, generator, identity, setting.seconds)
        inputs = make_inputs(generator, identity, subject)
        if controls is None:
            controls = controls_of(inputs, plans)
        others = [plan for one in controls for plan in (one.equal_cost, one.by_drift)]
        everything = list(dict.fromkeys([*references, *plans, *others]))
        times = time_plans(inputs, everything, generator.chunk_frames)
        true = read_video(subject.truth, subject, setting.ruler, f"truth of {clip.name}")
        plains = [run_plan(inputs, plan, subject) for plan in references]
        for plan, milliseconds in zip(everything, times, strict=True):
            known = [one for one in plains if one.plan == plan]
            output = known[0] if known else run_plan(inputs, plan, subject)
            metrics = _measure_plan(setting, subject, true, output, generator.chunk_frames)
            for reference in plains:
                metrics.update(distance(output, reference, subject))
            found.setdefault(short(plan), []).append({**metrics, "ms_per_frame": milliseconds})
    return Comparison({name: mean_of(rows) for name, rows in found.items()}, controls or [])


def _measure_plan(
    setting: Setting, subject: EvalClip, true: Reading, output: Output, chunk: int
) -> Metrics:
    made = read_video(output.frames, subject, setting.ruler, f"plan {short(output.plan)}")
    return compare(output.frames, made, subject, true, chunk)
