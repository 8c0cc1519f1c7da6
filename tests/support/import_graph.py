"""The import graph of the tracked modules: who imports whom, by module and by folder.

Every import statement counts, also inside functions and under ``TYPE_CHECKING``: it is a reference
that a reader must follow. Modules that are loaded by a name in a string are not imports.
"""

from __future__ import annotations

import functools
import graphlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.support.tracked import imports, modules


@dataclass(frozen=True, slots=True, order=True)
class Import:
    """One import of one module of ours in another, by dotted names."""

    importer: str
    imported: str

    def __str__(self) -> str:
        return f"{self.importer} -> {self.imported}"


def module_name(path: Path) -> str:
    """``models/io/audio.py`` is ``models.io.audio``; an ``__init__.py`` has its folder's name."""
    parts = path.parts[:-1] if path.name == "__init__.py" else path.with_suffix("").parts
    return ".".join(parts)


def unit_of(module: str) -> str:
    """The folder, or the file beside the folders, that a module belongs to: ``models.io``."""
    return ".".join(module.split(".")[:2])


@functools.cache
def module_imports(*tops: str) -> tuple[Import, ...]:
    """Every import between modules below the given top-level folders, sorted."""
    known = {module_name(path): path for path in modules(*tops)}
    found = {
        Import(importer, imported)
        for importer, path in known.items()
        for name in imports(path)
        if (imported := _longest_known(name, known)) and imported != importer
    }
    return tuple(sorted(found))


def imports_between_units(*tops: str) -> Iterator[Import]:
    """The imports that leave their folder; a bare package such as ``models`` is no unit."""
    for item in module_imports(*tops):
        if unit_of(item.importer) != unit_of(item.imported) and "." in item.imported:
            yield item


def find_cycle(edges: tuple[Import, ...], name: Callable[[str], str] = str) -> list[str]:
    """One circle of imports, its first name repeated at its end; empty if there is none.

    Args:
        edges: imports between modules.
        name: what a module counts as, such as ``unit_of``; the identity by default.
    """
    graph: dict[str, set[str]] = {}
    for edge in edges:
        importer, imported = name(edge.importer), name(edge.imported)
        if importer != imported:
            graph.setdefault(importer, set()).add(imported)
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        cycle: list[str] = error.args[1]
        return cycle[::-1]
    return []


def _longest_known(name: str, known: Mapping[str, Path]) -> str | None:
    """``models.errors.LiveheadError`` is in ``models.errors``; names of other packages in None."""
    while name and name not in known:
        name = name.rpartition(".")[0]
    return name or None
