"""Models by name: a card says everything that other folders must know of one.

Cards are data, found without importing PyTorch; what they name is imported when it is loaded.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

from models.errors import LiveheadError
from models.generator import AnyGenerator
from models.options import ModelOptions
from models.spec import DiffusionSpec

MODELS = {
    "mini": "models.mini.config:CARD",
    "hallo": "models.hallo.config:CARD",
    "echomimic": "models.echomimic.config:CARD",
    "echomimic-acc": "models.echomimic.config:ACC_CARD",
    "memo": "models.memo.config:CARD",
    "fake": "models.fake:CARD",
}
"""Where the card of each model is, ``module:name``. Adding a model is a folder and a line here."""


@dataclass(frozen=True)
class PaperFlops:
    """What LightningCP's paper reports of a model (arXiv 2509.00052, tables 1 and 2).

    Attributes:
        steps: T; key_steps: K, as its figures imply.
        ratio: FLOPs of full sampling over LightningCP with DFA and reference removal.
        frames: of a chunk, as published.
        face_share: face tokens in all tokens, as the model's own mask has them of our avatars.
    """

    steps: int
    key_steps: int
    ratio: float
    frames: int
    face_share: float


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """One model.

    Attributes:
        name: on command lines and in the environment.
        load: ``module:function``, called with the card and ``ModelOptions``, gives the generator.
        spec: frame rate, chunk, schedule and latents; None if nothing is sampled.
        plan: how the steps are run if nobody says otherwise (``models.lightning.plan.parse``).
        engines: that ``--engine`` may name.
        takes: options beyond the common ones that the model knows, by ``ModelOptions`` field.
        square_step: of the side of frames that must be square, pixels; 0 where any even sides will
            do.
        paper: None where LightningCP's paper does not measure the model.
        extra: of this package, which installs what the model needs; "" for nothing.
    """

    name: str
    load: str
    spec: DiffusionSpec | None = None
    plan: str = ""
    engines: tuple[str, ...] = ("auto", "eager")
    takes: frozenset[str] = frozenset()
    square_step: int = 0
    paper: PaperFlops | None = None
    extra: str = ""


def find_card(name: str) -> ModelCard:
    """The card of a model.

    Raises:
        LiveheadError: there is none of this name (``unknown_model``).
    """
    if name not in MODELS:
        raise LiveheadError(
            f"expected a model name out of: {', '.join(MODELS)}; got {name!r}",
            code="unknown_model",
        )
    card: ModelCard = find_object(MODELS[name])
    return card


def measured_models() -> tuple[str, ...]:
    """Names of the models that LightningCP's paper measures."""
    return tuple(name for name in MODELS if find_card(name).paper is not None)


def find_object(path: str) -> Any:
    """What ``module:name`` stands for."""
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)


def load_generator(options: ModelOptions) -> AnyGenerator:
    """A warm generator; heavy imports happen here and nowhere else.

    Raises:
        WeightsError: the model's weights are missing or do not fit.
        LiveheadError: an option makes no sense (``bad_option``, ``bad_plan``), a name is not known
            (``unknown_model``), or a package is not installed (``missing_extra``,
            ``missing_engine``).
    """
    card = find_card(options.model)
    options.check(card.engines, card.takes, card.square_step)
    try:
        generator: AnyGenerator = find_object(card.load)(card, options)
    except ModuleNotFoundError as error:
        if not card.extra or (error.name or "").startswith("models."):
            raise
        raise LiveheadError(
            f"{card.name} needs the package {error.name}, which is not installed; install"
            f" livehead[{card.extra}]",
            code="missing_extra",
        ) from error
    return generator
