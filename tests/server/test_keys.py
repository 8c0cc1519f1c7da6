"""The file of API keys: hashes alone, checked when read, added to by ``livehead key add``."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from server import cli
from server.keys import KeyFileError, add_key, read_keys

pytestmark = pytest.mark.unit


def test_a_key_is_printed_once_and_kept_as_a_hash(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "keys.json"
    assert cli.main(["key", "add", "shop", "--file", str(path), "--max-sessions", "3"]) == 0
    key = capsys.readouterr().out.strip()
    assert cli.main(["key", "add", "ops", "--file", str(path), "--admin"]) == 0
    text = path.read_text()
    assert key.startswith("shop.") and key.removeprefix("shop.") not in text
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    keys = read_keys(path)
    assert (keys["shop"].max_sessions, keys["shop"].admin, keys["ops"].admin) == (3, False, True)
    assert keys["shop"].fits(key) and not keys["ops"].fits(key)
    assert not keys["shop"].fits(key + "x")
    link = tmp_path / "link.json"
    link.symlink_to(path)
    assert cli.main(["key", "add", "more", "--file", str(link)]) == 0
    assert link.is_symlink() and len(read_keys(path)) == 3
    assert keys["shop"].hash.startswith("$argon2id$") and keys["shop"].hash not in repr(keys)


def test_keys_of_one_name_differ_and_a_taken_name_is_refused(tmp_path: Path) -> None:
    first = add_key(tmp_path / "a.json", "shop")
    assert add_key(tmp_path / "b.json", "shop") != first
    before = (tmp_path / "a.json").read_text()
    for name in ("shop", "", "a b", "x" * 41, "a.b"):
        with pytest.raises(KeyFileError, match="expected a"):
            add_key(tmp_path / "a.json", name)
    assert (tmp_path / "a.json").read_text() == before


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "JSON list"),
        ("{}", "JSON list"),
        ('[{"name": "a"}]', "0.hash"),
        ('[{"name": "a", "hash": "plain"}]', "0.hash"),
        ('[{"name": "a b", "hash": "$argon2id$x"}]', "0.name"),
        ('[{"name": "a", "hash": "$argon2id$x", "limit": 3}]', "0.limit"),
        ('[{"name": "a", "hash": "$argon2id$x", "max_sessions": -1}]', "0.max_sessions"),
        (json.dumps([{"name": "a", "hash": "$argon2id$x"}] * 2), "each name once"),
    ],
)
def test_a_wrong_file_is_refused_in_one_line_without_its_hashes(
    tmp_path: Path, content: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "keys.json"
    path.write_text(content)
    with pytest.raises(KeyFileError, match=words) as refused:
        read_keys(path)
    assert "\n" not in str(refused.value) and "plain" not in str(refused.value)
    assert cli.main(["key", "add", "b", "--file", str(path)]) == 1
    assert path.read_text() == content
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_file_that_cannot_be_read_or_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    absent = tmp_path / "absent" / "keys.json"
    assert cli.main(["key", "add", "shop", "--file", str(absent)]) == 1
    monkeypatch.setenv("LIVEHEAD_API_KEYS_FILE", str(absent))
    assert cli.main(["serve", "--model", "fake", "--port", "0"]) == 1
    written, read = capsys.readouterr().err.splitlines()[-2:]
    assert "cannot write" in written and "cannot read" in read and "key add" in read


def test_a_hash_that_is_none_fits_nothing(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    path.write_text('[{"name": "a", "hash": "$argon2id$x"}]')
    assert not read_keys(path)["a"].fits("a.secret")
