"""Reads a bundled weights file and refuses any but the pinned one."""

from __future__ import annotations

import hashlib
from pathlib import Path

from models.errors import WeightsError

WEIGHTS = Path(__file__).parent


def read_pinned(path: Path, sha256: str) -> bytes:
    """The content of ``path`` if its SHA-256 is ``sha256``.

    Raises:
        WeightsError: the file is missing (``missing_weights``) or another one (``bad_weights``).
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise WeightsError(
            f"expected the bundled weights file {path}, got {error.strerror or error};"
            " install Livehead again",
            code="missing_weights",
        ) from error
    got = hashlib.sha256(content).hexdigest()
    if got != sha256:
        raise WeightsError(
            f"expected {path} with SHA-256 {sha256}, got {got} ({len(content)} bytes);"
            " the file is damaged or not the bundled one: install Livehead again",
            code="bad_weights",
        )
    return content
