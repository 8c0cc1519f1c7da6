"""Log lines: JSON that a machine reads line by line, and nothing secret in either form."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import pytest

from server.telemetry.logs import JsonLines
from tests.support.server_in_loop import serving

pytestmark = pytest.mark.unit


@contextmanager
def json_lines() -> Iterator[io.StringIO]:
    """What the server logs, down to debug."""
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(JsonLines())
    logger = logging.getLogger("server")
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        yield written
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)


def read(written: io.StringIO) -> list[dict[str, Any]]:
    """One object for each line."""
    return [json.loads(line) for line in written.getvalue().splitlines()]


def test_a_line_is_one_object_whatever_it_holds() -> None:
    with json_lines() as written:
        log = logging.getLogger("server.test")
        try:
            raise ValueError("two\nlines")
        except ValueError:
            log.exception('a "quoted"\nmessage of %d', 7, extra={"session": "abc", "path": object})
    (line,) = read(written)
    assert line["message"] == 'a "quoted"\nmessage of 7' and line["session"] == "abc"
    assert (line["level"], line["logger"]) == ("error", "server.test")
    assert datetime.fromisoformat(line["time"]).utcoffset() is not None
    assert line["exception"].endswith("ValueError: two\nlines")
    assert "args" not in line and "levelno" not in line


async def test_lines_of_a_session_name_it_and_each_chunk_has_one() -> None:
    with json_lines() as written:
        async with serving() as caller:
            session = await caller.create()
            async with caller.stream(session) as socket:
                await socket.speak()
            await caller.delete(session)
    short = session["session_id"][5:11]
    lines = [line for line in read(written) if line.get("session") == short]
    opens, closes = lines[0], lines[-1]
    assert (opens["mode"], opens["level"]) == ("speak", "info")
    assert closes["reason"] == "deleted"
    chunks = [line for line in lines if line["message"].startswith("chunk ")]
    assert len(chunks) >= 3
    for chunk in chunks:
        assert chunk["level"] == "debug" and chunk["batch"] == 1 and chunk["model_ms"] > 0
        assert {"queued_ms", "encode_ms", "slack_ms", "epoch"} <= chunk.keys()


async def test_nothing_secret_is_logged_as_json() -> None:
    with json_lines() as written:
        async with serving(api_key="sesame", metrics_key="meter") as caller:
            await caller.http.get("/metrics", headers={"Authorization": "Bearer wrong-meter"})
            await caller.http.post(
                "/session",
                json={"avatar_id": "private words"},
                headers={"Authorization": "Bearer sesame"},
            )
            answer = await caller.http.post(
                "/session", json={"avatar_id": "ada"}, headers={"Authorization": "Bearer sesame"}
            )
            session = answer.json()
            async with caller.stream(session) as socket:
                await socket.send(json.dumps({"type": "dance", "words": "private words"}))
                await socket.event("error")
            await caller.delete(session)
    text = written.getvalue()
    assert session["session_id"][5:11] in text
    for secret in ("sesame", "meter", "private words", session["token"], session["session_id"]):
        assert secret not in text
