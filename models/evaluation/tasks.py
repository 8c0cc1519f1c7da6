"""Evaluates against true videos: whole clips, and step plans side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.dataset.clips import Clip, list_clips, load_clip
from models.evaluation.baselines import Baselines, find_baselines
from models.evaluation.compare import (
    Metrics,
    VideoTracks,
    compare,
    compare_identity,
    compare_pictures,
    track_video,
)
from models.evaluation.eval_clip import EvalClip, GeneratedVideo, generate, make_eval_clip
from models.evaluation.figures import draw_clip
from models.evaluation.identity import IdentityEmbedder
from models.evaluation.mouth_metric import (
    MouthMetric,
    load_mouth_metric,
    save_mouth_metric,
    train_mouth_metric,
)
from models.evaluation.plans import (
    PlanOutput,
    distance,
    plan_name,
    prepare_inputs,
    run_plan,
    time_plans,
)
from models.evaluation.report import Columns, mean_metrics
from models.evaluation.timing import TimedGenerator
from models.face.geometry import Similarity
from models.generator import AnyGenerator
from models.io.console import warn
from models.lightning.plan import StepPlan, full_plan
from models.pipeline import DiffusionGenerator

REFERENCES = (10, 30)
"""Numbers of full sampling steps that every plan is compared with."""
GENERATED, AGAINST, TRUTH = "generated", "against", "truth"
"""Columns of a report."""


@dataclass(frozen=True)
class EvalContext:
    """What all evaluations share.

    Attributes:
        generator: to evaluate.
        mouth_metric: None to measure by landmarks alone.
        seconds: of each clip.
        out: folder for figures, None for none.
        embedder: None to leave identity out.
        against: evaluated beside it on the same clips, None for nothing.
    """

    generator: AnyGenerator
    mouth_metric: MouthMetric | None
    seconds: float
    out: Path | None
    embedder: IdentityEmbedder | None = None
    against: AnyGenerator | None = None

    @property
    def generators(self) -> dict[str, AnyGenerator]:
        """What is evaluated, by column."""
        found = {GENERATED: self.generator}
        return found if self.against is None else {**found, AGAINST: self.against}


def find_mouth_metric(data: Path, path: Path | None = None) -> MouthMetric | None:
    """The mouth metric of a data folder, ``ruler.pt``; trained if missing or if its clips changed.

    Args:
        data: folder of `livehead data synth`; without training clips the result is None.
        path: load this file instead.

    Raises:
        WeightsError: the file at ``path`` cannot be loaded.
    """
    if path is not None:
        return load_mouth_metric(path)[0]
    cached = data / "ruler.pt"
    clips = list_clips(data, "train")
    names = [clip.name for clip in clips]
    if cached.exists():
        mouth_metric, trained_on = load_mouth_metric(cached)
        if trained_on == names:
            return mouth_metric
    if not clips:
        warn(f"no training clips in {data}: the ruler is left out, landmarks measure alone")
        return None
    mouth_metric = train_mouth_metric([load_clip(clip) for clip in clips])
    save_mouth_metric(mouth_metric, cached, names)
    return mouth_metric


def evaluate_clips(context: EvalContext, clips: Sequence[Clip]) -> Columns:
    """Generate every clip and compare with its true frames.

    Returns:
        Metrics by column, then by clip name; in the column ``TRUTH`` the true frames stand in for
        generated ones: what each metric is at best.
    """
    found: Columns = {}
    for clip in clips:
        for column, metrics in _evaluate_clip(context, clip).items():
            found.setdefault(column, {})[clip.name] = metrics
    return found


def _evaluate_clip(context: EvalContext, clip: Clip) -> dict[str, Metrics]:
    eval_clip = make_eval_clip(clip, context.seconds)
    truth = track_video(eval_clip.truth, eval_clip, context.mouth_metric, f"truth of {clip.name}")
    columns: dict[str, Metrics] = {}
    for column, generator in context.generators.items():
        timed = TimedGenerator(generator)
        identity = timed.prepare(clip.portrait)
        label = f"frames of {clip.name}" + (f", {column}" if column != GENERATED else "")
        generated = generate(timed, identity, eval_clip, label)
        tracks = track_video(generated.windows, eval_clip, context.mouth_metric, label)
        if context.out and column == GENERATED:
            draw_clip(context.out, eval_clip, generated.windows, tracks, truth)
        columns[column] = {
            **_measure(context, eval_clip, truth, generated, tracks, _shown(identity)),
            "ms_per_frame": 1000 * timed.watch.seconds / eval_clip.frames,
        }
    true = GeneratedVideo(eval_clip.truth, eval_clip.truth[:0], Similarity(np.eye(2, 3)))
    columns[TRUTH] = _measure(context, eval_clip, truth, true, truth, None)
    return columns


def _measure(
    context: EvalContext,
    eval_clip: EvalClip,
    truth: VideoTracks,
    generated: GeneratedVideo,
    tracks: VideoTracks,
    portrait: NDArray[np.uint8] | None,
) -> Metrics:
    """All metrics of one video of a clip; arguments as of ``compare`` and ``compare_pictures``."""
    metrics = compare(
        generated.windows, tracks, eval_clip, truth, context.generator.chunk_frames
    ) | compare_pictures(generated, eval_clip, truth, portrait)
    if context.embedder is not None:
        metrics |= compare_identity(context.embedder, generated.windows, eval_clip)
    return metrics


def _shown(identity: Any) -> NDArray[np.uint8] | None:
    """The portrait as the frames show it, RGB uint8 [H, W, 3], if the model says."""
    return getattr(getattr(identity, "portrait", None), "picture", None)


@dataclass(frozen=True)
class PlanComparison:
    """Plans side by side.

    Attributes:
        metrics: mean over the clips, by plan: the references, the requested plans and their
            baselines.
        baselines: of each requested plan that has light steps.
    """

    metrics: dict[str, Metrics]
    baselines: list[Baselines]

    def role(self, name: str) -> str:
        """Why a plan is in the comparison, in words."""
        roles = ["reference"] if name in map(str, REFERENCES) else []
        for one in self.baselines:
            if name == plan_name(one.equal_cost):
                roles.append(f"equal cost of {one.plan}")
            if name == plan_name(one.by_drift):
                roles.append(f"{one.plan} placed by drift")
        return "; ".join(roles) or "asked for"


def compare_plans(
    context: EvalContext,
    generator: DiffusionGenerator[Any, Any],
    clips: Sequence[Clip],
    plans: list[StepPlan],
) -> PlanComparison:
    """Compare plans with full sampling, also of equal cost, and with key steps placed by drift.

    The baselines are chosen on the first clip.
    """
    references = [full_plan(steps) for steps in REFERENCES]
    baselines: list[Baselines] | None = None
    found: dict[str, list[Metrics]] = {}
    for clip in clips:
        identity = generator.prepare(clip.portrait)
        eval_clip = make_eval_clip(clip, context.seconds)
        inputs = prepare_inputs(generator, identity, eval_clip)
        if baselines is None:
            baselines = find_baselines(inputs, plans)
        others = [plan for one in baselines for plan in (one.equal_cost, one.by_drift)]
        compared = list(dict.fromkeys([*references, *plans, *others]))
        times = time_plans(inputs, compared, generator.chunk_frames)
        truth = track_video(
            eval_clip.truth, eval_clip, context.mouth_metric, f"truth of {clip.name}"
        )
        reference_outputs = [run_plan(inputs, plan, eval_clip) for plan in references]
        for plan, milliseconds in zip(compared, times, strict=True):
            computed = [one for one in reference_outputs if one.plan == plan]
            output = computed[0] if computed else run_plan(inputs, plan, eval_clip)
            metrics = _measure_plan(context, eval_clip, truth, output, generator.chunk_frames)
            for reference in reference_outputs:
                metrics.update(distance(output, reference, eval_clip))
            found.setdefault(plan_name(plan), []).append({**metrics, "ms_per_frame": milliseconds})
    return PlanComparison(
        {name: mean_metrics(each) for name, each in found.items()}, baselines or []
    )


def _measure_plan(
    context: EvalContext,
    eval_clip: EvalClip,
    truth: VideoTracks,
    output: PlanOutput,
    chunk: int,
) -> Metrics:
    tracks = track_video(
        output.frames, eval_clip, context.mouth_metric, f"plan {plan_name(output.plan)}"
    )
    return compare(output.frames, tracks, eval_clip, truth, chunk)
