"""Items of a parity report: a computed value beside the stored one, judged by a tolerance."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from models.errors import LiveheadError
from models.io import console

Value = Tensor | ArrayLike
Pair = tuple[Value, Value]
"""The computed value, then the stored one."""


class Absent(LiveheadError):
    """Raised when a directory lacks a stored value (``absent``); its item is listed as absent."""

    def __init__(self, message: str) -> None:
        super().__init__(message, code="absent")


@dataclass(frozen=True)
class Item:
    """One stored value and what its replay gave.

    Attributes:
        name: the name that a reader of the notes would search for.
        max_abs: the largest absolute difference; infinite if the shapes differ, None if the value
            is absent or was never computed.
        tolerance: the absolute tolerance; None if nothing was compared.
        ok: whether the difference is at most the tolerance; an absent item is never ok.
        absent: the directory lacks the stored value.
        note: a remark for the reader.
        mismatch: the message of ``torch.testing.assert_close`` if it failed.
    """

    name: str
    max_abs: float | None
    tolerance: float | None
    ok: bool
    absent: bool = False
    note: str = ""
    mismatch: str = ""

    def to_json(self) -> dict[str, Any]:
        """``{"name", "max_abs", "tolerance", "ok"[, "absent"][, "note"]}``; null if not finite."""
        numbers = {"max_abs": _finite(self.max_abs), "tolerance": _finite(self.tolerance)}
        record = {"name": self.name, **numbers, "ok": self.ok}
        remarks = {"absent": self.absent, "note": self.note}
        return record | {key: value for key, value in remarks.items() if value}

    def to_row(self) -> tuple[str, ...]:
        """The cells of the table: name, difference, tolerance, verdict, note."""
        verdict = "ABSENT" if self.absent else "ok" if self.ok else "FAILED"
        difference = "-" if self.max_abs is None else f"{self.max_abs:.2e}"
        tolerance = "-" if self.tolerance is None else f"{self.tolerance:.1e}"
        return self.name, difference, tolerance, verdict, self.note


def absent(name: str, note: str = "") -> Item:
    """An item that the directory lacks."""
    return Item(name, None, None, False, absent=True, note=note)


def compare(
    name: str, got: Value, expected: Value, tolerance: float, *, relative: bool = False
) -> Item:
    """Compare a computed value with a stored one in float64.

    Args:
        got: any real or integer dtype, on any device.
        expected: of the same shape.
        tolerance: absolute, or a share of the largest stored magnitude if ``relative``.
    """
    actual, stored = _double(got), _double(expected)
    if actual.shape != stored.shape:
        note = f"shape {tuple(actual.shape)}, stored {tuple(stored.shape)}"
        return Item(name, math.inf, tolerance, False, note=note)
    if relative:
        tolerance *= float(stored.abs().max()) if stored.numel() else 1.0
    difference = float((actual - stored).abs().max()) if actual.numel() else 0.0
    try:
        # A stored NaN makes a relative tolerance NaN, and fails whatever the tolerance is.
        torch.testing.assert_close(actual, stored, rtol=0.0, atol=_finite(tolerance) or 0.0)
    except AssertionError as error:
        return Item(name, difference, tolerance, False, mismatch=str(error))
    return Item(name, difference, tolerance, True)


def measure(
    name: str, tolerance: float, replay: Callable[[], Pair], *, relative: bool = False
) -> Item:
    """Compare the pair that ``replay`` returns; absent if it raises ``Absent``."""
    try:
        got, expected = replay()
    except Absent as error:
        return absent(name, str(error))
    return compare(name, got, expected, tolerance, relative=relative)


def against(
    stored: Mapping[str, Tensor],
    name: str,
    got: Value | Callable[[Tensor], Value],
    tolerance: float,
    *,
    label: str = "",
    relative: bool = False,
) -> Item:
    """Compare with the stored value ``name``; absent if the file lacks it.

    Args:
        got: the computed value, or a function that computes it in the layout of the stored one.
        label: the item's name if it is not the stored one.
    """

    def replay() -> Pair:
        expected = stored[name]
        return (got(expected) if callable(got) else got), expected

    return measure(label or name, tolerance, replay, relative=relative)


def guarded(name: str, items: Iterable[Item]) -> Iterator[Item]:
    """The items, up to the first error, which becomes an item ``name`` that is never ok.

    A stored input or setting that the directory lacks makes it absent; values that do not fit
    together (an input of another size) make it failed. A missing or damaged weights file still
    ends the replay.
    """
    try:
        yield from items
    except Absent as error:
        yield absent(name, str(error))
    except KeyError as error:
        yield absent(name, f"no {error} among its settings")
    except (ValueError, TypeError, IndexError, AttributeError, RuntimeError, OSError) as error:
        message = (str(error).strip() or repr(error)).splitlines()[0]
        yield Item(name, None, None, False, note=f"cannot be replayed: {message}")


@dataclass
class Report:
    """All items of one model, in the order they were replayed."""

    model: str
    items: list[Item] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether there is an item, and every item is ok."""
        return bool(self.items) and all(item.ok for item in self.items)

    def show(self) -> None:
        """Print a table and a summary."""
        headings = ("item", "max abs", "tolerance", "", "note")
        console.table(headings, [item.to_row() for item in self.items])
        missing = sum(item.absent for item in self.items)
        failed = sum(not item.ok and not item.absent for item in self.items)
        passed = len(self.items) - missing - failed
        console.say(f"{self.model}: {passed} ok, {failed} failed, {missing} absent")

    def to_json(self) -> dict[str, Any]:
        """``{"model", "ok", "items": [...]}``."""
        items = [item.to_json() for item in self.items]
        return {"model": self.model, "ok": self.ok, "items": items}


def collect(model: str, items: Iterable[Item]) -> Report:
    """Replay all items, with a progress bar."""
    report = Report(model)
    with console.bar(f"replaying {model}", total=0, unit="item") as bar:
        for item in items:
            report.items.append(item)
            bar.update(1)
    return report


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _double(value: Value) -> Tensor:
    """Any value as float64 on the CPU."""
    if isinstance(value, Tensor):
        return value.detach().to("cpu", torch.float64)
    return torch.as_tensor(np.asarray(value, dtype=np.float64))
