"""Tokens that work once: for what, for how long, who gets them, and that no log shows them."""

from __future__ import annotations

import asyncio
import io
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from server.keys import add_key
from server.session.tokens import MOST, VALID_S, OneTimeTokens, Scope
from tests.support.calls import Client
from tests.support.clock import ManualClock
from tests.support.server_in_loop import Caller, bearer, serving

pytestmark = pytest.mark.unit

ANY: frozenset[Scope] = frozenset({"stream", "offer", "events"})


async def issue(caller: Caller, session: dict[str, Any], **query: str) -> dict[str, Any]:
    """A token for one use."""
    path = f"/session/{session['session_id']}/token"
    answer = await caller.http.post(path, params=query, headers=bearer(session))
    assert answer.status_code == 201 and answer.headers["cache-control"] == "no-store"
    token: dict[str, Any] = answer.json()
    return token


async def listen(caller: Caller, session: dict[str, Any], token: str) -> int:
    """Ask for the events; the status."""
    path = session["media"]["events_url"]
    async with caller.http.stream("GET", path, params={"token": token}) as answer:
        return answer.status_code


async def test_a_token_opens_one_thing_once() -> None:
    async with serving() as caller:
        session = await caller.create()
        token = await issue(caller, session)
        assert token["scopes"] == ["stream", "offer", "events"] and token["expires_at"]
        own = f"/session/{session['session_id']}"
        for method, path in (("GET", own), ("DELETE", own), ("POST", own + "/token")):
            answer = await caller.http.request(method, path, headers=bearer(token))
            assert answer.status_code == 401, "it opens nothing else"
        once = {**session, "token": token["token"]}
        async with caller.stream(once, video="none") as socket:
            assert (await socket.event("session.created"))["type"] == "session.created"
        async with caller.stream(once, video="none") as socket:
            assert (await socket.event("error"))["error"]["code"] == "unauthorised"
        assert await listen(caller, session, token["token"]) == 401
        assert await listen(caller, session, (await issue(caller, session))["token"]) == 200
        narrow = (await issue(caller, session, scope="events"))["token"]
        async with caller.stream({**session, "token": narrow}) as socket:
            assert (await socket.event("error"))["error"]["code"] == "unauthorised"
        assert await listen(caller, session, narrow) == 200, "a wrong use does not use it up"
        other = await caller.create()
        stray = (await issue(caller, session))["token"]
        assert await listen(caller, other, stray) == 401
        wrong = await caller.http.post(own + "/token?scope=all", headers=bearer(session))
        assert (wrong.status_code, wrong.json()["code"]) == (400, "bad_request")


async def test_simultaneous_uses_are_one() -> None:
    async with serving() as caller:
        session = await caller.create()
        token = (await issue(caller, session))["token"]
        statuses = await asyncio.gather(*(listen(caller, session, token) for _ in range(5)))
        assert sorted(statuses) == [200, 401, 401, 401, 401]


async def test_who_opened_a_call_adds_its_candidates_until_another_replaces_it() -> None:
    async with serving() as caller:
        session, clients = await caller.create(), [Client(), Client()]
        path = session["media"]["offer_url"]

        async def offer(client: Client, token: dict[str, Any]) -> int:
            body = {"sdp": await client.offer(), "type": "offer"}
            return (await caller.http.post(path, json=body, headers=bearer(token))).status_code

        async def trickle(token: dict[str, Any]) -> int:
            return (await caller.http.patch(path, json={}, headers=bearer(token))).status_code

        token = await issue(caller, session, scope="offer")
        assert await trickle(token) == 401
        assert await offer(clients[0], token) == 200
        assert [await trickle(token), await trickle(token)] == [204, 204]
        assert await offer(clients[0], token) == 401
        assert await offer(clients[1], session) == 200
        assert [await trickle(token), await trickle(session)] == [401, 204]
        await caller.delete(session)
        for client in clients:
            await client.close()


async def test_the_key_that_opened_the_session_gets_tokens_too(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    mine, other = add_key(path, "mine"), add_key(path, "other")
    async with serving(api_keys_file=str(path)) as caller:
        headers = {"Authorization": f"Bearer {mine}"}
        created = await caller.http.post("/session", json={"avatar_id": "ada"}, headers=headers)
        where = f"/session/{created.json()['session_id']}/token"
        statuses = [
            (await caller.http.post(where, headers={"Authorization": f"Bearer {key}"})).status_code
            for key in (mine, other, "mine.x", created.json()["token"])
        ]
        assert statuses == [201, 401, 401, 201]


async def test_tokens_end_and_their_number_is_bounded() -> None:
    clock = ManualClock()
    tokens = OneTimeTokens(clock)
    late, soon = tokens.issue(ANY), tokens.issue(ANY)
    await clock.advance(VALID_S - 1)
    assert tokens.spend(soon, "stream")
    await clock.advance(1)
    assert not tokens.spend(late, "stream")
    issued = [tokens.issue(ANY) for _ in range(MOST + 1)]
    assert [tokens.spend(token, "events") for token in issued] == [False] + [True] * MOST
    assert not tokens.spend("", "call")


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """What the server logs at ``debug``, and what its HTTP server logs then."""
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    loggers = [logging.getLogger(name) for name in ("server", "uvicorn")]
    levels = [logger.level for logger in loggers]
    for logger, level in zip(loggers, (logging.DEBUG, logging.WARNING), strict=True):
        logger.addHandler(handler)
        logger.setLevel(level)
    yield written
    for logger, level in zip(loggers, levels, strict=True):
        logger.removeHandler(handler)
        logger.setLevel(level)


async def test_no_log_shows_a_token(log: io.StringIO, tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    key = add_key(path, "shop")
    async with serving(api_keys_file=str(path), admin_key="open sesame") as caller:
        headers = {"Authorization": f"Bearer {key}"}
        created = await caller.http.post("/session", json={"avatar_id": "ada"}, headers=headers)
        session = created.json()
        token = (await issue(caller, session))["token"]
        async with caller.stream({**session, "token": token}) as socket:
            await socket.send("{")
            await socket.event("error")
        assert await listen(caller, session, token) == 401
        await caller.http.get("/nowhere", params={"token": token}, headers=headers)
        await caller.delete(session)
    shown = log.getvalue()
    assert "opens" in shown
    for secret in (key, token, session["token"], "open sesame"):
        assert secret not in shown
