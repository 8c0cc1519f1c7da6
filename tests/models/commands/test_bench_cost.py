"""What ``livehead bench cost`` reports, and what it refuses."""

from __future__ import annotations

import argparse
import json
from typing import Any

import pytest

from models.commands import bench_cost as cost_command
from models.errors import LiveheadError
from models.registry import find_card

pytestmark = [pytest.mark.unit, pytest.mark.slow]

SMALL = ("--size", "128", "--frames", "4")


def parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    cost_command.add_arguments(parser)
    return parser.parse_args(words)


def reported(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    """The line for machines, last of what is written."""
    assert cost_command.run(parsed(*words, "--json")) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return found


def test_the_record_adds_up(capsys: pytest.CaptureFixture[str]) -> None:
    found = reported(capsys, "--model", "echomimic", *SMALL, "--plan", "10:0,5,9+dfa")
    gmac, ratio = found["gmac"], found["ratio"]
    paper = find_card("echomimic").paper
    assert paper is not None
    assert found["foreground"] == paper.face_share and found["frames"] == 4
    assert gmac["light_dfa"] < gmac["light"] < gmac["key"] < gmac["published"]
    kinds = sum(sum(levels) for levels in found["key_by_kind"].values())
    assert kinds == pytest.approx(gmac["key"])
    moved = gmac["once"]["reference keys"] + gmac["once"]["audio keys"]
    ours = moved + 3 * gmac["key"] + 7 * gmac["light_dfa"]
    assert ratio["lightning_dfa"] == pytest.approx(10 * gmac["published"] / ours)
    assert ratio["paper"] == 3.37


def test_without_a_plan_it_counts_the_papers_steps(capsys: pytest.CaptureFixture[str]) -> None:
    found = reported(capsys, "--model", "echomimic-acc", *SMALL, "--foreground", "0.3")
    assert (found["steps"], found["keys"], found["foreground"]) == (6, 4, 0.3)


def test_leaving_the_reference_out_is_counted(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--model", "echomimic-acc", *SMALL)
    whole = reported(capsys, *words)
    less = reported(capsys, *words, "--without-reference", "up_blocks.3.attentions.2")
    assert less["ratio"]["lightning_dfa"] > whole["ratio"]["lightning_dfa"]
    assert less["without_reference"] == ["up_blocks.3.attentions.2"]


@pytest.mark.parametrize(
    "words",
    [
        ("--model", "mini"),
        ("--model", "echomimic", "--size", "100"),
        ("--model", "echomimic", "--foreground", "0"),
        ("--model", "echomimic", "--foreground", "1.5"),
        ("--model", "echomimic", *SMALL, "--without-reference", "conv_in"),
        ("--model", "echomimic", *SMALL, "--plan", "ten"),
        ("--model", "echomimic", *SMALL, "--frames", "-1"),
    ],
)
def test_what_makes_no_sense_is_refused(words: tuple[str, ...]) -> None:
    with pytest.raises(LiveheadError):
        cost_command.run(parsed(*words))
