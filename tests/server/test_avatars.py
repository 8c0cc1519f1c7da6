"""Avatars on disk: named by their content, whole or not there, and mended by adding them again."""

from __future__ import annotations

import contextlib
import json
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from server.assets import BundledAvatar, draw_portrait
from server.avatars import AvatarStore, content_hash
from server.errors import Conflict, NotFound, StoreError
from tests.support.server_in_loop import serving
from tests.support.workers import BAD_PORTRAIT

pytestmark = pytest.mark.unit

PICTURE = draw_portrait()


def store(folder: Path, limit: int = 3) -> AvatarStore:
    return AvatarStore([BundledAvatar("ada", "Ada", draw_portrait(300))], folder, limit)


def test_a_picture_that_is_added_is_there_after_a_restart_and_has_one_id(tmp_path: Path) -> None:
    added = store(tmp_path).add("Eve", PICTURE, (0, 0, 0.5, 1))
    assert store(tmp_path).add("Eva", PICTURE, (0, 0, 0.5, 1)).id == added.id
    again = store(tmp_path)
    assert [(avatar.name, avatar.bundled) for avatar in again.all()] == [
        ("Ada", True),
        ("Eva", False),
    ]
    found = again.get(added.id)
    assert (found.picture, found.box, found.media_type) == (PICTURE, (0, 0, 0.5, 1), "image/jpeg")


def test_what_is_removed_is_gone_with_what_was_prepared_of_it(tmp_path: Path) -> None:
    avatars = store(tmp_path)
    added = avatars.add("Eve", PICTURE)
    folder = avatars.prepared / "some-model"
    folder.mkdir(parents=True)
    for box in (None, (0, 0, 0.5, 1)):  # a session may choose another face of it
        (folder / content_hash(PICTURE, box)).write_bytes(b"x")
    other = folder / content_hash(PICTURE + b"x")
    other.write_bytes(b"x")
    avatars.remove(added.id)
    assert list(folder.iterdir()) == [other]
    for ask in (avatars.get, avatars.remove):
        with pytest.raises(NotFound):
            ask(added.id)
    with pytest.raises(Conflict):
        avatars.remove("ada")


@pytest.mark.parametrize("name", ["../ada", "..", ".adding-x", "prepared", "a/b", "", "x" * 300])
def test_ids_are_no_paths(tmp_path: Path, name: str) -> None:
    with pytest.raises(NotFound):
        store(tmp_path).get(name)


def test_additions_at_once_keep_to_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    avatars, make = store(tmp_path, limit=1), tempfile.mkdtemp
    both = threading.Barrier(2)

    def late(**where: Any) -> str:
        with contextlib.suppress(threading.BrokenBarrierError):
            both.wait(0.3)
        folder: str = make(**where)
        return folder

    monkeypatch.setattr(tempfile, "mkdtemp", late)
    with ThreadPoolExecutor(2) as threads:
        added = [threads.submit(avatars.add, "Eve", draw_portrait(side)) for side in (256, 300)]
        errors = [one.exception() for one in added]
    assert sorted(type(error).__name__ for error in errors) == ["Conflict", "NoneType"]
    assert len(avatars.all()) == 2


@pytest.mark.parametrize("damage", ["portrait", "record", "half"])
def test_a_damaged_one_is_not_shown_until_it_is_added_again(tmp_path: Path, damage: str) -> None:
    avatars = store(tmp_path)
    added = avatars.add("Eve", PICTURE)
    place = tmp_path / added.id
    if damage == "portrait":
        (place / "portrait").write_bytes(PICTURE[:-1])
    elif damage == "record":
        (place / "avatar.json").write_text("{")
    else:
        (place / "portrait").unlink()
    assert [avatar.id for avatar in avatars.all()] == ["ada"]
    with pytest.raises(NotFound):
        avatars.get(added.id)
    assert avatars.add("Eve", PICTURE).id == added.id
    assert avatars.get(added.id).picture == PICTURE


def test_no_more_are_kept_than_may_be(tmp_path: Path) -> None:
    avatars = store(tmp_path, limit=1)
    avatars.add("Eve", PICTURE)
    with pytest.raises(Conflict, match="at most 1"):
        avatars.add("Eva", draw_portrait(200))
    avatars.add("Eva", PICTURE)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="LIVEHEAD_AVATARS_DIR"):
        store(tmp_path / "file" / "below").add("Eve", PICTURE)


async def test_the_api_adds_shows_uses_and_removes_them(tmp_path: Path) -> None:
    async with serving(avatars_dir=str(tmp_path), api_key="secret") as caller:
        key = {"Authorization": "Bearer secret"}
        form = {"files": {"portrait": PICTURE}, "data": {"name": " Eve  Adams "}}
        assert (await caller.http.post("/avatars", **form)).status_code == 401  # type: ignore[arg-type]
        added = await caller.http.post("/avatars", **form, headers=key)  # type: ignore[arg-type]
        assert added.status_code == 201, added.text
        shown = added.json()
        assert (shown["name"], shown["bundled"]) == ("Eve Adams", False)
        listed = (await caller.http.get("/avatars")).json()["avatars"]
        assert [avatar["id"] for avatar in listed] == ["ada", "bob", shown["id"]]
        picture = await caller.http.get(added.headers["location"])
        assert (picture.content, picture.headers["content-type"]) == (PICTURE, "image/jpeg")
        body = {"avatar_id": shown["id"]}
        session = await caller.http.post("/session", json=body, headers=key)
        assert session.status_code == 201 and session.json()["avatar_id"] == shown["id"]
        own = f"/avatars/{shown['id']}"
        assert (await caller.http.delete(own)).status_code == 401
        assert (await caller.http.delete(own, headers=key)).status_code == 204
        assert (await caller.http.delete(own, headers=key)).status_code == 404
        assert (await caller.http.delete("/avatars/ada", headers=key)).status_code == 409
        assert (await caller.http.post("/session", json=body, headers=key)).status_code == 404


@pytest.mark.parametrize(
    ("picture", "name", "status", "code"),
    [
        (BAD_PORTRAIT, "Eve", 422, "no_face"),
        (b"", "Eve", 400, "bad_request"),
        (PICTURE, "", 400, "bad_request"),
        (PICTURE, "x" * 61, 400, "bad_request"),
        (PICTURE, "a\x00b", 400, "bad_request"),
    ],
)
async def test_what_cannot_be_added(
    tmp_path: Path, picture: bytes, name: str, status: int, code: str
) -> None:
    async with serving(avatars_dir=str(tmp_path / "avatars")) as caller:
        answer = await caller.http.post(
            "/avatars", files={"portrait": picture}, data={"name": name}
        )
        assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
        assert not (tmp_path / "avatars").exists()


def test_the_record_says_when_it_was_added(tmp_path: Path) -> None:
    added = store(tmp_path).add("Eve", PICTURE)
    record = json.loads((tmp_path / added.id / "avatar.json").read_text())
    assert record["added"].startswith("20") and len(record["sha256"]) == 64
