"""Times the stages of a model call, by a clock of the worker: models read none."""

from __future__ import annotations

from collections.abc import Callable


class StageTimer:
    """Seconds of each stage since ``start``."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._at = 0.0
        self._spent: dict[str, float] = {}

    def start(self) -> None:
        """Begin a call; what was spent before is forgotten."""
        self._at, self._spent = self._clock(), {}

    def skip(self) -> None:
        """What was spent since the last stage was spent on something else."""
        self._at = self._clock()

    def stage(self, name: str) -> None:
        """A stage ends; the next begins. One that comes again adds to the first."""
        now = self._clock()
        self._spent[name] = self._spent.get(name, 0.0) + now - self._at
        self._at = now

    @property
    def spent(self) -> dict[str, float]:
        """Seconds by stage, so far."""
        return dict(self._spent)
