"""Metrics and spans of one application, as everything that tells of itself is given them."""

from __future__ import annotations

from dataclasses import dataclass, field

from server.telemetry.instruments import Instruments
from server.telemetry.spans import NO_SPANS, Spans


@dataclass(frozen=True, slots=True)
class Telemetry:
    """What to tell; by default metrics that nobody asks for, and no spans."""

    instruments: Instruments = field(default_factory=Instruments)
    spans: Spans = NO_SPANS
