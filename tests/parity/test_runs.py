"""Whole sampling runs reproduce the stored ones, where a reference is at hand."""

from __future__ import annotations

import pytest

from tests.parity.test_replays import check_section, sections

pytestmark = pytest.mark.e2e


@pytest.mark.parametrize(("model", "section"), sections(runs=True))
def test_stored_runs_are_reproduced(model: str, section: str, subtests: pytest.Subtests) -> None:
    check_section(model, section, subtests)
