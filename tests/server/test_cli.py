"""The command line: one table, lazy modules, clear refusals."""

from __future__ import annotations

import importlib
import sys
import types
from argparse import ArgumentParser, Namespace

import pytest

from models.errors import WeightsError
from server import cli

pytestmark = pytest.mark.unit


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two commands: one that works, one that is missing."""
    module = types.ModuleType("tests_spoken_command")

    def add_arguments(parser: ArgumentParser) -> None:
        parser.add_argument("--times", type=int, default=1)

    def run(args: Namespace) -> int:
        if args.times > 9:
            raise WeightsError("expected weights, got none", code="missing_weights")
        return int(args.times)

    module.add_arguments = add_arguments  # type: ignore[attr-defined]
    module.run = run  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    table = {
        "speak": cli.Command(module.__name__, "says it"),
        "walk": cli.Command("models.no_such_module", "walks", {"far": cli.Command("nope.far", "")}),
    }
    monkeypatch.setattr(cli, "COMMANDS", table)


@pytest.mark.usefixtures("commands")
def test_a_command_gets_its_options() -> None:
    assert cli.main(["speak", "--times", "7"]) == 7


@pytest.mark.usefixtures("commands")
@pytest.mark.parametrize("words", [["walk"], ["walk", "far"]])
def test_a_missing_command_is_named(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(words) == 1
    assert f"livehead {' '.join(words)} is not part" in capsys.readouterr().err


@pytest.mark.usefixtures("commands")
def test_an_error_of_ours_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["speak", "--times", "10"]) == 1
    assert capsys.readouterr().err == "missing_weights: expected weights, got none\n"


@pytest.mark.parametrize(
    ("words", "status"), [([], 2), (["--help"], 0), (["-h"], 0), (["dance"], 2)]
)
def test_the_overview_lists_every_command(
    words: list[str], status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(words) == status
    shown = capsys.readouterr()
    for name in ("serve", "render", "bench server", "evaluate", "train", "data"):
        assert name in shown.out
    assert ("dance" in shown.err) == ("dance" in words)


def test_a_missing_package_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing(name: str) -> types.ModuleType:
        raise ModuleNotFoundError("no", name="moderngl")

    monkeypatch.setattr(importlib, "import_module", missing)
    assert cli.main(["data"]) == 1
    assert "moderngl" in capsys.readouterr().err


def test_serve_refuses_wrong_settings(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LIVEHEAD_MAX_SESSIONS", "none")
    assert cli.main(["serve"]) == 2
    assert "LIVEHEAD_MAX_SESSIONS" in capsys.readouterr().err
