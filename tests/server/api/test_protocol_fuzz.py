"""Random messages, offers and candidates: no failure inside the server, no hang, nothing left.

LIVEHEAD_FUZZ is how many inputs each kind gets; LIVEHEAD_FUZZ_SEED begins elsewhere.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
from collections import Counter
from pathlib import Path

import pytest

from tests.support import mutations
from tests.support.calls import Client, until
from tests.support.server_in_loop import Caller, bearer, serving

pytestmark = pytest.mark.unit

INPUTS = int(os.environ.get("LIVEHEAD_FUZZ", "120"))
SEED = int(os.environ.get("LIVEHEAD_FUZZ_SEED", "1"))
CHROMIUM = Path(__file__).parents[2] / "data" / "chromium-offer.sdp"
ROUND = 20


async def nothing_is_left(caller: Caller, before: int) -> None:
    """Every session ends, and every task that served it."""
    await until(lambda: len(caller.app.state.context.sessions.all()) == 0)
    await until(lambda: len(asyncio.all_tasks()) <= before)


def no_failures(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing was logged as an error."""
    failures = [line for line in caplog.text.splitlines() if "ERROR" in line]
    assert not failures, failures[:3]


async def test_messages(caplog: pytest.LogCaptureFixture) -> None:
    rng = random.Random(SEED)
    async with serving() as caller:
        await caller.http.get("/healthz")
        before = len(asyncio.all_tasks())
        for k in range(0, INPUTS, ROUND):
            session = await caller.create()
            video = rng.choice(["h264", "jpeg"])
            async with caller.stream(session, video=video) as socket:
                for _ in range(min(ROUND, INPUTS - k)):
                    await socket.send(mutations.message(rng))
                await socket.say(type="response.cancel")
                await socket.send("{}")
                while (event := await socket.event("error"))["error"]["code"] != "unknown_type":
                    assert event["error"]["type"] == "invalid_request_error", event
                await socket.say(type="ping")
                await socket.event("pong")
            assert await caller.delete(session) == 204
        await nothing_is_left(caller, before)
    no_failures(caplog)


async def test_offers_and_candidates(caplog: pytest.LogCaptureFixture) -> None:
    rng, client = random.Random(SEED), Client()
    offers = [CHROMIUM.read_text("utf-8"), await client.offer()]
    await client.close()
    found: Counter[int] = Counter()
    async with serving() as caller:
        await caller.http.get("/healthz")
        before = len(asyncio.all_tasks())
        for k in range(0, INPUTS, ROUND):
            session = await caller.create()
            path = session["media"]["offer_url"]
            for _ in range(min(ROUND, INPUTS - k)):
                if rng.random() < 0.25:
                    method, body = "PATCH", mutations.candidate(rng)
                else:
                    sdp = mutations.description(rng, rng.choice(offers))
                    method, body = "POST", {"sdp": sdp, "type": "offer"}
                answer = await caller.http.request(
                    method, path, content=json.dumps(body), headers=bearer(session) | JSON
                )
                found[answer.status_code] += 1
                assert answer.status_code < 500, (answer.text, body)
            assert await caller.delete(session) == 204
        await nothing_is_left(caller, before)
    assert {200, 400} <= set(found) <= {200, 204, 400, 409, 413, 422}, found
    no_failures(caplog)


JSON = {"Content-Type": "application/json"}
