"""A creation that is repeated with its Idempotency-Key makes one session."""

from __future__ import annotations

import asyncio
import base64

import pytest

from server.assets import draw_portrait
from tests.support.server_in_loop import bearer, serving
from tests.support.workers import BAD_PORTRAIT

pytestmark = pytest.mark.unit

ADA = {"avatar_id": "ada"}


async def test_repeated_and_simultaneous_requests_get_one_session() -> None:
    async with serving(max_sessions=3) as caller:
        key = {"Idempotency-Key": "a-key"}
        answers = await asyncio.gather(
            *(caller.http.post("/session", json=ADA, headers=key) for _ in range(5))
        )
        assert {answer.status_code for answer in answers} == {201}
        assert len({answer.json()["token"] for answer in answers}) == 1
        replayed = sorted(answer.headers["idempotency-replayed"] for answer in answers)
        assert replayed == ["false", "true", "true", "true", "true"]
        other = await caller.http.post("/session", json=ADA, headers={"Idempotency-Key": "b"})
        assert other.json()["session_id"] != answers[0].json()["session_id"]


async def test_the_same_key_with_another_request_is_refused() -> None:
    async with serving() as caller:
        key = {"Idempotency-Key": "a-key"}
        await caller.http.post("/session", json=ADA, headers=key)
        answer = await caller.http.post("/session", json={"avatar_id": "bob"}, headers=key)
        assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused")


async def test_a_key_whose_session_ended_or_never_was_counts_as_new() -> None:
    async with serving() as caller:
        key = {"Idempotency-Key": "a-key"}
        bad = {"portrait_base64": base64.b64encode(BAD_PORTRAIT).decode()}
        refused = await caller.http.post("/session", json=bad, headers=key)
        assert refused.json()["code"] == "no_face"
        first = (await caller.http.post("/session", json=ADA, headers=key)).json()
        path = f"/session/{first['session_id']}"
        assert (await caller.http.delete(path, headers=bearer(first))).status_code == 204
        second = await caller.http.post("/session", json=ADA, headers=key)
        assert second.status_code == 201 and second.json()["session_id"] != first["session_id"]


@pytest.mark.parametrize("key", ["", "x" * 256, "tab\there"])
async def test_a_key_that_is_none_is_refused(key: str) -> None:
    async with serving() as caller:
        answer = await caller.http.post("/session", json=ADA, headers={"Idempotency-Key": key})
        assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")


@pytest.mark.parametrize("prefix", ["", "data:image/png;base64,"])
async def test_a_portrait_in_base64_is_taken(prefix: str) -> None:
    async with serving() as caller:
        text = prefix + base64.b64encode(draw_portrait()).decode()
        answer = await caller.http.post("/session", json={"portrait_base64": text})
        assert answer.status_code == 201 and answer.json()["avatar_id"] is None


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 400, "bad_request"),
        ({"avatar_id": "ada", "portrait_url": "http://example.org"}, 400, "bad_request"),
        ({"portrait_base64": "not base64!"}, 400, "bad_request"),
        ({"portrait_base64": 7}, 400, "bad_request"),
        ({"portrait_url": "http://127.0.0.1/ada.png"}, 422, "url_not_public"),
        ({"portrait_url": "http://169.254.169.254/latest/meta-data"}, 422, "url_not_public"),
    ],
)
async def test_other_sources_of_a_portrait_are_refused(
    body: dict[str, object], status: int, code: str
) -> None:
    async with serving() as caller:
        answer = await caller.http.post("/session", json=body)
        assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text


async def test_base64_may_be_as_large_as_a_file_and_no_larger() -> None:
    async with serving(max_upload_bytes=600_000) as caller:
        for size, status in ((600_000, 201), (600_001, 413), (1_500_000, 413)):
            text = base64.b64encode(bytes(size)).decode()
            answer = await caller.http.post("/session", json={"portrait_base64": text})
            assert answer.status_code == status, answer.text


async def test_a_server_may_fetch_no_urls() -> None:
    async with serving(portrait_urls=False) as caller:
        body = {"portrait_url": "http://example.org/a.png"}
        answer = await caller.http.post("/session", json=body)
        assert answer.status_code == 400 and "fetches none" in answer.json()["detail"]
