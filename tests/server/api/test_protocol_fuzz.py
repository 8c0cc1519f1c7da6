"""Random messages, offers and candidates: no failure inside the server, no hang, nothing left.

LIVEHEAD_FUZZ is how many inputs each kind gets; LIVEHEAD_FUZZ_SEED begins elsewhere.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import random
from collections import Counter
from pathlib import Path

import pytest

from server.clock import SystemClock
from tests.support import mutations
from tests.support.calls import Client, until
from tests.support.processes import open_files
from tests.support.server_in_loop import Caller, bearer, serving
from tests.support.workers import FakeWorkers

pytestmark = pytest.mark.unit

INPUTS = int(os.environ.get("LIVEHEAD_FUZZ", "120"))
SEED = int(os.environ.get("LIVEHEAD_FUZZ_SEED", "1"))
CHROMIUM = Path(__file__).parents[2] / "data" / "chromium-offer.sdp"
ROUND = 20
SIDE_BY_SIDE = 4
KEPT = 2 * SIDE_BY_SIDE  # files; both ends of the HTTP client's connections
LAST = 12_345  # Hz
JSON = {"Content-Type": "application/json"}


def in_use() -> tuple[int, int]:
    """How many tasks there are, and how many open files."""
    return len(asyncio.all_tasks()), open_files()


async def nothing_is_left(caller: Caller, before: tuple[int, int]) -> None:
    """Every session ends, and every task and socket that served it; some connections are kept."""
    await until(lambda: len(caller.app.state.context.sessions.all()) == 0)
    await until(lambda: in_use()[0] <= before[0] + SIDE_BY_SIDE and in_use()[1] <= before[1] + KEPT)


def no_failures(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing was logged as an error."""
    failures = [line for line in caplog.text.splitlines() if "ERROR" in line]
    assert not failures, failures[:3]


async def test_messages(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(FakeWorkers(SystemClock(), cost=0.001), max_sessions=SIDE_BY_SIDE) as caller:
        await caller.http.get("/healthz")
        before = in_use()
        seeds = iter(range(SEED, SEED + math.ceil(INPUTS / ROUND)))

        async def rounds() -> None:
            for seed in seeds:
                await send_messages(caller, random.Random(seed))

        await asyncio.gather(*(rounds() for _ in range(SIDE_BY_SIDE)))
        await nothing_is_left(caller, before)
    no_failures(caplog)


async def send_messages(caller: Caller, rng: random.Random) -> None:
    """A round of messages on a session: a wrong one is its sender's fault, and the last is read."""
    session = await caller.create()
    async with caller.stream(session, video=rng.choice(["h264", "jpeg"])) as socket:
        for _ in range(ROUND):
            await socket.send(mutations.message(rng))
        await socket.say(type="session.update", audio={"sample_rate": LAST})
        while True:
            event = await socket.next()
            if not isinstance(event, dict):
                continue
            if event["type"] == "error":
                assert event["error"]["type"] == "invalid_request_error", event
            elif event["type"] == "session.updated" and event["audio"]["sample_rate"] == LAST:
                break
    assert await caller.delete(session) == 204


async def test_offers_and_candidates(caplog: pytest.LogCaptureFixture) -> None:
    rng, client = random.Random(SEED), Client()
    offers = [CHROMIUM.read_text("utf-8"), await client.offer()]
    await client.close()
    found: Counter[int] = Counter()
    async with serving() as caller:
        await caller.http.get("/healthz")
        before = in_use()
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
