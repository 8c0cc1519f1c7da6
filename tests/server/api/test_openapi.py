"""The API description: complete, true (random requests are answered as it says) and readable."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.specs.openapi.checks import (
    allow_header_conformance,
    ignored_auth,
    positive_data_acceptance,
)

from models.options import ModelOptions
from server.app import create_app
from server.clock import SystemClock
from server.settings import Settings
from tests.support.server_in_loop import ASSETS, bearer, serving
from tests.support.workers import FakeWorkers

pytestmark = pytest.mark.unit

EXAMPLES = 10
CAPACITY = 100_000


def described() -> dict[str, Any]:
    """The description of a server with fake workers."""
    chosen = Settings(port=0, options=ModelOptions("fake"))
    return create_app(chosen, FakeWorkers(SystemClock()), assets=ASSETS).openapi()


schema = schemathesis.openapi.from_dict(described())


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server in a thread of its own, with capacity for every request."""
    found, ended = threading.Event(), threading.Event()
    urls: list[str] = []

    async def serve() -> None:
        folder = str(tmp_path_factory.mktemp("avatars"))
        async with serving(
            max_sessions=CAPACITY, max_upload_bytes=10_000, avatars_dir=folder
        ) as caller:
            urls.append(f"http://127.0.0.1:{caller.port}")
            found.set()
            while not ended.is_set():
                await asyncio.sleep(0.02)

    thread = threading.Thread(target=asyncio.run, args=(serve(),), name="server-under-test")
    thread.start()
    assert found.wait(30)
    yield urls[0]
    ended.set()
    thread.join(30)


@schema.exclude(path="/session/{session_id}/events").parametrize()  # it never ends
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
def test_every_answer_is_described(case: schemathesis.Case[Any], url: str) -> None:
    # A 405 lists the methods of a path's first route alone: routing stops there.
    excluded = [allow_header_conformance]
    if case.path.endswith(("/session", "/offer", "/avatars")):
        excluded.append(positive_data_acceptance)  # a form has few fields, few strings are SDP
    if case.method == "DELETE":
        excluded.append(ignored_auth)  # 204 without a token, once there is nothing to end
    case.call_and_validate(base_url=url, excluded_checks=excluded)
    if "session_id" not in case.path_parameters:
        return
    session = httpx.post(f"{url}/session", json={"avatar_id": "ada"}).json()
    case.path_parameters["session_id"] = session["session_id"]
    headers = {"Authorization": f"Bearer {session['token']}"}
    case.call_and_validate(base_url=url, headers=headers, excluded_checks=excluded)


def test_the_description_names_every_body_answer_and_problem() -> None:
    api = described()
    operations = {
        f"{method.upper()} {path}": operation
        for path, methods in api["paths"].items()
        for method, operation in methods.items()
    }
    statuses = {name: " ".join(operation["responses"]) for name, operation in operations.items()}
    assert statuses == {
        "POST /session": "201 202 400 401 404 413 415 422 429 503",
        "GET /session/{session_id}": "200 401 404",
        "DELETE /session/{session_id}": "204 401",
        "POST /session/{session_id}/token": "201 400 401 404 429",
        "GET /session/{session_id}/events": "200 401 404 409",
        "POST /session/{session_id}/keepalive": "204 401 404",
        "POST /session/{session_id}/interrupt": "202 401 404",
        "POST /session/{session_id}/offer": "200 400 401 404 409 413 415 422 429",
        "PATCH /session/{session_id}/offer": "204 400 401 404 409 413 415",
        "GET /healthz": "200",
        "GET /readyz": "200 503",
        "GET /avatars": "200",
        "POST /avatars": "201 400 401 409 413 415 422 429 503",
        "DELETE /avatars/{avatar_id}": "204 401 404 409 429 503",
        "GET /avatars/{avatar_id}.jpg": "200 404",
        "GET /metrics": "200 401 404",
        "GET /clips": "200",
        "GET /clips/{clip_id}.wav": "200 404",
    }
    for name, operation in operations.items():
        for status, answer in operation["responses"].items():
            types = list(answer.get("content", {}))
            assert types == ([] if status == "204" else types[:1]), (name, status)
            if int(status) >= 400:
                reference = {"schema": {"$ref": "#/components/schemas/Problem"}}
                assert answer["content"] == {"application/problem+json": reference}
        for kind in ("POST", "PATCH"):
            takes_body = name.startswith(kind) and not name.endswith(
                ("/interrupt", "/keepalive", "/token")
            )
            assert not takes_body or operation["requestBody"]["content"], name
    creation = operations["POST /session"]
    assert set(creation["requestBody"]["content"]) == {"application/json", "multipart/form-data"}
    assert [item["name"] for item in creation["parameters"]] == ["Idempotency-Key"]
    for status in ("201", "202"):
        headers = creation["responses"][status]["headers"]
        assert set(headers) == {"Location", "Idempotency-Replayed"}
    assert "Retry-After" in creation["responses"]["503"]["headers"]
    assert creation["security"] == [{"ApiKey": []}, {}]
    by_token: list[dict[str, list[str]]] = [{"SessionToken": []}, {"SessionTokenInQuery": []}]
    owned = [name for name in operations if "{session_id}" in name]
    owned.remove("POST /session/{session_id}/token")  # for the API key as well
    assert all(operations[name]["security"] == by_token for name in owned)
    assert "HTTPValidationError" not in api["components"]["schemas"]


async def test_every_get_answers_head() -> None:
    async with serving() as caller:
        session = await caller.create()
        own = f"/session/{session['session_id']}"
        for path in [path for path, methods in described()["paths"].items() if "get" in methods] + [
            *("/", "/docs", "/openapi.json", "/static/app.js", "/nowhere", "/session", own)
        ]:
            path = path.format(session_id="sess_x", avatar_id="ada", clip_id="hello")
            headers = bearer(session) if path == own else {}
            got = await caller.http.get(path, headers=headers)
            head = await caller.http.head(path, headers=headers)
            assert (head.status_code, head.content) == (got.status_code, b""), path
            changing = {"date": ""} | ({"content-length": ""} if path == "/metrics" else {})
            headers_of = [dict(answer.headers) | changing for answer in (got, head)]
            assert headers_of[0] == headers_of[1], path


async def test_the_reference_is_a_page_that_needs_no_other_host() -> None:
    async with serving() as caller:
        page = await caller.http.get("/docs")
        assert page.headers["content-type"].startswith("text/html")
        assert "openapi.json" in page.text
        assert "http:" not in page.text and "https:" not in page.text
