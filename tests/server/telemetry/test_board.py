"""The Grafana board and the table of metrics ask for nothing that a server does not tell."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.server_in_loop import Caller, serving
from tests.support.tracked import ROOT

pytestmark = pytest.mark.unit

BOARD = ROOT / "deploy" / "grafana" / "livehead.json"
PAGE = ROOT / "docs" / "observability.md"
FUNCTIONS = {"histogram_quantile", "increase", "rate", "sum"}
GROUPING = re.compile(r"\bby \(([^)]*)\)")
SELECTOR = re.compile(r"([a-z_]+)(?:\{([^}]*)\})?(?!\w|\()")
MATCHER = re.compile(r'(\w+)(=~|!=|=)"([^"]*)"')
RANGE = re.compile(r"\[(?:\$__rate_interval|\d+[smh])\]")

Series = dict[str, dict[str, set[str]]]
"""Each series' name -> its labels -> the values that there are."""


async def exposition(caller: Caller) -> tuple[str, Series]:
    """What a server tells after a session, a refusal and an end."""
    await caller.delete(await caller.create())
    await caller.http.post("/session", json={"avatar_id": "nobody"})
    text = (await caller.http.get("/metrics")).text
    found: Series = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = found.setdefault(sample.name, {})
            for name, value in sample.labels.items():
                labels.setdefault(name, set()).add(value)
    return text, found


def faults(query: str, legend: str, series: Series) -> list[str]:
    """What a query names that the series do not have; empty for a good one."""
    wrong: list[str] = []
    grouped = [name.strip() for part in GROUPING.findall(query) for name in part.split(",")]
    rest = RANGE.sub("", GROUPING.sub("", query))
    used = [item for item in SELECTOR.findall(rest) if item[0] not in FUNCTIONS]
    called = set(re.findall(r"([a-z_]+)\(", rest))
    wrong += [f"no function {name}" for name in called - FUNCTIONS]
    if not used:
        wrong.append("no metric")
    for name, matchers in used:
        if name not in series:
            wrong.append(f"no metric {name}")
            continue
        read = MATCHER.findall(matchers)
        if MATCHER.sub("", matchers).strip(", "):
            wrong.append(f"unreadable matchers {matchers}")
        for label, _, values in read:
            known = series[name].get(label, set())
            wrong += [f"no {label}={value}" for value in values.split("|") if value not in known]
        wrong += [f"{name} has no {label}" for label in grouped if label not in series[name]]
    wrong += [
        f"no {name} in the result"
        for name in re.findall(r"{{(\w+)}}", legend)
        if name not in grouped
    ]
    if "histogram_quantile" in query and "le" not in grouped:
        wrong.append("a quantile of what has no le")
    if query.count("(") != query.count(")"):
        wrong.append("brackets")
    return wrong


async def test_the_board_asks_for_what_a_server_tells() -> None:
    board: dict[str, Any] = json.loads(BOARD.read_text("utf-8"))
    async with serving() as caller:
        _, series = await exposition(caller)
    targets = [target for panel in board["panels"] for target in panel["targets"]]
    wrong = {
        target["expr"]: found
        for target in targets
        if (found := faults(target["expr"], target["legendFormat"], series))
    }
    assert not wrong
    shown = " ".join(target["expr"] for target in targets)
    kinds = {re.sub("_(bucket|count|sum|created)$", "", name) for name in series}
    unseen = [name for name in kinds if name.startswith("livehead_") and name not in shown]
    unseen = [name for name in unseen if f"{name}_total" not in kinds]  # its _created
    assert not unseen, f"the board shows no {unseen}"


@pytest.mark.parametrize(
    ("query", "legend", "fault"),
    [
        ("sum(livehead_nonsense)", "", "no metric livehead_nonsense"),
        ("sum by (color) (livehead_sessions)", "", "livehead_sessions has no color"),
        ('sum(livehead_sessions{state="asleep"})', "", "no state=asleep"),
        ('sum(livehead_sessions{mood="idle"})', "", "no mood=idle"),
        ("sum(livehead_sessions)", "{{state}}", "no state in the result"),
        ("summ(livehead_sessions)", "", "no function summ"),
        ("histogram_quantile(0.5, sum(livehead_first_frame_seconds_bucket))", "", "a quantile"),
        ("sum(livehead_first_frame_seconds)", "", "no metric livehead_first_frame_seconds"),
    ],
)
async def test_a_query_that_is_off_is_found(query: str, legend: str, fault: str) -> None:
    async with serving() as caller:
        _, series = await exposition(caller)
    assert any(found.startswith(fault) for found in faults(query, legend, series))


async def test_the_page_lists_every_metric() -> None:
    async with serving() as caller:
        text, _ = await exposition(caller)
    rows = []
    for family in text_string_to_metric_families(text):
        if not family.name.startswith("livehead_") or family.name.endswith("_created"):
            continue
        name = family.name + "_total" * (family.type == "counter")
        labels = sorted({label for s in family.samples for label in s.labels} - {"le"})
        rows.append(f"| `{name}` | {family.type} | {', '.join(labels)} | {family.documentation} |")
    page = PAGE.read_text("utf-8").splitlines()
    listed = [line for line in page if line.startswith("| `livehead_")]
    assert listed == rows, "the table of docs/observability.md should be:\n" + "\n".join(rows)
