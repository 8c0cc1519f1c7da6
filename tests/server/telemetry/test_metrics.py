"""What /metrics tells of a running server, and that it tells no session from another."""

from __future__ import annotations

import asyncio
import math
import re

import pytest
from prometheus_client.parser import text_string_to_metric_families

from server.session.state import State
from server.telemetry.instruments import STAGES, Instruments
from tests.support.server_in_loop import Caller, bearer, serving
from tests.support.sound import speech

pytestmark = pytest.mark.unit


async def read(caller: Caller) -> dict[str, dict[str, float]]:
    """Each series' name -> the values of its labels in a row -> value."""
    answer = await caller.http.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    found: dict[str, dict[str, float]] = {}
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            label = ",".join(sample.labels.values())
            found.setdefault(sample.name, {})[label] = sample.value
    return found


async def test_sessions_places_and_ends_are_counted() -> None:
    async with serving(max_sessions=2) as caller:
        empty = await read(caller)
        assert set(empty["livehead_sessions"]) == {state.value for state in State}
        assert not any(empty["livehead_sessions"].values())
        assert (
            empty["livehead_room_sessions"] == {"": 2} and empty["livehead_workers_warm"][""] == 1
        )
        first, _ = await caller.create(), await caller.create()
        refused = await caller.http.post("/session", json={"avatar_id": "ada"})
        assert refused.json()["code"] == "no_capacity"
        await caller.http.post(f"/session/{first['session_id']}/interrupt", headers=bearer(first))
        await caller.delete(first)
        await caller.http.post("/session", json={"avatar_id": "nobody"})
        told = await read(caller)
        assert told["livehead_sessions"]["ready"] == 1
        assert told["livehead_room_sessions"][""] == 1 and told["livehead_limit_sessions"][""] == 2
        assert told["livehead_sessions_accepted_total"][""] == 2
        assert told["livehead_sessions_refused_total"] == {"no_capacity": 1, "not_found": 1}
        assert told["livehead_sessions_ended_total"] == {"deleted": 1}
        assert told["livehead_interrupts_total"][""] == 1
        text = (await caller.http.get("/metrics")).text
        assert first["session_id"][5:11] not in text


async def test_callers_that_wait_are_counted() -> None:
    async with serving(max_sessions=1, queue=3) as caller:
        await caller.create()
        assert (await caller.http.post("/session", json={"avatar_id": "ada"})).status_code == 202
        told = await read(caller)
        assert told["livehead_queue_sessions"][""] == 1
        assert told["livehead_sessions"]["queued"] == 1


async def test_speech_passes_through_every_stage() -> None:
    async with serving() as caller:
        session = await caller.create()
        async with caller.stream(session) as socket:
            await socket.speak()
        await caller.delete(session)
        told = await read(caller)
        count = told["livehead_stage_seconds_count"]
        assert set(count) == set(STAGES)
        assert count["input_wait"] == 1 and count["queue"] >= 3 and count["pace"] >= 3
        assert count["queue"] == count["encode"] and count["features"] == 0  # fakes tell no stages
        assert count["send"] >= 10 and told["livehead_units_total"][""] >= count["send"]
        assert told["livehead_first_frame_seconds_count"][""] == 1
        assert 0 < told["livehead_first_frame_seconds_sum"][""] < 20


async def test_two_applications_share_nothing() -> None:
    async with serving() as one, serving() as other:
        await one.create()
        assert (await read(one))["livehead_sessions_accepted_total"][""] == 1
        assert (await read(other))["livehead_sessions_accepted_total"][""] == 0


async def test_a_key_guards_the_metrics_where_one_is_set() -> None:
    async with serving(metrics_key="meter", api_key="door") as caller:
        for key in (None, "door", "meter "[:-2]):
            headers = {"Authorization": f"Bearer {key}"} if key else {}
            refused = await caller.http.get("/metrics", headers=headers)
            assert refused.status_code == 401 and refused.json()["code"] == "unauthorised"
        allowed = await caller.http.get("/metrics", headers={"Authorization": "Bearer meter"})
        assert allowed.status_code == 200 and "livehead_sessions" in allowed.text
    async with serving(api_key="door") as caller:
        assert (await caller.http.get("/metrics")).status_code == 200


async def test_metrics_can_be_off() -> None:
    async with serving(metrics=False) as caller:
        assert (await caller.http.get("/metrics")).status_code == 404


async def test_a_server_that_drains_is_alive_and_not_ready() -> None:
    async with serving(drain_s=20) as caller:
        session = await caller.create()
        async with caller.stream(session) as socket:
            await socket.send(speech(3.0, 16_000).tobytes())
            await socket.event("output_audio_buffer.started")
            draining = asyncio.create_task(caller.app.state.context.sessions.drain())
            await socket.event("session.going_away")
            refused = await caller.http.get("/readyz")
            assert refused.status_code == 503 and refused.json()["code"] == "shutting_down"
            assert "retry-after" in refused.headers
            assert (await caller.http.get("/healthz")).status_code == 200
            assert not draining.done()
            draining.cancel()
            await asyncio.gather(draining, return_exceptions=True)


def test_skew_counts_either_way_and_buckets_are_of_real_time() -> None:
    instruments = Instruments()
    instruments.sent(0.001, -0.03)
    instruments.sent(0.001, 0.03)
    (skew,) = instruments.skew.collect()
    counts = {sample.labels.get("le"): sample.value for sample in skew.samples}
    assert counts["0.025"] == 0 and counts["0.045"] == 2
    instruments.spent("queue", -1e-9)  # clocks of two processes round apart
    assert not math.isnan(
        instruments.registry.get_sample_value("livehead_stage_seconds_sum", {"stage": "queue"})
        or 0.0
    )


def test_names_and_units_are_in_the_style_of_prometheus() -> None:
    instruments = Instruments()
    for family in instruments.registry.collect():
        if not family.name.startswith("livehead_"):
            continue
        assert re.fullmatch(r"[a-z_]+", family.name) and family.documentation.endswith(".")
        if family.type == "histogram":
            assert family.name.endswith("_seconds")
        labels = {name for sample in family.samples for name in sample.labels}
        assert labels <= {"le", "stage", "code", "reason", "state"}
