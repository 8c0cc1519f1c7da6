"""Spans by OpenTelemetry; imported only where somebody collects."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, Status, StatusCode, set_span_in_context

SERVICE = {"service.name": "livehead"}
NS = 1_000_000_000


class OtelSpans:
    """Implements ``server.telemetry.spans.Spans`` with a provider of its own."""

    on = True

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("livehead")

    @contextmanager
    def span(self, name: str, parent: Span | None = None, **attributes: Any) -> Iterator[Span]:
        """A span around what happens inside; attributes are named ``livehead.NAME``.

        Of an error the kind is told alone: its words are not always ours.
        """
        context = None if parent is None else set_span_in_context(parent)
        with self._tracer.start_as_current_span(
            name,
            context,
            attributes=_named(attributes),
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                yield span
            except BaseException as error:
                span.set_status(Status(StatusCode.ERROR, type(error).__name__))
                raise

    def record(self, name: str, parent: Span | None, ago_s: float, **attributes: Any) -> None:
        """A span that ends now."""
        context = None if parent is None else set_span_in_context(parent)
        now = time.time_ns()
        span = self._tracer.start_span(
            name, context, attributes=_named(attributes), start_time=now - round(NS * ago_s)
        )
        span.end(now)

    def close(self) -> None:
        """Send what was not sent yet."""
        self._provider.shutdown()


def connect() -> OtelSpans:
    """Send to the OTLP endpoint that OpenTelemetry's variables name, by HTTP, in batches."""
    resource = Resource.create(SERVICE).merge(OTELResourceDetector().detect())
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return OtelSpans(provider)


def _named(attributes: dict[str, Any]) -> dict[str, Any]:
    return {f"livehead.{name}": value for name, value in attributes.items() if value is not None}
