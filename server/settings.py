"""The server's settings: read from the environment once, cast, validated and frozen."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from models.errors import LiveheadError
from models.options import SIZE
from models.registry import MODELS

PREFIX = "LIVEHEAD_"
SECRETS = frozenset({"api_key", "ice_servers"})
MEGABYTE = 1024 * 1024


class SettingsError(LiveheadError):
    """Raised at start when a setting is not what it must be (``bad_setting``)."""

    def __init__(self, message: str) -> None:
        super().__init__(message, code="bad_setting")


@dataclass(frozen=True)
class Settings:
    """Each field ``x`` can be set by the environment variable ``LIVEHEAD_X``.

    Attributes:
        host: address to listen on.
        port: TCP port to listen on; 0 takes any free one.
        model: generator of every worker, one of ``MODELS``.
        weights: folder of the model's weights, or random:SEED; empty for the bundled ones.
        plan: which sampling steps are key steps; empty for the model's own.
        engine: what runs the networks, as ``livehead render`` takes it.
        size, dtype, devices, without_reference: of published models, as ``livehead render`` takes
            them.
        threads: threads of each worker's model; 0 leaves the choice to the model.
        workers: worker processes, each with its own warm model.
        max_batch: streams that one model call may serve.
        max_sessions: places; the next caller is answered 503 with Retry-After. 0 has as many as
            the workers, when they start, measure to run in real time.
        max_identities: prepared portraits that each worker keeps.
        max_upload_bytes: largest portrait.
        idle_timeout_s: a session with nobody attached for so long is closed.
        max_duration_s: no session lives longer.
        closing_warning_s: how long before that the caller is warned.
        api_key: when set, whoever creates a session must present it as a Bearer token.
        cors_origins: origins of pages that may call the API, comma separated; ``*`` for all.
        ice_servers: STUN and TURN servers for calls, a JSON list of {"urls", "username",
            "credential"}; callers are told them.
        log_level: of the server's own log lines.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    model: str = "mini"
    weights: str = ""
    plan: str = ""
    engine: str = "auto"
    size: int = SIZE
    dtype: str = ""
    devices: str = "cpu"
    without_reference: tuple[str, ...] = ()
    threads: int = 0
    workers: int = 1
    max_batch: int = 4
    max_sessions: int = 0
    max_identities: int = 32
    max_upload_bytes: int = 10 * MEGABYTE
    idle_timeout_s: float = 60.0
    max_duration_s: float = 3600.0
    closing_warning_s: float = 30.0
    api_key: str = field(default="", repr=False)
    cors_origins: tuple[str, ...] = ()
    ice_servers: tuple[dict[str, Any], ...] = field(default=(), repr=False)
    log_level: str = "info"

    def __post_init__(self) -> None:
        """Refuse values that would only fail later."""
        _need(self.model in MODELS, "model", self.model, f"one of {', '.join(MODELS)}")
        _need(0 <= self.port <= 65_535, "port", self.port, "between 0 and 65535")
        for name in ("threads", "max_sessions"):
            value = getattr(self, name)
            _need(value >= 0, name, value, "0 or more")
        for name in ("workers", "max_batch", "max_identities", "max_upload_bytes"):
            value = getattr(self, name)
            _need(value >= 1, name, value, "1 or more")
        for name in ("idle_timeout_s", "max_duration_s"):
            value = getattr(self, name)
            _need(value > 0, name, value, "more than 0 seconds")
        _need(self.closing_warning_s >= 0, "closing_warning_s", self.closing_warning_s, ">= 0")
        levels = ("debug", "info", "warning", "error")
        _need(self.log_level in levels, "log_level", self.log_level, f"one of {', '.join(levels)}")

    @classmethod
    def read(cls, environment: Mapping[str, str], **overrides: Any) -> Settings:
        """Settings from ``LIVEHEAD_*`` variables; overrides that are not None win.

        Raises:
            SettingsError: a value cannot be cast or is out of range.
        """
        values: dict[str, Any] = {}
        for item in dataclasses.fields(cls):
            text = environment.get(PREFIX + item.name.upper())
            if text is not None and text.strip():
                values[item.name] = _cast(item.name, str(item.type), text.strip())
        values.update({name: value for name, value in overrides.items() if value is not None})
        return cls(**values)

    def shown(self) -> str:
        """One line for the start-up log; secrets are masked."""
        pairs = []
        for item in dataclasses.fields(self):
            value = getattr(self, item.name)
            if item.name in SECRETS:
                value = "set" if value else "unset"
            pairs.append(f"{item.name}={value}")
        return " ".join(pairs)


def _need(holds: bool, name: str, value: object, expected: str) -> None:
    if not holds:
        raise SettingsError(
            f"{PREFIX}{name.upper()}: expected {expected}, got {value!r}; change the setting"
        )


def listed(text: str) -> tuple[str, ...]:
    """A comma separated list."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _servers(text: str) -> tuple[dict[str, Any], ...]:
    rows = json.loads(text)
    if not isinstance(rows, list) or not all(
        isinstance(row, dict) and "urls" in row and set(row) <= {"urls", "username", "credential"}
        for row in rows
    ):
        raise ValueError("not a list of servers")
    return tuple(rows)


_CASTS: dict[str, tuple[Callable[[str], Any], str]] = {
    "str": (str, "text"),
    "int": (int, "a whole number"),
    "float": (float, "a number"),
    "tuple[str, ...]": (listed, "a comma separated list"),
    "tuple[dict[str, Any], ...]": (_servers, "a JSON list of objects with urls"),
}


def _cast(name: str, kind: str, text: str) -> Any:
    cast, expected = _CASTS[kind]
    try:
        return cast(text)
    except ValueError as error:
        got = "something else" if name in SECRETS else repr(text)
        raise SettingsError(
            f"{PREFIX}{name.upper()}: expected {expected}, got {got}; change the setting"
        ) from error
