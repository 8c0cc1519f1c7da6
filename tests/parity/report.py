"""What a comparison gives: items with their largest difference, a table and one JSON object."""

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


class Absent(LiveheadError):
    """Raised when a directory lacks a stored value (``absent``); its item is listed as absent."""

    def __init__(self, message: str) -> None:
        super().__init__(message, code="absent")


@dataclass(frozen=True)
class Item:
    """One stored value, replayed.

    Attributes:
        name: as a reader of the notes would look for it.
        max_abs: the largest absolute difference; infinite where shapes differ, None if
            absent or never computed.
        tolerance: that it is judged by, absolute; None where there was nothing to judge.
        ok: whether the difference is at most the tolerance; an absent item is never ok.
        absent: the directory lacks the stored value.
        note: what a person should know besides.
    """

    name: str
    max_abs: float | None
    tolerance: float | None
    ok: bool
    absent: bool = False
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        """``{"name", "max_abs", "tolerance", "ok"}``, and ``absent`` or ``note`` where they say
        something; what is not finite becomes null."""
        record: dict[str, Any] = {
            "name": self.name,
            "max_abs": _finite(self.max_abs),
            "tolerance": _finite(self.tolerance),
            "ok": self.ok,
        }
        if self.absent:
            record["absent"] = True
        if self.note:
            record["note"] = self.note
        return record


def absent(name: str, note: str = "") -> Item:
    """An item that the directory lacks."""
    return Item(name, None, None, False, absent=True, note=note)


def compare(
    name: str, got: Value, expected: Value, tolerance: float, *, relative: bool = False
) -> Item:
    """Judge one value.

    Args:
        got: ours, any real or integer dtype, on any device.
        expected: the stored one, of the same shape.
        tolerance: absolute, or a share of the largest stored magnitude if ``relative``.
    """
    mine, theirs = _double(got), _double(expected)
    if mine.shape != theirs.shape:
        note = f"shape {tuple(mine.shape)}, stored {tuple(theirs.shape)}"
        return Item(name, math.inf, tolerance, False, note=note)
    if relative:
        tolerance *= float(theirs.abs().max()) if theirs.numel() else 1.0
    worst = float((mine - theirs).abs().max()) if mine.numel() else 0.0
    # A comparison with NaN is false: what is not a number is not ok.
    return Item(name, worst, tolerance, worst <= tolerance)


def measure(
    name: str,
    tolerance: float,
    replay: Callable[[], Pair],
    *,
    relative: bool = False,
) -> Item:
    """Judge what ``replay`` gives, (ours, stored); absent where it meets an ``Absent`` value."""
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
    """Judge ours by the stored value ``name``; absent where the file lacks it.

    Args:
        got: ours, or what makes ours from the stored value where that one says the layout.
        label: the item's name where it is not the stored one.
    """

    def replay() -> Pair:
        expected = stored[name]
        return (got(expected) if callable(got) else got), expected

    return measure(label or name, tolerance, replay, relative=relative)


def guarded(name: str, items: Iterable[Item]) -> Iterator[Item]:
    """The items, up to one that cannot be made; an item ``name`` then says why, never as passed.

    What the directory lacks (a stored input, a setting) is absent; what does not fit together (an
    input of another size) has failed. A missing or damaged weights file still ends the replay.
    """
    try:
        yield from items
    except Absent as error:
        yield absent(name, str(error))
    except KeyError as error:
        yield absent(name, f"no {error} among its settings")
    except (ValueError, TypeError, IndexError, AttributeError, RuntimeError, OSError) as error:
        said = (str(error).strip() or repr(error)).splitlines()[0]
        yield Item(name, None, None, False, note=f"cannot be replayed: {said}")


@dataclass
class Report:
    """All items of one model, in the order they were replayed."""

    model: str
    items: list[Item] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether there was something to replay and every item passed; absent ones do not."""
        return bool(self.items) and all(item.ok for item in self.items)

    def show(self) -> None:
        """A table for people, with a line that sums it up."""
        rows = [_row(item) for item in self.items]
        console.table(("item", "max abs", "tolerance", "", "note"), rows)
        missing = sum(item.absent for item in self.items)
        failed = sum(not item.ok and not item.absent for item in self.items)
        passed = len(self.items) - missing - failed
        console.say(f"{self.model}: {passed} ok, {failed} failed, {missing} absent")

    def to_json(self) -> dict[str, Any]:
        """``{"model", "ok", "items": [...]}``."""
        items = [item.to_json() for item in self.items]
        return {"model": self.model, "ok": self.ok, "items": items}


def collect(model: str, items: Iterable[Item]) -> Report:
    """Replay all items with a line of progress for each."""
    report = Report(model)
    with console.bar(f"replaying {model}", total=0, unit="item") as shown:
        for item in items:
            report.items.append(item)
            shown.update(1)
    return report


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _double(value: Value) -> Tensor:
    """Any value as float64 on the CPU."""
    if isinstance(value, Tensor):
        return value.detach().to("cpu", torch.float64)
    return torch.as_tensor(np.asarray(value, dtype=np.float64))


def _row(item: Item) -> tuple[object, ...]:
    if item.absent:
        return item.name, "-", "-", "ABSENT", item.note
    verdict = "ok" if item.ok else "FAILED"
    worst = "-" if item.max_abs is None else f"{item.max_abs:.2e}"
    limit = "-" if item.tolerance is None else f"{item.tolerance:.1e}"
    return item.name, worst, limit, verdict, item.note
