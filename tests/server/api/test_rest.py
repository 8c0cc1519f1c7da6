"""The REST side: what is answered, with which status and body."""

from __future__ import annotations

import asyncio
from dataclasses import asdict, replace
from typing import Any
from urllib.parse import urljoin

import httpx
import pytest

from models.face.report import PortraitLimit
from models.io.face_box import FaceBox
from server.api import middleware
from server.assets import draw_portrait
from server.clock import SystemClock
from server.session.workers import IdentityHandle
from tests.models.face.test_report import PERFECT
from tests.support.server_in_loop import bearer, serving
from tests.support.workers import BAD_PORTRAIT, FakeWorkers

pytestmark = pytest.mark.unit


def is_problem(answer: httpx.Response, status: int, code: str) -> None:
    """Check an error's form."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert set(body) == {"type", "title", "status", "detail", "code"}
    assert (body["status"], body["code"]) == (status, code)
    assert body["detail"]


def upload(content: bytes, **fields: str) -> dict[str, Any]:
    """A multipart form as httpx takes it."""
    return {"files": {"portrait": ("me.png", content, "image/png")}, "data": fields}


async def test_a_session_for_an_avatar() -> None:
    async with serving() as caller:
        answer = await caller.http.post("/session", json={"avatar_id": "ada", "mode": "speak"})
        assert answer.status_code == 201
        body = answer.json()
        session_id = body["session_id"]
        below = urljoin("http://localhost/a/path/session", answer.headers["location"])
        assert below == f"http://localhost/a/path/session/{session_id}"
        assert answer.headers["cache-control"] == "no-store"
        assert body["media"] == {
            "offer_url": f"/session/{session_id}/offer",
            "whip_url": f"/session/{session_id}/whip",
            "whep_url": f"/session/{session_id}/whep",
            "ws_url": f"/session/{session_id}/stream",
            "events_url": f"/session/{session_id}/events",
        }
        assert body["video"] == {"width": 256, "height": 256, "fps": 25.0, "codec": "h264"}
        assert body["audio"] == {"input_sample_rate": 16_000, "output_sample_rate": 48_000}
        assert (body["status"], body["mode"], body["avatar_id"]) == ("ready", "speak", "ada")
        assert body["ice_servers"] == [] and body["expires_at"].endswith("+00:00")


async def test_a_session_names_the_ice_servers_as_they_were_set() -> None:
    servers = [
        {"urls": "turn:t.example", "username": "u", "credential": "hush"},
        {"urls": ["stun:s.example"]},
    ]
    async with serving(ice_servers=servers) as caller:
        assert (await caller.create())["ice_servers"] == servers


async def test_a_session_for_an_uploaded_portrait() -> None:
    async with serving() as caller:
        answer = await caller.http.post("/session", **upload(draw_portrait(), mode="echo"))
        assert answer.status_code == 201, answer.text
        assert answer.json()["avatar_id"] is None
        assert answer.json()["mode"] == "echo"


@pytest.mark.parametrize("set_", [True, False])
async def test_a_session_may_ask_that_nobody_listens(set_: bool) -> None:
    async with serving(listening=set_) as caller:
        sessions = caller.app.state.context.sessions

        async def listens(**request: Any) -> bool:
            body = (await caller.http.post("/session", **request)).json()
            return sessions.find(body["session_id"], body["token"]).caller is not None

        assert await listens(json={"avatar_id": "ada"}) == set_
        assert not await listens(json={"avatar_id": "ada", "listening": False})
        assert await listens(**upload(draw_portrait(), listening="true")) == set_
        assert not await listens(**upload(draw_portrait(), listening="false"))


@pytest.mark.parametrize(
    ("request_", "box"),
    [
        ({"json": {"avatar_id": "ada", "box": [0.5, 0, 0.5, 1]}}, (0.5, 0, 0.5, 1)),
        ({"json": {"avatar_id": "ada", "box": None}}, None),
        (upload(draw_portrait(), box="120, 40,300,300.5"), (120, 40, 300, 300.5)),
        (upload(draw_portrait(), box=""), None),
    ],
)
async def test_a_box_chooses_the_person(
    request_: dict[str, Any], box: tuple[float, ...] | None
) -> None:
    workers = FakeWorkers(SystemClock())
    async with serving(workers) as caller:
        answer = await caller.http.post("/session", **request_)
        assert answer.status_code == 201, answer.text
        assert workers.boxes == [box]


@pytest.mark.parametrize("box", ["1,2,3", "left", "0,0,0,5", "-1,0,5,5", "0,0,inf,5"])
async def test_a_bad_box_of_a_form_is_explained_in_one_line(box: str) -> None:
    async with serving() as caller:
        answer = await caller.http.post("/session", **upload(draw_portrait(), box=box))
        is_problem(answer, 400, "bad_request")
        assert answer.json()["detail"].startswith("expected a box of four numbers")
        assert "\n" not in answer.json()["detail"]


@pytest.mark.parametrize("box", [[1, 2, 3], "0,0,1,1", [0, 0, 0, 5], [-1, 0, 5, 5], [0, 0, 1, "1"]])
async def test_a_bad_box_in_json_is_explained_in_one_line(box: Any) -> None:
    async with serving() as caller:
        answer = await caller.http.post("/session", json={"avatar_id": "ada", "box": box})
        is_problem(answer, 400, "bad_request")
        assert answer.json()["detail"].startswith("expected another object; box")
        assert "\n" not in answer.json()["detail"]


async def test_what_was_found_in_the_portrait_is_answered() -> None:
    workers = FakeWorkers(SystemClock())
    async with serving(workers) as caller:
        assert (await caller.create())["report"] is None, "a model that does not tell"
        limit = PortraitLimit("face_turned", "It is turned.", "Take it from the front.")
        workers.report = replace(PERFECT, glasses=None, limits=(limit,))
        report = (await caller.create())["report"]
    assert report == workers.report.as_record() | {"limits": [asdict(limit)]}
    assert report["face_box"] == [200, 200, 200, 200]


async def test_a_portrait_that_cannot_be_used() -> None:
    async with serving() as caller:
        is_problem(await caller.http.post("/session", **upload(BAD_PORTRAIT)), 422, "no_face")
        assert len(caller.app.state.context.sessions) == 0


@pytest.mark.parametrize(
    ("request_", "status", "code"),
    [
        ({"json": {"avatar_id": "nobody"}}, 404, "not_found"),
        ({"json": {"avatar_id": "ada", "mode": "sing"}}, 400, "bad_request"),
        ({"json": {"avatar_id": "ada", "colour": "red"}}, 400, "bad_request"),
        ({"json": {"avatar_id": "ada", "listening": "a bit"}}, 400, "bad_request"),
        ({"json": ["ada"]}, 400, "bad_request"),
        ({"json": {}}, 400, "bad_request"),
        (
            {"content": b"{", "headers": {"content-type": "application/json"}},
            400,
            "bad_request",
        ),
        (
            {"content": b"[" * 100_000, "headers": {"content-type": "application/json"}},
            400,
            "bad_request",
        ),
        (
            {"content": b"x", "headers": {"content-type": "text/plain"}},
            415,
            "unsupported_media_type",
        ),
        ({}, 415, "unsupported_media_type"),
        (upload(b"x", mode="sing"), 400, "bad_request"),
        (upload(b"x", mode=""), 400, "bad_request"),
        (upload(b"x", listening="a bit"), 400, "bad_request"),
        (upload(b"x", listening=""), 400, "bad_request"),
        (upload(b""), 400, "bad_request"),
        ({"files": {"other": b"x"}}, 400, "bad_request"),
        (
            {"content": b"x", "headers": {"content-type": "multipart/form-data"}},
            400,
            "bad_request",
        ),
        (upload(b"x" * 200_000), 413, "too_large"),
    ],
)
async def test_requests_that_are_refused(request_: dict[str, Any], status: int, code: str) -> None:
    async with serving(max_upload_bytes=100_000) as caller:
        is_problem(await caller.http.post("/session", **request_), status, code)


async def test_an_endless_upload_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(middleware, "DRAIN_BYTES", 1_000_000)
    sent = 0

    async def endless() -> Any:
        nonlocal sent
        while sent < 50_000_000:
            sent += 65_536
            yield b"x" * 65_536

    async with serving(max_upload_bytes=100_000) as caller:
        headers = {"content-type": "multipart/form-data; boundary=b"}
        try:
            answer = await caller.http.post("/session", content=endless(), headers=headers)
            is_problem(answer, 413, "too_large")
        except (httpx.WriteError, httpx.ReadError):
            pass  # the answer came while we still wrote, and the connection was closed
        assert sent < 20_000_000


async def test_when_every_place_is_taken_the_next_caller_is_told_when_to_return() -> None:
    async with serving(max_sessions=2) as caller:
        answers = await asyncio.gather(
            *(caller.http.post("/session", json={"avatar_id": "ada"}) for _ in range(5))
        )
        taken = [answer for answer in answers if answer.status_code == 201]
        refused = [answer for answer in answers if answer.status_code != 201]
        assert len(taken) == 2
        for answer in refused:
            is_problem(answer, 503, "no_capacity")
            assert int(answer.headers["retry-after"]) > 0
        await caller.delete(taken[0].json())
        await caller.create()


async def test_a_caller_may_wait_for_a_place_and_watch_how_it_moves_up() -> None:
    async with serving(max_sessions=1, queue=1) as caller:
        first = await caller.create()
        answer = await caller.http.post("/session", json={"avatar_id": "ada"})
        assert answer.status_code == 202
        waiting = answer.json()
        assert (waiting["status"], waiting["queue_position"]) == ("queued", 1)
        assert waiting["expires_at"] is None
        is_problem(
            await caller.http.post("/session", json={"avatar_id": "ada"}), 503, "no_capacity"
        )
        path = answer.headers["location"]
        offer = {"sdp": "v=0", "type": "offer"}
        refused = await caller.http.post(f"{path}/offer", json=offer, headers=bearer(waiting))
        is_problem(refused, 409, "queued")
        async with caller.stream(waiting) as socket:
            assert (await socket.event("session.queued"))["queue_position"] == 1
            shown = (await caller.http.get(path, headers=bearer(waiting))).json()
            assert (shown["status"], shown["queue_position"]) == ("queued", 1)
            await caller.delete(first)
            await socket.event("session.ready")
            await socket.frame()
            shown = (await caller.http.get(path, headers=bearer(waiting))).json()
            assert shown["queue_position"] is None


async def test_a_session_that_nobody_came_to_yet_can_be_kept() -> None:
    async with serving(idle_timeout_s=1.5) as caller:
        session = await caller.create()
        path = f"/session/{session['session_id']}"
        for _ in range(4):
            await asyncio.sleep(0.7)
            kept = await caller.http.post(f"{path}/keepalive", headers=bearer(session))
            assert kept.status_code == 204
        await asyncio.sleep(3.5)
        gone = await caller.http.post(f"{path}/keepalive", headers=bearer(session))
        is_problem(gone, 404, "not_found")


async def test_places_are_as_many_as_were_measured_unless_told() -> None:
    workers = FakeWorkers(SystemClock())
    workers.measured = 1
    async with serving(workers) as caller:
        shown = (await caller.http.get("/readyz")).json()
        assert (shown["sessions"], shown["max_sessions"], shown["measured_sessions"]) == (0, 1, 1)
        await caller.create()
        refused = await caller.http.post("/session", json={"avatar_id": "ada"})
        is_problem(refused, 503, "no_capacity")
        assert "one of 1 places" in refused.json()["detail"]
    workers = FakeWorkers(SystemClock())
    workers.measured = 1
    async with serving(workers, max_sessions=2) as caller:
        await caller.create()
        await caller.create()
        shown = (await caller.http.get("/readyz")).json()
        assert (shown["sessions"], shown["max_sessions"], shown["measured_sessions"]) == (2, 2, 1)


async def test_a_session_is_shown_and_ended_by_its_token_only() -> None:
    async with serving() as caller:
        session, other = await caller.create(), await caller.create()
        path = f"/session/{session['session_id']}"
        is_problem(await caller.http.get(path), 401, "unauthorised")
        wrong = await caller.http.get(path, headers=bearer(other))
        is_problem(wrong, 401, "unauthorised")
        assert wrong.headers["www-authenticate"] == "Bearer"
        is_problem(await caller.http.delete(path, headers=bearer(other)), 401, "unauthorised")
        shown = (await caller.http.get(path, headers=bearer(session))).json()
        assert shown["status"] == "ready" and shown["metrics"]["units"] == 0
        assert session["token"] not in str(shown)
        by_query = await caller.http.get(path, params={"token": session["token"]})
        assert by_query.status_code == 200
        assert [await caller.delete(session) for _ in range(3)] == [204, 204, 204]
        is_problem(await caller.http.get(path, headers=bearer(session)), 404, "not_found")


async def test_an_interrupt_raises_the_epoch() -> None:
    async with serving() as caller:
        session = await caller.create()
        path = f"/session/{session['session_id']}/interrupt"
        answers = [await caller.http.post(path, headers=bearer(session)) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [202, 202]
        assert [answer.json() for answer in answers] == [{"generation": 1}, {"generation": 2}]
        is_problem(await caller.http.post(path), 401, "unauthorised")


async def test_an_api_key_guards_creation() -> None:
    async with serving(api_key="open sesame") as caller:
        body = {"avatar_id": "ada"}
        is_problem(await caller.http.post("/session", json=body), 401, "unauthorised")
        for key in ("wrong", "open"):
            answer = await caller.http.post(
                "/session", json=body, headers={"Authorization": f"Bearer {key}"}
            )
            is_problem(answer, 401, "unauthorised")
        answer = await caller.http.post(
            "/session", json=body, headers={"Authorization": "Bearer open sesame"}
        )
        assert answer.status_code == 201


async def test_the_bundled_assets_and_the_page() -> None:
    async with serving() as caller:
        rows = (await caller.http.get("/avatars")).json()["avatars"]
        assert [row["id"] for row in rows] == ["ada", "bob"]
        picture = await caller.http.get(rows[0]["image_url"])
        assert picture.headers["content-type"] == "image/jpeg"
        assert picture.content.startswith(b"\xff\xd8\xff")
        clips = (await caller.http.get("/clips")).json()["clips"]
        assert clips == [
            {"id": "hello", "name": "Hello", "url": "/clips/hello.wav", "text": "Hello there."}
        ]
        assert (await caller.http.get("/clips/hello.wav")).content.startswith(b"RIFF")
        is_problem(await caller.http.get("/avatars/nobody.jpg"), 404, "not_found")
        is_problem(await caller.http.get("/clips/..%2Fclips.json"), 404, "not_found")
        is_problem(await caller.http.get("/nowhere"), 404, "not_found")
        is_problem(await caller.http.put("/session"), 405, "method_not_allowed")
        assert "<html" in (await caller.http.get("/")).text


async def test_health_and_readiness() -> None:
    workers = FakeWorkers(SystemClock())
    async with serving(workers) as caller:
        assert (await caller.http.get("/readyz")).status_code == 200
        workers.warm = False
        assert (await caller.http.get("/healthz")).status_code == 200
        is_problem(await caller.http.get("/readyz"), 503, "not_ready")


@pytest.mark.parametrize("places", [0, 2])
async def test_a_server_that_warms_up_says_so(places: int) -> None:
    workers = FakeWorkers(SystemClock())
    async with serving(workers, max_sessions=places) as caller:
        workers.warm = False
        refused = await caller.http.post("/session", json={"avatar_id": "ada"})
        is_problem(refused, 503, "not_ready")
        assert int(refused.headers["retry-after"]) > 0
        assert "expected a warm worker, got none yet" in refused.json()["detail"]


async def test_a_caller_who_left_while_the_portrait_was_prepared_keeps_no_place() -> None:
    workers, prepared = FakeWorkers(SystemClock()), asyncio.Event()
    preparing, prepare = asyncio.Event(), workers.prepare

    async def slowly(
        portrait: bytes, box: FaceBox | None = None, *, keep: bool = False
    ) -> IdentityHandle:
        preparing.set()
        await prepared.wait()
        return await prepare(portrait, box)

    workers.prepare = slowly  # type: ignore[method-assign]
    async with serving(workers, max_sessions=1) as caller:
        _, writer = await asyncio.open_connection("127.0.0.1", caller.port)
        body = b'{"avatar_id": "ada"}'
        writer.write(b"POST /session HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n")
        writer.write(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        await asyncio.wait_for(preparing.wait(), 20)
        writer.close()
        await writer.wait_closed()
        await asyncio.sleep(0.05)
        prepared.set()
        async with asyncio.timeout(20):
            while not workers.seeds or len(caller.app.state.context.sessions):
                await asyncio.sleep(0.01)
        assert workers.callbacks == {}
        await caller.create()


async def test_offers_that_cannot_be_answered() -> None:
    async with serving() as caller:
        session = await caller.create()
        path = f"/session/{session['session_id']}/offer"
        body = {"sdp": "v=0\r\nnonsense", "type": "offer"}
        is_problem(await caller.http.post(path, json=body), 401, "unauthorised")
        answer = await caller.http.post(path, json=body, headers=bearer(session))
        is_problem(answer, 400, "bad_offer")
        answer = await caller.http.post(path, json={"sdp": ""}, headers=bearer(session))
        is_problem(answer, 400, "bad_request")
        candidate = {"candidate": "", "sdpMid": "0", "sdpMLineIndex": 0}
        answer = await caller.http.patch(path, json=candidate, headers=bearer(session))
        is_problem(answer, 409, "conflict")


async def test_a_failure_inside_shows_no_traceback(caplog: pytest.LogCaptureFixture) -> None:
    workers = FakeWorkers(SystemClock())

    async def broken(
        portrait: bytes, box: FaceBox | None = None, *, keep: bool = False
    ) -> IdentityHandle:
        raise RuntimeError("secret detail")

    workers.prepare = broken  # type: ignore[method-assign]
    async with serving(workers) as caller:
        answer = await caller.http.post("/session", json={"avatar_id": "ada"})
        is_problem(answer, 500, "internal")
        assert "secret" not in answer.text
        await caller.http.get("/healthz")


async def test_pages_of_other_origins_may_call_when_allowed() -> None:
    async with serving(cors_origins=("https://app.example",)) as caller:
        preflight = await caller.http.options(
            "/session",
            headers={
                "Origin": "https://app.example",
                "Access-Control-Request-Method": "POST",
                "Access-Control-Request-Headers": "authorization",
            },
        )
        assert preflight.headers["access-control-allow-origin"] == "https://app.example"
        other = await caller.http.get("/avatars", headers={"Origin": "https://evil.example"})
        assert "access-control-allow-origin" not in other.headers
