"""The card of the toy model."""

from __future__ import annotations

from models.registry import ModelCard
from models.spec import DiffusionSpec

CARD = ModelCard(
    name="toy",
    load="tests.support.toy_model.pipeline:load_generator",
    spec=DiffusionSpec("toy", 25.0, 4, 2, 4, (3, 8, 8)),
    plan="4:0,2+parallel",
)
