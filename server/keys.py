"""API keys in a file: names, limits, and argon2 hashes in place of the keys.

A key is ``NAME.SECRET``, so that the record to check it against is known, and a wrong one costs one
hash at most. The secret is 256 random bits: the hash need not be slow, and is not.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import tempfile
from pathlib import Path
from typing import Annotated

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from models.errors import LiveheadError

NAME = re.compile(r"[A-Za-z0-9_-]{1,40}")
HASHER = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
ADVICE = "make it with livehead key add"


class KeyFileError(LiveheadError):
    """Raised when the file of API keys cannot be read or written (``bad_keys``)."""

    def __init__(self, message: str) -> None:
        super().__init__(message, code="bad_keys")


class ApiKey(BaseModel):
    """One key of the file.

    Attributes:
        hash: of the whole key, argon2 in its standard text.
        max_sessions: open at once; 0 for any number.
        requests_per_minute: 0 for any number.
        admin: whether it opens /admin too.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(pattern=f"^{NAME.pattern}$")]
    hash: Annotated[str, Field(pattern=r"^\$argon2", repr=False)]
    max_sessions: Annotated[int, Field(ge=0)] = 0
    requests_per_minute: Annotated[int, Field(ge=0)] = 0
    admin: bool = False

    def fits(self, key: str) -> bool:
        """Whether it is this key; takes some 20 ms."""
        try:
            return HASHER.verify(self.hash, key)
        except (VerificationError, InvalidHashError):
            return False


_FILE = TypeAdapter(list[ApiKey])


def read_keys(path: Path) -> dict[str, ApiKey]:
    """The keys of a file by their names.

    Raises:
        KeyFileError: it cannot be read, is not a list of keys, or names one twice.
    """
    try:
        keys = _FILE.validate_json(path.read_bytes())
    except OSError as error:
        raise KeyFileError(
            f"cannot read the API keys of {path}: {error.strerror}; {ADVICE}"
        ) from error
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in wrong["loc"]) or "the file"
        raise KeyFileError(
            f"expected a JSON list of API keys in {path}, got {where}: {wrong['msg']}; {ADVICE}"
        ) from error
    named = {key.name: key for key in keys}
    if len(named) < len(keys):
        raise KeyFileError(f"expected each name once in {path}, got one twice; remove one")
    return named


def add_key(
    path: Path,
    name: str,
    *,
    max_sessions: int = 0,
    requests_per_minute: int = 0,
    admin: bool = False,
) -> str:
    """Make a key and keep its hash in the file, which is made where there is none; the key.

    Raises:
        KeyFileError: the name is taken or none, or the file cannot be read or written.
    """
    if not NAME.fullmatch(name):
        raise KeyFileError(
            f"expected a name of 1 to 40 letters, digits, - and _, got {name[:60]!r};"
            " choose another"
        )
    keys = read_keys(path) if path.exists() else {}
    if name in keys:
        raise KeyFileError(f"expected a new name, got {name}, which {path} has; choose another")
    key = f"{name}.{secrets.token_urlsafe(32)}"
    keys[name] = ApiKey(
        name=name,
        hash=HASHER.hash(key),
        max_sessions=max_sessions,
        requests_per_minute=requests_per_minute,
        admin=admin,
    )
    _write(path, [kept.model_dump(exclude_defaults=True) for kept in keys.values()])
    return key


def _write(path: Path, records: list[dict[str, object]]) -> None:
    """Replace the file as a whole; nobody else may read it."""
    try:
        place = Path(os.path.realpath(path))  # a link stays one
        handle, draft = tempfile.mkstemp(dir=place.parent, prefix=f".{place.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(json.dumps(records, indent=2) + "\n")
            os.replace(draft, place)
        except BaseException:
            os.unlink(draft)
            raise
    except OSError as error:
        raise KeyFileError(
            f"cannot write the API keys to {path}: {error.strerror}; choose another --file"
        ) from error
