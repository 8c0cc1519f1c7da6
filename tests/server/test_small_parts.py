"""The small parts: clock, errors, identities, bundled assets, generators."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from models.errors import AudioError, LiveheadError, PortraitError
from models.fake import FakeGenerator
from models.io.image import load_image
from models.options import ModelOptions
from models.registry import load_generator
from server import errors
from server.app import worker_config
from server.assets import BundledAssets, draw_portrait
from server.avatars import content_hash
from server.clock import SystemClock, wait_until
from server.settings import Settings
from server.worker.identities import IdentityCache
from server.worker.messages import WorkerConfig
from tests.support.clock import ManualClock, settle

pytestmark = pytest.mark.unit


async def test_waiting_ends_with_the_event_or_the_deadline() -> None:
    clock, event = ManualClock(), asyncio.Event()
    waiting = asyncio.create_task(wait_until(clock, event, clock.now() + 1))
    await clock.advance(0.9)
    assert not waiting.done()
    await clock.advance(0.2)
    assert await waiting is False
    waiting = asyncio.create_task(wait_until(clock, event, clock.now() + 1))
    await settle()
    event.set()
    assert await waiting is True
    assert await wait_until(clock, event, clock.now() - 1) is True
    event.clear()
    assert await wait_until(clock, event, clock.now() - 1) is False


async def test_waiting_can_be_cancelled_and_leaves_no_task() -> None:
    clock, event = ManualClock(), asyncio.Event()
    waiting = asyncio.create_task(wait_until(clock, event, clock.now() + 1))
    await settle()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert len(asyncio.all_tasks()) == 1
    forever = asyncio.create_task(wait_until(clock, event, float("inf")))
    await clock.advance(1e6)
    assert not forever.done()
    event.set()
    assert await forever is True


async def test_the_system_clock_goes_forward() -> None:
    clock = SystemClock()
    before = clock.now()
    await clock.sleep(0.01)
    await clock.sleep(-1)
    assert clock.now() - before >= 0.009


def test_every_error_has_a_status_and_a_stable_code() -> None:
    cases = {
        errors.BadRequest("x"): (400, "bad_request"),
        errors.BadRequest("x", code="bad_json"): (400, "bad_json"),
        errors.OfferError("x"): (400, "bad_offer"),
        errors.OfferError("x", code="no_codec"): (422, "no_codec"),
        errors.Unauthorised("x"): (401, "unauthorised"),
        errors.NotFound("x"): (404, "not_found"),
        errors.Conflict("x"): (409, "conflict"),
        errors.TooLarge("x"): (413, "too_large"),
        errors.RateLimited("x"): (429, "rate_limited"),
        errors.TooManySessions("x"): (429, "too_many_sessions"),
        errors.UnsupportedMediaType("x"): (415, "unsupported_media_type"),
        errors.NoCapacity("x"): (503, "no_capacity"),
        errors.NotReady(): (503, "not_ready"),
        errors.WorkerLost("x"): (503, "worker_lost"),
        PortraitError("x", code="no_face"): (422, "no_face"),
        AudioError("x", code="bad_audio"): (500, "bad_audio"),
    }
    for error, (status, code) in cases.items():
        assert (errors.status_of(error), error.code) == (status, code)
    assert errors.headers_of(errors.NoCapacity("x", retry_after_s=7)) == {"Retry-After": "7"}
    assert errors.headers_of(errors.NotReady()) == {"Retry-After": "5"}
    assert errors.headers_of(errors.Unauthorised("x")) == {"WWW-Authenticate": "Bearer"}
    assert errors.headers_of(errors.NotFound("x")) == {}


def test_a_problem_has_the_standard_form() -> None:
    assert errors.problem(422, "no_face", "expected one face") == {
        "type": "urn:livehead:problem:no_face",
        "title": "Unprocessable Entity",
        "status": 422,
        "detail": "expected one face",
        "code": "no_face",
    }


def test_the_identity_used_longest_ago_goes_first() -> None:
    cache = IdentityCache[int](2)
    cache.put("a", 1)
    cache.put("b", 2)
    assert cache.get("a") == 1
    cache.put("c", 3)
    assert cache.get("b") is None
    assert "a" in cache and "c" in cache and len(cache) == 2
    cache.put("a", 4)
    assert cache.get("a") == 4 and len(cache) == 2
    with pytest.raises(ValueError, match="at least 1"):
        IdentityCache(0)


def test_contents_have_names() -> None:
    assert content_hash(b"x") == content_hash(b"x") != content_hash(b"y")


def test_bundled_assets_read_its_lists(tmp_path: Path) -> None:
    for kind, suffix, row in (
        ("avatars", "jpg", {"id": "eve", "name": "Eve"}),
        ("clips", "wav", {"id": "hi", "name": "Hi", "text": "Hi."}),
    ):
        folder = tmp_path / kind
        folder.mkdir()
        (folder / f"{kind}.json").write_text(json.dumps([row]))
        (folder / f"{row['id']}.{suffix}").write_bytes(b"content")
    assets = BundledAssets.read(tmp_path, draw=True)
    assert [avatar.id for avatar in assets.avatars] == ["eve"]
    assert assets.clip("hi").text == "Hi."
    with pytest.raises(errors.NotFound):
        assets.clip("eve")


def test_the_drawn_portrait_stands_in_only_when_asked_for(tmp_path: Path) -> None:
    assert BundledAssets.read(tmp_path).avatars == []
    (drawn,) = BundledAssets.read(tmp_path, draw=True).avatars
    assert drawn.id == "test"
    assert load_image(drawn.picture).shape == (256, 256, 3)
    assert np.ptp(load_image(draw_portrait(100))) > 50


def test_generators_are_made_by_name() -> None:
    generator = load_generator(ModelOptions("fake", size=(640, 360)))
    assert isinstance(generator, FakeGenerator) and generator.size == (640, 360)
    with pytest.raises(LiveheadError, match="mini, hallo"):
        load_generator(ModelOptions("huge"))
    with pytest.raises(LiveheadError, match="publisher"):
        load_generator(ModelOptions("hallo"))


def test_workers_are_started_with_what_the_settings_say() -> None:
    settings = Settings.read(
        {"LIVEHEAD_WITHOUT_REFERENCE": "up_blocks.3.attentions.2, up_blocks.3.attentions.1"},
        model="hallo",
        weights="DIR",
        plan="40",
        engine="eager",
        size=(256, 256),
        dtype="bf16",
        devices="cuda:0",
        threads=3,
        max_batch=2,
        max_identities=5,
    )
    config = worker_config(settings, BundledAssets([], []))
    shared = {field.name for field in fields(WorkerConfig)} - {"warm_portrait", "prepared"}
    assert {name: getattr(config, name) for name in shared} == {
        name: getattr(settings, name) for name in shared
    }
    assert config.options == ModelOptions(
        "hallo",
        weights="DIR",
        plan="40",
        engine="eager",
        threads=3,
        size=(256, 256),
        dtype="bf16",
        devices=("cuda:0",),
        without_reference=("up_blocks.3.attentions.2", "up_blocks.3.attentions.1"),
    )
    assert config.options.without_reference == (
        "up_blocks.3.attentions.2",
        "up_blocks.3.attentions.1",
    )


def test_an_engine_that_does_not_exist_is_refused() -> None:
    with pytest.raises(LiveheadError, match="engine"):
        load_generator(ModelOptions("mini", engine="steam"))


def test_the_gateway_does_without_pytorch() -> None:
    code = "import server.app, server.cli, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
