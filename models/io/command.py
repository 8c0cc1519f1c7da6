"""How a command ends: whatever happens, with one line on standard error and a status."""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from models.errors import LiveheadError
from models.io import console

FAILED = 1
SIGNALLED = 128
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_Handler = Callable[[int, FrameType | None], object]


class Terminated(KeyboardInterrupt):
    """Raised in the main thread by SIGTERM and SIGHUP, as KeyboardInterrupt is by SIGINT."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


def run_command(act: Callable[[], int]) -> int:
    """The exit status of what a command does: its own, 1 after an error, 128 + a signal's number.

    A signal unwinds the work as an exception, so that nothing half made is left behind.
    """
    _show_any_name()
    try:
        with _handled({signal.SIGTERM: _raise, signal.SIGHUP: _raise}):
            status = act()
            sys.stdout.flush()
            return status
    except LiveheadError as error:
        return _fail(f"{error.code}: {error}")
    except BrokenPipeError:
        return _fail("stopped: nobody reads what is printed")
    except OSError as error:
        what = f" ({error.filename})" if error.filename else ""
        return _fail(
            f"system_error: expected to read and write, got: {error.strerror or error}{what};"
            " make room, or name files that can be used"
        )
    except MemoryError:
        return _fail("out_of_memory: expected more memory; give shorter sound or smaller pictures")
    except KeyboardInterrupt as stop:
        _fail("stopped")
        return SIGNALLED + (stop.number if isinstance(stop, Terminated) else signal.SIGINT)


@contextmanager
def ended_at_once() -> Iterator[None]:
    """A signal ends the process without unwinding: for imports, which cannot be unwound."""
    with _handled(dict.fromkeys(ENDING, _exit)):
        yield


@contextmanager
def deaf_children() -> Iterator[None]:
    """Processes that this thread starts leave Ctrl-C, which reaches them all, to their parent."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # which they inherit
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _handled(handlers: dict[signal.Signals, _Handler]) -> Iterator[None]:
    """Handle signals so for a while, but for those that whoever started us has switched off."""
    before = {number: signal.getsignal(number) for number in handlers}
    changed = [number for number, handler in before.items() if handler is not signal.SIG_IGN]
    try:
        for number in changed:
            signal.signal(number, handlers[number])
    except ValueError:  # not the main thread, which alone gets signals
        changed = []
    try:
        yield
    finally:
        for number in changed:
            signal.signal(number, before[number])


def _raise(number: int, _: FrameType | None) -> NoReturn:
    raise Terminated(number)


def _exit(number: int, _: FrameType | None) -> NoReturn:
    os.write(2, b"stopped\n")
    os._exit(SIGNALLED + number)


def _fail(line: str) -> int:
    """Say why; what cannot be printed must not fail once more when Python ends."""
    for stream, number in ((sys.stdout, 1), (sys.stderr, 2)):
        try:
            if stream is sys.stderr:
                console.warn(line)
            stream.flush()
        except (OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), number)
    return FAILED


def _show_any_name() -> None:
    """Print file names that are not text in the terminal's encoding as escapes."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
