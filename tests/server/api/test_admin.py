"""/admin: there with a key alone, tells nothing secret, ends sessions and drains."""

from __future__ import annotations

from pathlib import Path

import pytest

from server.keys import add_key
from tests.support.server_in_loop import bearer, serving

pytestmark = pytest.mark.unit

PATHS = (("GET", "/admin/sessions"), ("GET", "/admin/workers"), ("POST", "/admin/drain"))
ADMIN = {"Authorization": "Bearer let me see"}


async def test_without_an_admins_key_there_is_nothing_or_no_way_in(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    shop = add_key(path, "shop")
    async with serving(api_key="open sesame", api_keys_file=str(path)) as caller:
        for method, where in PATHS:
            assert (await caller.http.request(method, where, headers=ADMIN)).status_code == 404
    ops = add_key(path, "ops", admin=True)
    async with serving(
        api_key="open sesame", admin_key="let me see", api_keys_file=str(path)
    ) as caller:
        for method, where in (*PATHS, ("DELETE", "/admin/sessions/x")):
            for key in ("none", "wrong", "open sesame", shop, ops + "x"):
                headers = {"Authorization": f"Bearer {key}"}
                answer = await caller.http.request(method, where, headers=headers)
                assert (answer.status_code, answer.json()["code"]) == (401, "unauthorised")
        for headers in (ADMIN, {"Authorization": f"Bearer {ops}"}):
            answer = await caller.http.get("/admin/sessions", headers=headers)
            assert answer.json() == {"sessions": []}
        refused = await caller.http.post("/session", json={"avatar_id": "ada"}, headers=ADMIN)
        assert refused.status_code == 401, "the admin's key opens no sessions"


async def test_sessions_are_listed_without_secrets_and_ended() -> None:
    async with serving(admin_key="let me see", max_sessions=3) as caller:
        sessions = [await caller.create(), await caller.create(mode="echo")]
        answer = await caller.http.get("/admin/sessions", headers=ADMIN)
        shown = answer.json()["sessions"]
        assert [row["session_id"] for row in shown] == [one["session_id"] for one in sessions]
        assert [(row["owner"], row["status"], row["mode"]) for row in shown] == [
            ("local", "ready", "speak"),
            ("local", "ready", "echo"),
        ]
        assert all(row["age_s"] >= 0 and row["metrics"]["units"] == 0 for row in shown)
        assert not any(one["token"] in answer.text for one in sessions)
        async with caller.stream(sessions[0], video="none") as socket:
            where = f"/admin/sessions/{sessions[0]['session_id']}"
            assert (await caller.http.delete(where, headers=ADMIN)).status_code == 204
            assert (await socket.event("session.closed"))["reason"] == "admin"
        assert (await caller.http.delete(where, headers=ADMIN)).status_code == 404
        workers = (await caller.http.get("/admin/workers", headers=ADMIN)).json()["workers"]
        assert workers == [{"number": 0, "pid": 4711, "warm": True, "sessions": 1, "capacity": 4}]


async def test_a_drained_server_opens_no_more_and_goes_on_with_what_is_open() -> None:
    async with serving(admin_key="let me see", max_sessions=3) as caller:
        session = await caller.create()
        answer = await caller.http.post("/admin/drain", headers=ADMIN)
        assert (answer.status_code, answer.json()) == (202, {"status": "draining", "sessions": 1})
        refused = await caller.http.post("/session", json={"avatar_id": "ada"})
        assert (refused.status_code, refused.json()["code"]) == (503, "shutting_down")
        ready = await caller.http.get("/readyz")
        assert ready.status_code == 503 and "retry-after" in ready.headers
        assert (await caller.http.get("/healthz")).status_code == 200
        where = f"/session/{session['session_id']}"
        assert (await caller.http.get(where, headers=bearer(session))).json()["status"] == "ready"
        async with caller.stream(session) as socket:
            await socket.frame()


async def test_the_admins_routes_are_described_where_they_are() -> None:
    async with serving() as without, serving(admin_key="let me see") as caller:
        paths = caller.app.openapi()["paths"]
        assert {path for path in paths if path.startswith("/admin")} == {
            "/admin/sessions",
            "/admin/sessions/{session_id}",
            "/admin/workers",
            "/admin/drain",
        }
        assert not any(path.startswith("/admin") for path in without.app.openapi()["paths"])
