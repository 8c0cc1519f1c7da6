"""What the READMEs show runs as it stands, only at another address."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import av
import pytest

from models.io import console
from tests.client_demo.test_client import png
from tests.support.server_process import ROOT, RunningServer

pytestmark = pytest.mark.e2e

README = ROOT / "client_demo" / "README.md"
MAIN_README = ROOT / "README.md"
ADDRESS = "http://localhost:8000"


def blocks(language: str, page: Path = README) -> list[str]:
    """A page's examples in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text("utf-8"), re.M | re.S)


def run(server: RunningServer, code: str, folder: Path) -> str:
    """Run an example in a folder; its output."""
    code = code.replace(ADDRESS, server.url)
    runner = [sys.executable, "-c"] if "import" in code.splitlines()[0] else ["bash", "-euc"]
    result = subprocess.run(
        [*runner, code],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture
def folder(tmp_path: Path, speech: Path) -> Path:
    """With the files that the examples name."""
    assert speech.parent == tmp_path and speech.name == "speech.wav"
    (tmp_path / "me.jpg").write_bytes(png(300))
    return tmp_path


def test_the_library_example(server: RunningServer, folder: Path) -> None:
    assert run(server, blocks("python")[0], folder) == "it spoke for 2.00 s\n"


def test_the_examples_of_the_first_page(server: RunningServer, folder: Path) -> None:
    (example,) = blocks("python", MAIN_README)
    assert run(server, example, folder) == ""
    if shutil.which("curl") is None:
        pytest.skip("README SHELL EXAMPLE SKIPPED: no curl on this machine")
    (commands,) = blocks("sh", MAIN_README)
    output = run(server, commands.replace("localhost:8000", server.url), folder)
    assert output.count('"session_id"') == output.count('"ws_url"') == 2


def test_the_wire_example(server: RunningServer, folder: Path) -> None:
    run(server, blocks("python")[1], folder)
    with av.open(str(folder / "talk.h264")) as video:
        assert sum(1 for _ in video.decode(video=0)) >= 50


def test_the_commands(server: RunningServer, folder: Path) -> None:
    commands = blocks("sh")[0].replace(" --audio", f" --url {server.url} --audio")
    output = run(server, commands, folder)
    assert '"speaking_frames": 50' in output.splitlines()[-1]
    assert (folder / "talk.mp4").stat().st_size > 1000


def test_the_shell_example(server: RunningServer, folder: Path) -> None:
    if shutil.which("curl") is None:
        message = "README SHELL EXAMPLE SKIPPED: no curl on this machine"
        console.warn(message)
        pytest.skip(message)
    output = run(server, blocks("sh")[1], folder)
    assert '"status":"ready"' in output and '"generation":1' in output
