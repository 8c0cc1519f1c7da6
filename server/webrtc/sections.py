"""SDP as text: its session part and its media sections, cut apart and put together again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

DIRECTIONS = ("inactive", "sendonly", "recvonly", "sendrecv")
TRANSPORT = (
    *("a=ice-ufrag:", "a=ice-pwd:", "a=ice-options:", "a=fingerprint:", "a=setup:"),
    *("a=candidate:", "a=end-of-candidates"),
)
"""What belongs to the transport that bundled sections share."""


@dataclass(frozen=True, slots=True)
class Lines:
    """The lines of a session part or of one media section."""

    lines: tuple[str, ...]

    def all(self, *starts: str) -> tuple[str, ...]:
        """The lines that begin with one of ``starts``."""
        return tuple(line for line in self.lines if line.startswith(starts))

    def without(self, *starts: str) -> tuple[str, ...]:
        """The other lines."""
        return tuple(line for line in self.lines if not line.startswith(starts))

    def value(self, start: str) -> str | None:
        """What follows ``start`` in the first line that begins with it."""
        return next((line[len(start) :].strip() for line in self.all(start)), None)

    @property
    def media(self) -> tuple[str, str, str]:
        """Kind, port and the rest of the m-line; empty where there is less."""
        kind, _, rest = (self.lines[0] if self.lines else "").removeprefix("m=").partition(" ")
        port, _, rest = rest.partition(" ")
        return kind, port, rest

    @property
    def is_dead(self) -> bool:
        """Whether the section was stopped or refused; one that is only bundled is not."""
        return self.media[1] == "0" and not self.all("a=bundle-only")

    @property
    def mid(self) -> str | None:
        """The section's name in the BUNDLE group."""
        return self.value("a=mid:")

    @property
    def direction(self) -> str | None:
        """As the offerer says it, or None."""
        return next((line[2:] for line in self.lines if line[2:] in DIRECTIONS), None)


def cut(text: str) -> tuple[Lines, list[Lines]]:
    """The session part and the media sections."""
    parts: list[list[str]] = [[]]
    for line in text.splitlines():
        if line.startswith("m="):
            parts.append([])
        if line.strip():
            parts[-1].append(line.rstrip())
    session, *media = (Lines(tuple(part)) for part in parts)
    return session, media


def join(lines: Iterable[str]) -> str:
    """The text of lines."""
    return "".join(f"{line}\r\n" for line in lines)


def refusal(section: Lines) -> Iterator[str]:
    """The lines that answer a section which is dead or cannot be used."""
    kind, _, rest = section.media
    yield f"m={kind} 0 {rest}"
    yield "c=IN IP4 0.0.0.0"
    if kind in ("audio", "video"):
        yield "a=inactive"
    if section.mid is not None:
        yield f"a=mid:{section.mid}"
