"""TURN credentials: the formula, their end, and that callers get them."""

from __future__ import annotations

import time
from typing import Any

import pytest

from server.settings import Settings
from server.turn import ice_servers_for, turn_credential
from tests.support.server_in_loop import serving

pytestmark = pytest.mark.unit

SECRET = "north"
TURN: dict[str, Any] = {
    "turn_urls": ("turn:t.example:3478", "turns:t.example"),
    "turn_secret": SECRET,
}


def test_the_formula_is_the_drafts() -> None:
    # echo -n 1400000000:user | openssl dgst -sha1 -hmac north -binary | base64
    assert turn_credential(SECRET, "1400000000:user") == "6yRMharYaIh9OmqFraC/st8Vrz4="


def test_credentials_end_and_stand_beside_static_servers() -> None:
    static = {"urls": "stun:s.example"}
    settings = Settings(**TURN, ice_servers=(static,), turn_ttl_s=60)
    assert ice_servers_for(settings, "sess_x", 1000.9) == [
        static,
        {
            "urls": ["turn:t.example:3478", "turns:t.example"],
            "username": "1060:sess_x",
            "credential": turn_credential(SECRET, "1060:sess_x"),
        },
    ]
    assert ice_servers_for(Settings(), "sess_x", 0) == []


async def test_every_session_gets_credentials_of_its_own() -> None:
    async with serving(**TURN) as caller:
        for _ in range(2):
            session = await caller.create()
            (server,) = session["ice_servers"]
            ends_at, _, name = server["username"].partition(":")
            assert name == session["session_id"] and int(ends_at) > time.time() + 3000
            assert server["credential"] == turn_credential(SECRET, server["username"])
