"""Nothing is made without consent, and consent is recorded."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import pytest

from models.errors import LiveheadError
from models.finetune.consent import FILE, STATEMENT, ask_consent, write_consent

pytestmark = pytest.mark.unit

NOON = datetime(2030, 1, 2, 12, tzinfo=UTC)


@pytest.fixture
def video(tmp_path: Path) -> Path:
    path = tmp_path / "me.mp4"
    path.write_bytes(b"content")
    return path


@pytest.mark.parametrize(("agreed", "given"), [(False, "typed"), (True, "option")])
def test_consent_is_recorded(video: Path, tmp_path: Path, agreed: bool, given: str) -> None:
    questions: list[str] = []

    def answer(question: str) -> str:
        questions.append(question)
        return " Yes "

    consent = ask_consent(video, agreed=agreed, now=lambda: NOON, answer=answer)
    write_consent(tmp_path, consent)
    assert json.loads((tmp_path / FILE).read_text("utf-8")) == {
        "statement": STATEMENT,
        "given": given,
        "at": "2030-01-02T12:00:00+00:00",
        "video": "me.mp4",
        "sha256": sha256(b"content").hexdigest(),
    }
    assert agreed is not bool(questions)
    assert all(STATEMENT in question for question in questions)


@pytest.mark.parametrize("typed", ["", "no", "y", "yes please"])
def test_any_other_answer_is_a_no(video: Path, typed: str) -> None:
    with pytest.raises(LiveheadError) as caught:
        ask_consent(video, agreed=False, now=lambda: NOON, answer=lambda _: typed)
    assert caught.value.code == "no_consent"


def test_a_script_without_the_option_is_refused(video: Path) -> None:
    def nobody(question: str) -> str:
        raise EOFError

    with pytest.raises(LiveheadError, match="--yes"):
        ask_consent(video, agreed=False, now=lambda: NOON, answer=nobody)
