"""What ``livehead bench server`` was asked to measure, checked."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Literal, get_args

from models.errors import LiveheadError

PeerKind = Literal["websocket", "webrtc"]

MINUTE_S = 60.0
UTTERANCE_S = 2.0
SHORTEST_PERIOD_S = UTTERANCE_S + 1.2  # the face comes to rest between utterances
PERIOD_ALONE_S = 4.0
PERIOD_OF_MANY_S = 15.0


@dataclass(frozen=True)
class BenchOptions:
    """As on the command line.

    Attributes:
        sessions: that are asked for at once.
        minutes: for which each receives.
        utterances: of each session, spread over the minutes; None for one every 4 s of a session
            alone, every 15 s of several.
        threads, workers, max_sessions, size: given to the server; None leaves them out.
        busy: other processes that compute all the time.
        ended: sessions to be ended in mixed ways.
    """

    model: str = "mini"
    sessions: int = 1
    minutes: float = 1.0
    utterances: int | None = None
    threads: int | None = None
    workers: int | None = None
    max_sessions: int | None = None
    size: str | None = None
    busy: int = 0
    ended: int = 0
    peers: PeerKind = "websocket"

    def __post_init__(self) -> None:
        """Refuse what cannot be measured.

        Raises:
            LiveheadError: ``bad_option``.
        """
        least = {"sessions": 1, "utterances": 0, "threads": 1, "workers": 1, "max_sessions": 1}
        for name, low in {**least, "busy": 0, "ended": 0}.items():
            value = getattr(self, name)
            if value is not None and value < low:
                flag = name.replace("_", "-")
                raise LiveheadError(
                    f"expected --{flag} of {low} or more, got {value}", code="bad_option"
                )
        if not self.minutes > 0:
            raise LiveheadError(
                f"expected --minutes above 0, got {self.minutes:g}", code="bad_option"
            )

    @property
    def seconds(self) -> float:
        """For which each session receives."""
        return self.minutes * MINUTE_S

    @property
    def period_s(self) -> float | None:
        """From one utterance of a session to its next; None where it says nothing."""
        if self.utterances == 0:
            return None
        if self.utterances is None:
            return PERIOD_ALONE_S if self.sessions == 1 else PERIOD_OF_MANY_S
        return max(SHORTEST_PERIOD_S, self.seconds / self.utterances)

    def server_flags(self) -> list[str]:
        """Options of ``livehead serve``."""
        given = {
            "model": self.model,
            "size": self.size,
            "threads": self.threads,
            "workers": self.workers,
            "max-sessions": self.max_sessions,
        }
        return [
            word
            for name, value in given.items()
            if value is not None
            for word in (f"--{name}", str(value))
        ]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the bench's options."""
    add = parser.add_argument
    add("--model", default="mini", help="generator (default mini)")
    add("--sessions", type=int, default=1, metavar="N", help="at once (default 1)")
    add("--minutes", type=float, default=1.0, metavar="M", help="of each (default 1)")
    add(
        "--utterances",
        type=int,
        metavar="U",
        help="of each session (default: one every 4 s of a session alone, every 15 s of several)",
    )
    add("--peers", choices=get_args(PeerKind), default="websocket", help="(default websocket)")
    add("--busy", type=int, default=0, metavar="K", help="other processes that compute (default 0)")
    add(
        "--ended",
        type=int,
        default=0,
        metavar="N",
        help="sessions to end in mixed ways, for what they leave behind (default 0)",
    )
    for name, text in (
        ("threads", "threads of a worker's model"),
        ("workers", "worker processes"),
        ("max-sessions", "places"),
    ):
        add(f"--{name}", type=int, metavar="N", help=f"{text} (default: the server's own)")
    add("--size", metavar="N", help="of frames, a side or WIDTHxHEIGHT (default: the server's own)")
    add("--json", action="store_true", help="print only the JSON line")


def read_arguments(args: argparse.Namespace) -> BenchOptions:
    """The options of a command line.

    Raises:
        LiveheadError: ``bad_option``.
    """
    return BenchOptions(**{name: value for name, value in vars(args).items() if name != "json"})
