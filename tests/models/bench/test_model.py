"""The bench of ``mini``: its plans, and its target."""

from __future__ import annotations

import pytest

from models.bench.model import variants
from models.bench.target import load_target
from models.errors import LiveheadError
from models.lightning.plan import parse

pytestmark = pytest.mark.unit


def test_three_plans_are_compared() -> None:
    assert {name: str(plan) for name, plan in variants(parse("8:0,4+dfa")).items()} == {
        "plain": "8:0,1,2,3,4,5,6,7",
        "lightning": "8:0,4",
        "lightning_dfa": "8:0,4+dfa",
    }


@pytest.mark.parametrize("weights", ["random:", "random:x"])
def test_a_seed_must_be_a_number(weights: str) -> None:
    with pytest.raises(LiveheadError) as caught:
        load_target(weights, None, 1)
    assert caught.value.code == "bad_option"
