"""A command ends with one line and a status, whatever stops it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from models.errors import LiveheadError
from models.io import console
from models.io.command import deaf_children, run_command

pytestmark = pytest.mark.unit


def raising(error: BaseException) -> Callable[[], int]:
    """A command that fails so."""

    def act() -> int:
        raise error

    return act


def doing(what: Callable[[], None]) -> Callable[[], int]:
    """A command that does this."""

    def act() -> int:
        what()
        return 0

    return act


def test_a_commands_own_status_is_kept() -> None:
    assert run_command(lambda: 7) == 7


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (LiveheadError("expected a, got b", code="bad_option"), "bad_option: expected a, got b\n"),
        (OSError(28, "No space left on device", "a.mp4"), "No space left on device (a.mp4)"),
        (MemoryError(), "out_of_memory"),
        (BrokenPipeError(), "nobody reads"),
    ],
)
def test_an_error_is_one_line(
    error: BaseException, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(raising(error)) == 1
    shown = capsys.readouterr().err
    assert line in shown and shown.count("\n") == 1


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_unwinds_the_work(
    number: signal.Signals, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    if signal.getsignal(number) is signal.SIG_IGN:
        pytest.skip("whoever started the tests has this signal ignored, and so it stays")
    before, unwound = signal.getsignal(number), []

    def act() -> int:
        try:
            signal.raise_signal(number)
        finally:
            unwound.append(True)
        return 0

    assert run_command(act) == status
    assert unwound and capsys.readouterr().err == "stopped\n"
    assert signal.getsignal(number) is before


def test_what_was_switched_off_stays_so() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        assert run_command(doing(lambda: signal.raise_signal(signal.SIGHUP))) == 0
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_name_that_is_not_text_can_be_printed(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    name = os.fsdecode(b"\xff.mp4")
    assert run_command(doing(lambda: console.say(name))) == 0
    assert capsysbinary.readouterr().out == b"\\udcff.mp4\n"


def test_a_full_standard_output_is_one_line() -> None:
    code = "from models.io.command import *; exit(run_command(lambda: print('x') or 0))"
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run([sys.executable, "-c", code], stdout=full, stderr=subprocess.PIPE)
    assert ended.returncode == 1
    assert ended.stderr.count(b"\n") == 1 and b"No space left" in ended.stderr


def test_children_leave_ctrl_c_to_their_parent() -> None:
    with deaf_children():
        child = subprocess.Popen(
            [sys.executable, "-c", "input(); print('done')"], stdin=-1, stdout=-1
        )
    child.send_signal(signal.SIGINT)
    assert child.communicate(b"\n")[0] == b"done\n"
