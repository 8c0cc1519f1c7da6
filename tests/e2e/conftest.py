"""A real server for the browser's tests, the page in a browser, and a folder for screenshots."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.browser import require_chromium
from tests.support.beeps import beeps, write_wav
from tests.support.server_process import RunningServer, running_server


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """With the fake model; skips at once where there is no browser."""
    require_chromium()
    settings = {"LIVEHEAD_MAX_SESSIONS": "16"}  # a killed browser leaves its session for a minute
    with running_server(tmp_path_factory.mktemp("server"), environment=settings) as running:
        yield running


@pytest.fixture
def screenshots(tmp_path: Path) -> Path:
    """Where pictures of the page go: LIVEHEAD_SCREENSHOTS, or a folder that pytest cleans up."""
    folder = Path(os.environ.get("LIVEHEAD_SCREENSHOTS") or tmp_path / "screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def beeping(tmp_path: Path) -> Path:
    """A WAV with a beep in each of four seconds; a fake microphone plays it over and over."""
    return write_wav(tmp_path / "beeps.wav", beeps(4.0))
