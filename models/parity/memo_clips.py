"""Replays MEMO's complete runs."""

from __future__ import annotations

from typing import Any


def items(directory: Any, nets: Any) -> Any:
    return iter(())
