"""The scripts' environment is made once, kept while the locks stay the same, and mended."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.tracked import ROOT

pytestmark = pytest.mark.unit

# Stands in for Python: makes an "environment" that contains itself, and logs every installation.
STUB = """#!/bin/sh
case "$*" in
    *"-m venv"*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
    *"pip install"*--editable*) echo checkout >>"$STUB_LOG" ;;
    *"pip install"*) echo packages >>"$STUB_LOG" ;;
    *"-c import av"*) test ! -e "$(dirname "$0")/broken" ;;
    *"-m pytest"*) echo "tests $*" >>"$STUB_LOG" ;;
    -VV) echo "Python 3.11" ;;
esac
"""


class Checkout:
    """A folder with the scripts and locks, whose Python is the stub."""

    def __init__(self, folder: Path, home: Path) -> None:
        self.folder = folder
        self.log = home / "log"
        self._environment = {
            "PATH": os.environ["PATH"],
            "PYTHON": str(home / "python"),
            "XDG_CACHE_HOME": str(home / "cache"),
            "STUB_LOG": str(self.log),
        }
        for name in ("scripts", ".ci"):
            shutil.copytree(ROOT / name, folder / name)
        for name in ("requirements.lock", "requirements-dev.lock", "pyproject.toml"):
            shutil.copy(ROOT / name, folder)
        for name in ("check", "system"):  # not what is tested here
            (folder / "scripts" / name).write_text("#!/bin/sh\n")

    def run(self, *command: str) -> list[str]:
        """Run a script; what it installed and tested."""
        self.log.write_text("")
        subprocess.run(command, cwd=self.folder, env=self._environment, check=True)
        return self.log.read_text().splitlines()

    def append(self, name: str) -> None:
        """Change a file."""
        with (self.folder / name).open("a") as file:
            file.write("# changed\n")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A new machine's home, with nothing but the stub."""
    stub = tmp_path / "python"
    stub.write_text(STUB)
    stub.chmod(0o755)
    return tmp_path


@pytest.fixture
def checkout(home: Path) -> Checkout:
    return Checkout(home / "checkout", home)


def test_setup_installs_once_and_again_when_something_changed(checkout: Checkout) -> None:
    setup = ("./scripts/setup", "--dev")
    assert checkout.run(*setup) == ["packages", "checkout"]
    assert checkout.run(*setup) == []
    checkout.append("pyproject.toml")
    assert checkout.run(*setup) == ["checkout"], "the packages are those of the locks"
    checkout.append("requirements-dev.lock")
    assert checkout.run(*setup) == ["packages", "checkout"]
    (checkout.folder / ".venv" / "bin" / "python").unlink()
    assert checkout.run(*setup) == ["packages", "checkout"], "its Python is gone"


def test_fast_lane_leaves_out_what_takes_long(checkout: Checkout) -> None:
    checkout.run("./scripts/setup", "--dev")
    assert checkout.run("./scripts/test", "--fast", "-x") == [
        "tests -m pytest -m unit and not slow -x"
    ]
    assert checkout.run("./scripts/test", "-x") == ["tests -m pytest -x"]


def test_ci_keeps_its_environment_between_checkouts(home: Path, checkout: Checkout) -> None:
    first = checkout.run("./.ci/run")
    assert first == ["packages", "checkout", "tests -m pytest"]
    assert checkout.run("./.ci/run") == ["tests -m pytest"]
    other = Checkout(home / "other", home)
    assert other.run("./.ci/run") == ["checkout", "tests -m pytest"]
    other.append("requirements.lock")
    assert other.run("./.ci/run") == first, "another lock, another environment"
    assert len(list((home / "cache" / "livehead").glob("venv-*"))) == 2


def test_ci_makes_a_broken_environment_anew(home: Path, checkout: Checkout) -> None:
    first = checkout.run("./.ci/run")
    (environment,) = (home / "cache" / "livehead").glob("venv-*")
    (environment / "bin" / "broken").touch()
    assert checkout.run("./.ci/run") == first
    assert not (environment / "bin" / "broken").exists()


def test_ci_leaves_an_environment_in_use_alone(home: Path, checkout: Checkout) -> None:
    first = checkout.run("./.ci/run")
    other = Checkout(home / "other", home)
    with (home / "cache" / "livehead" / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert other.run("./.ci/run") == first, "an environment of its own"
    assert checkout.run("./.ci/run") == ["tests -m pytest"]


def test_ci_does_without_a_cache(home: Path, checkout: Checkout) -> None:
    (home / "cache").write_text("a file where the folder would be")
    first = checkout.run("./.ci/run")
    assert first == ["packages", "checkout", "tests -m pytest"]
    assert checkout.run("./.ci/run") == first
