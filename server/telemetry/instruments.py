"""What one application measures for Prometheus, in a registry of its own.

Two applications in one process share nothing. No label tells one session from another: states,
codes, reasons and stages are few.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from models.generator import STAGES as MODEL_STAGES

STAGES = ("input_wait", "queue", *MODEL_STAGES, "encode", "pace", "send")
STAGE_BUCKETS = (
    *(0.001, 0.002, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08),
    *(0.12, 0.16, 0.24, 0.32, 0.64, 1.28, 2.56),
)
FIRST_FRAME_BUCKETS = (0.05, 0.08, 0.12, 0.16, 0.2, 0.28, 0.35, 0.5, 0.75, 1.0, 2.0, 5.0)
SKEW_BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.025, 0.045, 0.06, 0.1, 0.2)


class Instruments:
    """The counters and histograms; ``watch`` adds the gauges, which are read when asked for."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self.accepted = Counter(
            "livehead_sessions_accepted_total",
            "Sessions that were created, with a place or in the queue.",
            registry=registry,
        )
        self.refused = Counter(
            "livehead_sessions_refused_total",
            "Creations that were refused, by the code of the answer.",
            ["code"],
            registry=registry,
        )
        self.ended = Counter(
            "livehead_sessions_ended_total",
            "Sessions that ended, by the reason of session.closed.",
            ["reason"],
            registry=registry,
        )
        self.interrupts = Counter(
            "livehead_interrupts_total", "Interrupts of speech.", registry=registry
        )
        self.worker_restarts = Counter(
            "livehead_worker_restarts_total",
            "Worker processes that ended, or could not start, and were replaced.",
            registry=registry,
        )
        self.units = Counter(
            "livehead_units_total", "AV frames that were due and sent.", registry=registry
        )
        self.late_units = Counter(
            "livehead_late_units_total",
            "AV frames that came after they were due.",
            registry=registry,
        )
        self.dropped_units = Counter(
            "livehead_dropped_units_total",
            "AV frames that an output did not take in time.",
            registry=registry,
        )
        self.first_frame = Histogram(
            "livehead_first_frame_seconds",
            "From the first sound of speech to the first frame that speaks it.",
            buckets=FIRST_FRAME_BUCKETS,
            registry=registry,
        )
        self.skew = Histogram(
            "livehead_audio_video_skew_seconds",
            "How much later, or earlier, a call's picture left than its sound.",
            buckets=SKEW_BUCKETS,
            registry=registry,
        )
        stages = Histogram(
            "livehead_stage_seconds",
            "What each stage takes, of a chunk; send is of an AV frame.",
            ["stage"],
            buckets=STAGE_BUCKETS,
            registry=registry,
        )
        self._stages = {stage: stages.labels(stage) for stage in STAGES}

    def watch(
        self,
        *,
        states: Callable[[], Mapping[str, int]],
        state_names: tuple[str, ...],
        room: Callable[[], float],
        limit: Callable[[], float],
        waiting: Callable[[], float],
        warm: Callable[[], float],
        tasks: Callable[[], float],
    ) -> None:
        """Add what is read from the running server: functions that give the present numbers."""
        by_state = Gauge(
            "livehead_sessions", "Sessions by their state.", ["state"], registry=self.registry
        )
        for name in state_names:
            by_state.labels(name).set_function(partial(_count_of, states, name))
        for metric, text, read in (
            ("livehead_room_sessions", "Places that are free.", room),
            ("livehead_limit_sessions", "Places in all; 0 while no worker is warm.", limit),
            ("livehead_queue_sessions", "Callers that wait for a place.", waiting),
            ("livehead_workers_warm", "Worker processes that are warm.", warm),
            ("livehead_tasks", "Tasks of the gateway's event loop.", tasks),
        ):
            Gauge(metric, text, registry=self.registry).set_function(read)

    def spent(self, stage: str, seconds: float) -> None:
        """A chunk, or for ``send`` an AV frame, spent so long in a stage."""
        self._stages[stage].observe(max(0.0, seconds))

    def sent(self, wait_s: float, skew_s: float | None = None) -> None:
        """An AV frame left; its picture ``skew_s`` after its sound, where they leave apart."""
        self.spent("send", wait_s)
        if skew_s is not None:
            self.skew.observe(abs(skew_s))


def _count_of(states: Callable[[], Mapping[str, int]], name: str) -> float:
    return states().get(name, 0)
