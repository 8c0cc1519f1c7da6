"""Lists the files that git tracks and the names that each module imports."""

from __future__ import annotations

import ast
import functools
import subprocess
from collections.abc import Collection
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("models", "server", "client_demo")


@functools.cache
def tracked() -> tuple[Path, ...]:
    """Every tracked file that exists, relative to the root."""
    listing = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    paths = (Path(name) for name in listing.split("\0") if name)
    return tuple(path for path in paths if (ROOT / path).is_file())


def modules(*tops: str) -> list[Path]:
    """The tracked Python files below the given top-level folders."""
    return [path for path in tracked() if path.suffix == ".py" and path.parts[0] in tops]


@functools.cache
def imports(path: Path) -> frozenset[str]:
    """The dotted names that a module imports anywhere, ``a.b`` and ``a.b.name`` alike."""
    found: set[str] = set()
    for node in ast.walk(ast.parse((ROOT / path).read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = ".".join([*path.parts[: -node.level], *base.split(".")]).strip(".")
            found.add(base)
            found.update(f"{base}.{alias.name}" for alias in node.names)
    return frozenset(found)


def uses(names: Collection[str], package: str) -> bool:
    """Whether one of the dotted names is the package or inside it."""
    return any(name == package or name.startswith(package + ".") for name in names)
