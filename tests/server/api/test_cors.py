"""Pages of other origins: every route, what fails and what streams, allowed ones alone."""

from __future__ import annotations

import httpx
import pytest

from tests.support.server_in_loop import Caller, bearer, serving

pytestmark = pytest.mark.unit

PAGE = "https://app.example"
ORIGIN = {"Origin": PAGE}
ASKED = "authorization, content-type, idempotency-key, if-match"


async def preflight(caller: Caller, path: str, method: str, origin: str = PAGE) -> httpx.Response:
    """What a browser asks before a request that is not simple."""
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": ASKED,
    }
    return await caller.http.options(path, headers=headers)


async def test_every_route_may_be_asked_and_read() -> None:
    async with serving(cors_origins=(PAGE,)) as caller:
        session = await caller.create()
        operations = [
            (
                path.format(session_id=session["session_id"], avatar_id="ada", clip_id="hello"),
                method,
            )
            for path, methods in caller.app.openapi()["paths"].items()
            for method in methods
            if method != "delete" or "session" not in path
        ] + [("/", "get"), ("/asyncapi.json", "get"), ("/openapi.json", "get"), ("/x", "get")]
        for path, method in operations:
            asked = await preflight(caller, path, method.upper())
            assert asked.status_code == 200, (path, method, asked.text)
            assert asked.headers["access-control-allow-origin"] == PAGE
            for headers in (ORIGIN, ORIGIN | bearer(session)):
                async with caller.http.stream(method, path, headers=headers) as answer:
                    allowed = answer.headers["access-control-allow-origin"]
                    exposed = answer.headers["access-control-expose-headers"]
                    assert allowed == PAGE, (path, method, answer.status_code)
                    for name in ("ETag", "Idempotency-Replayed", "Link", "Location", "Retry-After"):
                        assert name in exposed.split(", ")
                    assert "access-control-allow-credentials" not in answer.headers
            refused = await preflight(caller, path, method.upper(), "https://evil.example")
            assert refused.status_code == 400
            assert "access-control-allow-origin" not in refused.headers


async def test_a_failure_inside_the_server_can_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(cors_origins=(PAGE,)) as caller:

        def fail(*_: object) -> None:
            raise RuntimeError("broken")

        monkeypatch.setattr(caller.app.state.context.avatars, "all", fail, raising=False)
        answer = await caller.http.get("/avatars", headers=ORIGIN)
        assert (answer.status_code, answer.json()["code"]) == (500, "internal")
        assert answer.headers["access-control-allow-origin"] == PAGE


async def test_all_origins_are_allowed_without_credentials_or_none_at_all() -> None:
    async with serving(cors_origins=("*",)) as caller:
        cookie = {"Cookie": "a=b"}
        for answer in (
            await caller.http.get("/avatars", headers=ORIGIN),
            await caller.http.get("/nowhere", headers=ORIGIN | cookie),
            await preflight(caller, "/session", "POST"),
        ):
            assert answer.headers["access-control-allow-origin"] in {"*", PAGE}
            assert "access-control-allow-credentials" not in answer.headers
    async with serving() as caller:
        answer = await caller.http.get("/avatars", headers=ORIGIN)
        assert "access-control-allow-origin" not in answer.headers
