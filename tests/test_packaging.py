"""Dependencies are declared where they are used, locked, and the container runs the same server."""

from __future__ import annotations

import functools
import re
import stat
import sys
import tomllib
from collections.abc import Mapping
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.tracked import PACKAGES, ROOT, imports, modules, tracked

pytestmark = pytest.mark.unit

# Modules that may need the extra `synth`, `train` or `published`; all others run without any.
SYNTHESIS = ("models/puppets/", "models/synth/")
TRAINING = ("models/evaluation/", "models/training/")
TRACING = "server/telemetry/otel.py"
# A script that the system's own Python runs.
OF_THE_SYSTEM = {"tests/e2e/gstreamer_client.py": {"gi"}}
PUBLISHED = (
    "models/audio/",
    "models/checkpoints/",
    "models/echomimic/",
    "models/hallo/",
    "models/memo/",
    "models/sd15/",
)
# Needed at run time though nothing of ours imports them, and why.
UNIMPORTED = {
    "embreex": "trimesh traces rays with it",
    "python-multipart": "FastAPI reads uploaded portraits with it",
    "websockets": "uvicorn serves WebSockets with it",
}


@functools.cache
def pyproject() -> dict[str, Any]:
    """The parsed pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def project() -> dict[str, Any]:
    """The table [project] of pyproject.toml."""
    table: dict[str, Any] = pyproject()["project"]
    return table


def declared(*extras: str) -> set[str]:
    """Canonical names of the dependencies, with those of some extras."""
    lines = [*project()["dependencies"]]
    for extra in extras:
        lines += project()["optional-dependencies"][extra]
    return {canonicalize_name(Requirement(line).name) for line in lines}


def locked(name: str) -> dict[str, str]:
    """A lock's exact versions by canonical name."""
    lines = (ROOT / name).read_text("utf-8").splitlines()
    pins = [line for line in lines if line.strip() and not line.lstrip().startswith("#")]
    wrong = [pin for pin in pins if not re.fullmatch(r"[a-z0-9.-]+==[a-z0-9.]+", pin)]
    assert not wrong, f"{name}: expected name==version and nothing else, got {wrong}"
    return {canonicalize_name(pin.split("==")[0]): pin.split("==")[1] for pin in pins}


def third_parties(path: Path) -> set[str]:
    """Canonical distribution names behind a module's imports."""
    ours = {*PACKAGES, "tests", *sys.stdlib_module_names}
    names = {name.split(".")[0] for name in imports(path)} - ours
    return {canonicalize_name(distributions_by_import().get(name, [name])[0]) for name in names}


@functools.cache
def distributions_by_import() -> Mapping[str, list[str]]:
    """Top-level import names of the environment -> the distributions that brought them."""
    return packages_distributions()


def test_every_import_is_a_declared_dependency() -> None:
    for path in modules(*PACKAGES, "tests"):
        extras = ["synth"] if str(path).startswith(SYNTHESIS) else []
        extras += ["train", "identity"] if str(path).startswith(TRAINING) else []
        extras += ["published"] if str(path).startswith(PUBLISHED) else []
        extras += ["otel"] if str(path) == TRACING else []
        extras += ["synth", "train", "published", "dev"] if path.parts[0] == "tests" else []
        unknown = third_parties(path) - declared(*extras) - OF_THE_SYSTEM.get(str(path), set())
        assert not unknown, f"{path} imports {sorted(unknown)}; declare them in pyproject.toml"


def test_every_declared_dependency_is_used() -> None:
    used = set().union(*(third_parties(path) for path in modules(*PACKAGES)))
    idle = declared("synth", "train", "published") - used - set(UNIMPORTED)
    assert not idle, f"pyproject.toml declares what nothing imports: {sorted(idle)}"


@pytest.mark.parametrize(
    ("lock", "extras"),
    [("requirements.lock", []), ("requirements-dev.lock", ["synth", "train", "published", "dev"])],
)
def test_lock_pins_what_is_declared(lock: str, extras: list[str]) -> None:
    pins = locked(lock)
    assert declared(*extras) <= set(pins), f"run scripts/lock: {declared(*extras) - set(pins)}"
    for line in project()["dependencies"]:
        wanted = Requirement(line)
        version = pins[canonicalize_name(wanted.name)]
        assert wanted.specifier.contains(version), f"{lock} pins {version}, expected {wanted}"


def test_locks_agree() -> None:
    run, dev = locked("requirements.lock"), locked("requirements-dev.lock")
    differing = {name for name in run if dev.get(name) != run[name]}
    assert not differing, f"run scripts/lock; the two locks differ in {sorted(differing)}"


def test_every_data_file_is_installed() -> None:
    globs = pyproject()["tool"]["setuptools"]["package-data"]
    installed = {
        path.relative_to(ROOT)
        for top in globs
        for glob in globs[top]
        for path in (ROOT / top).glob(glob)
    }
    data = {p for p in tracked() if p.parts[0] in PACKAGES and p.suffix not in {".py", ".md"}}
    assert data <= installed, f"package-data misses {sorted(map(str, data - installed))}"


def test_scripts_can_be_run() -> None:
    for path in [*(ROOT / "scripts").iterdir(), ROOT / ".ci" / "run"]:
        assert path.stat().st_mode & stat.S_IXUSR, f"chmod +x {path.name}"
        lines = path.read_text("utf-8").splitlines()
        assert lines[0] == "#!/bin/sh" and "set -eu" in lines, (
            f"{path.name}: stop at the first error"
        )


def dockerfile() -> str:
    """The Dockerfile without comments, one instruction a line."""
    text = (ROOT / "Dockerfile").read_text("utf-8").replace("\\\n", " ")
    return "\n".join(line for line in text.splitlines() if not line.startswith("#"))


def test_container_runs_the_command_as_a_user_without_rights() -> None:
    text = dockerfile()
    bases = set(re.findall(r"^FROM (\S+)", text, re.M))
    assert len(bases) == 1, f"one base image for both stages, got {bases}"
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-\w+", bases.pop()), "pin the base image exactly"
    assert re.search(r"^USER [1-9]\d*:[1-9]\d*$", text, re.M), "run as a numbered user, not as root"
    assert 'ENTRYPOINT ["livehead"]' in text
    assert 'CMD ["serve", "--host", "0.0.0.0"]' in text
    assert project()["scripts"] == {"livehead": "server.cli:main"}


def test_compose_service_is_locked_down_and_watched() -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))
    service = compose["services"]["livehead"]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["ports"] == ["127.0.0.1:8000:8000"], "it runs without a key: this machine alone"
    assert service["environment"]["LIVEHEAD_ALLOW_ANYONE"] == "true"
    probe = service["healthcheck"]["test"][-1]
    assert "http://127.0.0.1:8000/healthz" in probe
    assert probe in dockerfile(), "the image and the service ask the same question"
