"""Spans of what the server does, told to whoever collects them; without a collector they are none.

Spans of a session are children of its creation. ``otel.py`` beside this sends them by
OpenTelemetry, and is imported only where ``LIVEHEAD_TRACES`` asks for it.
"""

from __future__ import annotations

import importlib
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol, TypeAlias

from server.settings import SettingsError

Parent: TypeAlias = Any
"""A span as its collector knows it, handed back to it alone; None is no span."""


class Spans(Protocol):
    """Takes spans.

    Attributes:
        on: whether anybody collects; where not, attributes need not be gathered.
    """

    on: bool

    def span(
        self, name: str, parent: Parent = None, **attributes: Any
    ) -> AbstractContextManager[Parent]:
        """A span around what happens inside; an exception that leaves it is its error."""
        ...

    def record(self, name: str, parent: Parent, ago_s: float, **attributes: Any) -> None:
        """A span that began ``ago_s`` seconds ago and ends now."""
        ...

    def close(self) -> None:
        """Send what was not sent yet; may take seconds."""
        ...


class NoSpans:
    """Implements ``Spans`` where nobody collects."""

    on = False
    _nothing: AbstractContextManager[Parent] = nullcontext()

    def span(
        self, name: str, parent: Parent = None, **attributes: Any
    ) -> AbstractContextManager[Parent]:
        """No span."""
        return self._nothing

    def record(self, name: str, parent: Parent, ago_s: float, **attributes: Any) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


NO_SPANS = NoSpans()


def load_spans(on: bool) -> Spans:
    """The collector of OpenTelemetry's own variables (``OTEL_EXPORTER_OTLP_ENDPOINT``), or none.

    Raises:
        SettingsError: it is asked for and the extra is not installed.
    """
    if not on:
        return NO_SPANS
    try:
        collector: Spans = importlib.import_module("server.telemetry.otel").connect()
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"LIVEHEAD_TRACES: expected the package {error.name}, got none; install livehead[otel]"
        ) from error
    return collector
