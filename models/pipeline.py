"""The generator around a diffusion backbone: batches streams, samples latents, decodes frames."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from models.errors import LiveheadError, WeightsError
from models.lightning.devices import DeviceReplica, make_replicas
from models.lightning.plan import StepPlan, parse
from models.lightning.sampler import Sampler
from models.published import PUBLISHED, PublishedOptions
from models.runtime.choose import prepare_engine
from models.spec import DiffusionSpec


class Pipeline(Protocol):
    """A backbone with everything around it: what turns portraits and audio into its conditions."""

    @property
    def spec(self) -> DiffusionSpec:
        """The row that describes the backbone."""
        ...

    backbone: Any
    size: tuple[int, int]

    def identity(self, picture: NDArray[np.uint8]) -> Any:
        """RGB uint8 [H, W, 3] -> what is static for the portrait."""
        ...

    def stream(self, identity: Any, seed: int, speech: NDArray[np.float32] | None = None) -> Any:
        """Start the state that a session carries; ``speech`` is all of it, where it is known."""
        ...

    def condition(self, stream: Any, audio: NDArray[np.float32]) -> Any:
        """Conditions of the stream's next chunk, batch 1; advances the stream."""
        ...

    def sample(self, sampler: Sampler, streams: Sequence[Any], conditions: Sequence[Any]) -> Tensor:
        """Clean latents [B, C, F, H, W] of every stream's next chunk."""
        ...

    def decode(self, streams: Sequence[Any], latents: Tensor) -> Tensor:
        """Latents [B, C, F, H, W] of B streams -> RGB uint8 [B, F, H, W, 3]."""
        ...


class DiffusionGenerator:
    """Implements ``models.generator.Generator`` for any ``Pipeline``."""

    def __init__(
        self, family: Pipeline, plan: StepPlan, *, lanes: Sequence[DeviceReplica] = ()
    ) -> None:
        spec = family.spec
        self.family = family
        self.plan = plan
        self.fps = spec.fps
        self.size = family.size
        self.chunk_frames = spec.chunk_frames
        self.lookahead_frames = spec.lookahead_frames
        self.sample_rate = 16_000
        self.lanes = tuple(lanes)
        self._sampler = Sampler(spec.schedule, plan, lanes=lanes)

    def prepare(self, portrait: NDArray[np.uint8]) -> Any:
        """Compute what is static for one portrait; see ``Generator.prepare``."""
        return self.family.identity(portrait)

    def open(
        self, identity: Any, *, seed: int = 0, speech: NDArray[np.float32] | None = None
    ) -> Any:
        """Start a stream for an identity; see ``Generator.open``."""
        return self.family.stream(identity, seed, speech)

    def generate(
        self, streams: Sequence[Any], audio: Sequence[NDArray[np.float32]]
    ) -> list[NDArray[np.uint8]]:
        """The next chunk of every stream, in one batch; see ``Generator.generate``."""
        family = self.family
        if not streams:
            return []
        conditions = [
            family.condition(stream, samples)
            for stream, samples in zip(streams, audio, strict=True)
        ]
        latents = family.sample(self._sampler, streams, conditions)
        return list(family.decode(streams, latents).cpu().numpy())


def load_generator(
    name: str,
    *,
    weights: Path | str | None = None,
    threads: int | None = None,
    plan: str | None = None,
    engine: str = "auto",
    options: PublishedOptions | None = None,
) -> DiffusionGenerator:
    """Load a backbone by name with its weights.

    Args:
        name: ``mini``, or one of ``models.published.PUBLISHED``.
        weights: mini's: a folder as ``livehead train`` exports it, the bundled one if None; a
            published model's: its publisher's folder, or ``random:SEED``.
        threads: for tensor maths on the CPU; what suits the engine if None.
        plan: a step plan such as ``10:0,4,8+dfa``; if None the one stored beside the weights, or of
            published models ``models.spec.PUBLISHED_PLANS``.
        engine: one of ``models.runtime.choose.ENGINES``; of published models ``eager`` or
            ``compiled``.
        options: of published models; their defaults if None.

    Raises:
        WeightsError: weights are missing or do not fit.
        LiveheadError: a name is not known (``unknown_model``, ``bad_option``) or the engine is not
            installed (``missing_engine``).
    """
    if name in PUBLISHED:
        return _published(name, weights, threads, plan, engine, options or PublishedOptions())
    if name != "mini":
        names = ", ".join(("mini", *PUBLISHED))
        raise LiveheadError(
            f"expected a model name out of: {names}; got {name!r}", code="unknown_model"
        )
    if options not in (None, PublishedOptions()):
        raise LiveheadError(
            "expected --size, --dtype, --devices and --without-reference with a published model"
            f" only, got {options} for {name}; leave them out",
            code="bad_option",
        )
    from models.mini.checkpoint import load_mini  # the weights' room knows their layout

    runner = prepare_engine(engine, threads)
    folder = Path(weights) if weights else None
    family, stored = load_mini(folder, threads=threads or 1, engine=runner)
    return DiffusionGenerator(family, parse(plan) if plan else stored)


def _published(
    name: str,
    weights: Path | str | None,
    threads: int | None,
    plan: str | None,
    engine: str,
    options: PublishedOptions,
) -> DiffusionGenerator:
    """A published model with the lanes that its devices make."""
    if weights is None:
        raise WeightsError(
            f"expected --weights with the folder of {name}'s publisher, or random:SEED, got none;"
            " docs/published-weights.md says what is in it",
            code="missing_weights",
        )
    if engine not in ("auto", "eager", "compiled"):
        raise LiveheadError(
            f"expected the engine eager or compiled for {name}, got {engine!r}; leave --engine out",
            code="bad_option",
        )
    prepare_engine("eager", threads)
    from models.sd15.compiled import compile_backbone
    from models.sd15.load import load_pipeline  # brings the extra's packages

    family, stored = load_pipeline(name, str(weights), options)
    several = len(options.devices) > 1
    if several:  # light steps that wait for each other leave nothing to share
        stored = stored.at_once()
    chosen = parse(plan) if plan else stored
    lanes = make_replicas(family.backbone, options.devices) if several else []
    if engine == "compiled":
        compile_backbone(family.backbone, lanes)
    return DiffusionGenerator(family, chosen, lanes=lanes)
