"""Spans of a session's life, collected in memory; none, and no import, where nobody collects."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from server.settings import Settings, SettingsError
from server.telemetry import spans
from server.telemetry.telemetry import Telemetry
from tests.support.server_in_loop import serving

pytestmark = pytest.mark.unit


def collector() -> tuple[spans.Spans, Any]:
    """A collector, and the exporter that holds what it collected."""
    pytest.importorskip("opentelemetry.sdk", reason="the extra otel is not installed: no spans")
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    from server.telemetry.otel import OtelSpans

    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return OtelSpans(provider), exporter


def seconds(span: Any) -> float:
    """How long a span lasted."""
    return float(span.end_time - span.start_time) / 1e9


async def test_a_session_is_one_trace() -> None:
    collected, exporter = collector()
    async with serving(telemetry=Telemetry(spans=collected)) as caller:
        session = await caller.create()
        async with caller.stream(session) as socket:
            await socket.speak()
        path = f"/session/{session['session_id']}/offer"
        headers = {"Authorization": f"Bearer {session['token']}"}
        bad = {"sdp": "v=0\r\nprivate words", "type": "offer"}
        await caller.http.post(path, json=bad, headers=headers)
        await caller.delete(session)
        found = exporter.get_finished_spans()
    names = [span.name for span in found]
    assert {"session.create", "session.prepare", "session.segment", "session.chunk"} <= set(names)
    root = found[names.index("session.create")]
    others = [span for span in found if span is not root]
    assert root.parent is None and all(s.parent.span_id == root.context.span_id for s in others)
    short = session["session_id"][5:11]
    assert all(span.attributes["livehead.session"] == short for span in found)
    segment = found[names.index("session.segment")]
    assert segment.attributes["livehead.outcome"] == "stopped"
    assert segment.attributes["livehead.played_ms"] == 400
    assert seconds(segment) > 0.35
    chunks = [span for span in found if span.name == "session.chunk"]
    assert any(span.attributes.get("livehead.segment") == "seg_1" for span in chunks)
    for span in chunks:
        assert span.attributes["livehead.model_ms"] > 0 and seconds(span) > 0
        assert {"livehead.queued_ms", "livehead.encode_ms"} <= span.attributes.keys()
    offer = found[names.index("session.offer")]
    assert offer.status.description == "OfferError" and not offer.events
    text = " ".join(span.to_json() for span in found)
    for secret in (session["token"], session["session_id"], "private words"):
        assert secret not in text


def test_nothing_of_opentelemetry_sdk_is_imported_where_nobody_collects() -> None:
    program = (
        "import sys; from server.app import create_app; from server.settings import Settings;"
        "create_app(Settings.read({}, model='fake', avatars_dir='/dev/null/a'));"
        "ours = ('opentelemetry.sdk', 'server.telemetry.otel');"
        "print([name for name in sys.modules if name.startswith(ours)])"
    )
    shown = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    assert shown.stdout.strip() == "[]"


def test_spans_without_the_extra_are_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "server.telemetry.otel", None)
    assert Settings.read({"LIVEHEAD_TRACES": "true"}).traces
    with pytest.raises(SettingsError, match=r"LIVEHEAD_TRACES: expected .* livehead\[otel\]"):
        spans.load_spans(True)
    assert spans.load_spans(False) is spans.NO_SPANS


def test_the_exporter_is_made_from_opentelemetrys_own_variables(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip(
        "opentelemetry.exporter.otlp.proto.http", reason="the extra otel is not installed"
    )
    monkeypatch.setenv("OTEL_SERVICE_NAME", "mine")
    made: Any = spans.load_spans(True)
    assert made.on and made._provider.resource.attributes["service.name"] == "mine"
    made.close()
