"""A server with the fake model, shared by the tests of the client that need one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.beeps import beeps, write_wav
from tests.support.server_process import RunningServer, running_server


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """Ready to be called."""
    with running_server(tmp_path_factory.mktemp("client")) as running:
        yield running


@pytest.fixture
def speech(tmp_path: Path) -> Path:
    """A WAV of two seconds with two beeps."""
    return write_wav(tmp_path / "speech.wav", beeps(2.0))
