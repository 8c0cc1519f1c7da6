"""Asks whether the person in a video agrees, and records the answer."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path

from models.errors import LiveheadError

STATEMENT = (
    "I am the person in this video, or I have their consent to teach a model their face and to"
    " generate video of them with it."
)
FILE = "consent.json"


@dataclass(frozen=True)
class Consent:
    """Who may be taught, and since when.

    Attributes:
        statement: what was agreed to.
        given: ``typed`` on a terminal, or by the ``option`` --yes.
        at: ISO 8601, UTC.
        video: name of the file; ``sha256``: of its content.
    """

    statement: str
    given: str
    at: str
    video: str
    sha256: str


def ask_consent(
    video: Path, *, agreed: bool, now: Callable[[], datetime], answer: Callable[[str], str]
) -> Consent:
    """The consent to use a video.

    Args:
        agreed: the statement was agreed to by an option; nobody is asked.
        now: the time in UTC.
        answer: what a person types after a question.

    Raises:
        LiveheadError: the answer is not yes (``no_consent``).
    """
    if not agreed:
        try:
            typed = answer(f"{STATEMENT}\nType yes to confirm: ")
        except EOFError:
            typed = ""
        if typed.strip().lower() != "yes":
            raise LiveheadError(
                "expected yes, got another answer; without the person's consent nothing is made"
                " (a script says it with --yes)",
                code="no_consent",
            )
    return Consent(
        STATEMENT,
        "option" if agreed else "typed",
        now().isoformat(timespec="seconds"),
        video.name,
        _digest(video),
    )


def write_consent(folder: Path, consent: Consent) -> None:
    """Record it in the folder that is made of the video."""
    text = json.dumps(asdict(consent), indent=1, ensure_ascii=False) + "\n"
    (folder / FILE).write_text(text, encoding="utf-8")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        digest = sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
