"""``livehead bench server``: what callers wait for, what sessions cost, what they leave behind.

A server is started on a free port, and real peers hold sessions with it on this machine, in
processes of their own. In this order are measured

* creation: ``POST /session`` with a prepared avatar and with portraits never seen;
* ``--sessions`` at once for ``--minutes``, each speaking now and then: how many are admitted, their
  frames a second and longest gaps, the delay from the first sound of an utterance to the arrival of
  the first frame marked as speaking, and the processor time of gateway, workers and peers.
  Utterances are pushed in two ways, in turns: all at once, as a text-to-speech engine does, and in
  steps of 20 ms in real time, as a microphone does; the second cannot be faster than the sound
  itself. Peers that call (``--peers webrtc``) cannot tell frames that speak, and have no delays;
* with ``--ended``, in a second server, what sessions leave behind that end in mixed ways.

``--busy`` processes compute beside the first two; they start when the server is ready.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from client_demo.bench_server.busy import busy_processes
from client_demo.bench_server.creation import NEW_TIMES, PREPARED_TIMES, time_creations
from client_demo.bench_server.ending import sessions_before, weigh_endings
from client_demo.bench_server.holding import hold_sessions, whole_seconds
from client_demo.bench_server.options import BenchOptions, add_arguments, read_arguments
from client_demo.bench_server.processes import require_proc
from client_demo.bench_server.record import make_record
from client_demo.bench_server.report import show
from client_demo.bench_server.server_process import run_server
from models.io import console

__all__ = ["add_arguments", "measure", "run"]

Bar = Callable[[str, float, str], Any]


def run(args: argparse.Namespace) -> int:
    """Measure and print a table, then one JSON object; the exit status is 0 with misses too.

    Raises:
        LiveheadError: an option makes no sense, or the server cannot be measured.
    """
    record = measure(read_arguments(args), partial(progress, shown=not args.json))
    if not args.json:
        show(record)
    console.emit_json(record)
    return 0


def measure(options: BenchOptions, bar: Bar) -> dict[str, Any]:
    """Measure; the record to print.

    Args:
        bar: label, total and unit -> a context that gives what moves a progress bar.
    """
    require_proc()
    with run_server(options.server_flags()) as server, busy_processes(options.busy):
        readiness = server.readiness()
        with bar("creating", PREPARED_TIMES + NEW_TIMES, "session") as done:
            creations = time_creations(server.url, done)
        with bar("holding sessions", whole_seconds(options), "s") as passed:
            held = hold_sessions(server, options, passed)
    weighed = None
    if options.ended:
        with bar("ending sessions", sessions_before() + options.ended, "session") as done:
            weighed = weigh_endings(options, done)
    return make_record(options, readiness, creations, held, weighed)


@contextmanager
def progress(
    label: str, total: float, unit: str, *, shown: bool
) -> Iterator[Callable[[float], object]]:
    """A progress bar, or nothing."""
    if not shown:
        yield lambda _: None
        return
    with console.bar(label, total, unit) as bar:
        yield bar.update
