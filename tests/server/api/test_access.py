"""Who may open sessions and how often: keys of the file, addresses, limits, and what it costs."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest

from server.api.access import MOST_WAITING
from server.api.rates import MOST_NAMES, RequestRates
from server.errors import RateLimited
from server.keys import ApiKey, add_key
from tests.support.clock import ManualClock
from tests.support.server_in_loop import Caller, serving

pytestmark = pytest.mark.unit

ADA = {"avatar_id": "ada"}
FAR = {"X-Forwarded-For": "203.0.113.7"}  # what a proxy on this machine says


def with_key(key: str) -> dict[str, str]:
    """The header of an API key."""
    return {"Authorization": f"Bearer {key}"}


async def post(caller: Caller, headers: dict[str, str] | None = None) -> httpx.Response:
    """Open a session."""
    return await caller.http.post("/session", json=ADA, headers=headers)


def code_of(answer: httpx.Response) -> tuple[int, str]:
    """Status and code of a problem."""
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.status_code, answer.json()["code"]


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names whose slow hashes were computed."""
    names: list[str] = []
    fits = ApiKey.fits

    def counted(self: ApiKey, key: str) -> bool:
        names.append(self.name)
        return fits(self, key)

    monkeypatch.setattr(ApiKey, "fits", counted)
    return names


async def test_each_key_has_its_limits_and_the_single_key_none(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    shop = add_key(path, "shop", max_sessions=1)
    slow = add_key(path, "slow", requests_per_minute=2)
    async with serving(api_keys_file=str(path), api_key="open sesame", max_sessions=99) as caller:
        assert code_of(await post(caller)) == (401, "unauthorised")
        assert code_of(await post(caller, with_key("shop"))) == (401, "unauthorised")
        assert code_of(await post(caller, with_key(shop + "x"))) == (401, "unauthorised")
        first = await post(caller, with_key(shop))
        refused = await post(caller, with_key(shop))
        assert first.status_code == 201 and code_of(refused) == (429, "too_many_sessions")
        assert int(refused.headers["retry-after"]) > 0
        assert await caller.delete(first.json()) == 204
        assert (await post(caller, with_key(shop))).status_code == 201
        assert [(await post(caller, with_key(slow))).status_code for _ in range(2)] == [201, 201]
        limited = await post(caller, with_key(slow))
        assert code_of(limited) == (429, "rate_limited")
        assert 1 <= int(limited.headers["retry-after"]) <= 30
        for _ in range(5):
            assert (await post(caller, with_key("open sesame"))).status_code == 201


async def test_simultaneous_callers_cannot_exceed_a_keys_limit(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    shop = add_key(path, "shop", max_sessions=2)
    async with serving(api_keys_file=str(path), max_sessions=99) as caller:
        answers = await asyncio.gather(*(post(caller, with_key(shop)) for _ in range(6)))
        assert sorted(answer.status_code for answer in answers) == [201, 201, 429, 429, 429, 429]


async def test_a_repeated_creation_is_not_refused_for_its_own_session(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    shop, other = add_key(path, "shop", max_sessions=1), add_key(path, "other")
    async with serving(api_keys_file=str(path), max_sessions=2) as caller:
        again = {"Idempotency-Key": "1"}
        answers = [await post(caller, {**with_key(shop), **again}) for _ in range(2)]
        assert len({answer.json()["session_id"] for answer in answers}) == 1
        another = await post(caller, {**with_key(other), **again})
        assert another.json()["session_id"] != answers[0].json()["session_id"]


async def test_a_key_is_hashed_once_and_a_guess_at_no_name_never(
    tmp_path: Path, checks: list[str]
) -> None:
    path = tmp_path / "keys.json"
    shop = add_key(path, "shop")
    async with serving(api_keys_file=str(path), max_sessions=99) as caller:
        answers = await asyncio.gather(*(post(caller, with_key(shop)) for _ in range(5)))
        assert {answer.status_code for answer in answers} == {201} and checks == ["shop"]
        for _ in range(3):
            assert (await post(caller, with_key("nobody.x"))).status_code == 401
            assert (await post(caller, with_key("shop.x"))).status_code == 401
        assert checks == ["shop", "shop"]


async def test_guessing_is_bounded_and_does_not_keep_known_keys_out(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    shop = add_key(path, "shop")
    async with serving(api_keys_file=str(path), max_sessions=99) as caller:
        assert (await post(caller, with_key(shop) | FAR)).status_code == 201
        crowd = [post(caller, with_key(f"shop.{k}")) for k in range(3 * MOST_WAITING)]
        codes = [answer.status_code for answer in await asyncio.gather(*crowd)]
        assert set(codes) == {401, 429}
        codes = [(await post(caller, with_key(f"nobody.{k}") | FAR)).status_code for k in range(40)]
        assert codes[:20] == [401] * 20 and codes[-1] == 429
        assert (await post(caller, with_key(shop) | FAR)).status_code == 201


async def test_without_keys_each_far_address_has_its_share() -> None:
    async with serving(max_sessions=99, peer_requests_per_minute=4, peer_max_sessions=2) as caller:
        codes = [
            code_of(answer)[1] if answer.is_error else "open"
            for answer in [await post(caller, FAR) for _ in range(6)]
        ]
        assert codes == ["open"] * 2 + ["too_many_sessions"] * 2 + ["rate_limited"] * 2
        assert (await post(caller, {"X-Forwarded-For": "203.0.113.8"})).status_code == 201
        for _ in range(8):  # this machine's own callers are not counted
            assert (await post(caller)).status_code == 201
        six = [{"X-Forwarded-For": f"2001:db8:0:1::{k}"} for k in range(3)]
        codes = [str((await post(caller, headers)).status_code) for headers in six]
        assert codes == ["201", "201", "429"], "one network of 64 bits is one caller"


async def test_offers_and_avatars_are_counted_with_their_owner() -> None:
    async with serving(max_sessions=9, peer_requests_per_minute=3) as caller:
        session = (await post(caller, FAR)).json()
        headers = {"Authorization": f"Bearer {session['token']}"}
        for _ in range(2):
            answer = await caller.http.post(
                session["media"]["offer_url"], json={"sdp": "", "type": "offer"}, headers=headers
            )
            assert code_of(answer) == (400, "bad_offer")
        answer = await caller.http.post(
            session["media"]["offer_url"], json={"sdp": "", "type": "offer"}, headers=headers
        )
        assert code_of(answer) == (429, "rate_limited")
        assert code_of(await caller.http.delete("/avatars/x", headers=FAR))[0] == 429


async def test_shares_come_back_and_the_list_of_names_is_bounded() -> None:
    clock = ManualClock()
    rates = RequestRates(clock)
    for _ in range(60):
        rates.take("a", 60)
    with pytest.raises(RateLimited) as refused:
        rates.take("a", 60)
    assert refused.value.retry_after_s == 1
    await clock.advance(1.01)
    rates.take("a", 60)
    with pytest.raises(RateLimited):
        rates.take("a", 60)
    for k in range(MOST_NAMES + 10):
        rates.take(f"name {k}", 60)
    assert len(rates) == MOST_NAMES
    rates.take("never", 0)
    assert len(rates) == MOST_NAMES
