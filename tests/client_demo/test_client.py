"""The Python client against a real server with the fake model."""

from __future__ import annotations

import asyncio
import io
import json
import subprocess
import sys
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from client_demo.client import ClientSession, Event
from client_demo.frames import ReceivedFrame
from client_demo.rest import RequestFailed
from models.fake import COUNTER_BITS
from tests.support.av_frames import onsets, read_audio, read_video
from tests.support.beeps import beeps
from tests.support.server_process import ROOT, RunningServer, free_port

pytestmark = pytest.mark.e2e

SPEECH = beeps(2.0).tobytes()
RATE = 48_000


def png(side: int) -> bytes:
    """A picture of one colour, encoded."""
    sink = io.BytesIO()
    Image.new("RGB", (side, side), (200, 120, 60)).save(sink, "PNG")
    return sink.getvalue()


async def receive_answer(session: ClientSession) -> list[ReceivedFrame | Event]:
    """Every message from now until what was pushed was spoken."""
    messages: list[ReceivedFrame | Event] = []
    async for message in session:
        messages.append(message)
        if isinstance(message, Event) and message.type == "output_audio_buffer.stopped":
            break
    return messages


async def first_frame(session: ClientSession) -> ReceivedFrame:
    """The next AV frame, passing over events."""
    while not isinstance(message := await anext(session), ReceivedFrame):
        pass
    return message


async def test_speech_comes_back_whole_and_in_step(server: RunningServer) -> None:
    async with ClientSession(server.url) as session:
        assert session.format.fps == 25 and session.format.sample_rate == RATE
        await session.say(SPEECH, RATE)
        messages = await receive_answer(session)
    spoken = [one for one in messages if isinstance(one, ReceivedFrame) and one.speaking]
    assert len(spoken) == 50
    assert [frame.index - spoken[0].index for frame in spoken] == list(range(50))
    pcm = np.frombuffer(b"".join(frame.pcm for frame in spoken), "<i2")
    assert onsets(abs(pcm) > 1000, 9600) == pytest.approx([0.32 * RATE, 1.32 * RATE], abs=240)
    names = [one.type for one in messages if isinstance(one, Event)]
    assert names.count("output_audio_buffer.started") == 1


async def test_an_interrupt_stops_the_speech(server: RunningServer) -> None:
    async with ClientSession(server.url) as session:
        saying = asyncio.create_task(session.say(beeps(20.0).tobytes(), RATE))
        spoken = 0
        cleared = None
        async for message in session:
            if isinstance(message, ReceivedFrame) and message.speaking:
                spoken += 1
                if spoken == 10:
                    await session.interrupt()
                assert spoken < 100, "the speech goes on"
            elif isinstance(message, Event) and message.type == "output_audio_buffer.cleared":
                cleared = message
                break
        await saying
    assert cleared is not None
    assert 300 <= cleared.data["playback_position_ms"] <= 2000


async def test_a_portrait_of_ones_own_speaks(server: RunningServer) -> None:
    async with ClientSession(server.url, portrait=png(300), video="jpeg") as session:
        frame = await first_frame(session)
    with Image.open(io.BytesIO(frame.picture)) as picture:
        assert picture.size == (256, 256)
        shown = np.asarray(picture.convert("RGB"), float)[100, 128]
    assert shown == pytest.approx([200, 120, 60], abs=12)


async def test_a_box_chooses_a_part_of_the_portrait(server: RunningServer) -> None:
    async with ClientSession(server.url, portrait=png(300), box=(0, 0, 0.5, 1)) as session:
        assert session.report is None, "the model without weights does not look for faces"
    with pytest.raises(RequestFailed, match="within the picture of 300x300") as caught:
        async with ClientSession(server.url, portrait=png(300), box=(400, 0, 20, 20)):
            pass
    assert (caught.value.code, caught.value.status) == ("bad_box", 422)


async def test_a_refused_portrait_keeps_the_servers_code(server: RunningServer) -> None:
    with pytest.raises(RequestFailed) as caught:
        async with ClientSession(server.url, portrait=png(20)):
            pass
    assert caught.value.code == "image_too_small"
    assert caught.value.status == 422


async def test_nobody_at_the_address_is_said_plainly() -> None:
    with pytest.raises(RequestFailed, match="got no answer") as caught:
        async with ClientSession(f"http://localhost:{free_port()}"):
            pass
    assert caught.value.code == "unreachable"


async def test_leaving_ends_the_session_on_the_server(server: RunningServer) -> None:
    async with ClientSession(server.url) as session:
        assert (await session.status())["session_id"] == session.id
    with pytest.raises(RequestFailed) as caught:
        await session.status()
    assert caught.value.code == "not_found"


async def test_a_session_is_used_inside_its_context(server: RunningServer) -> None:
    with pytest.raises(RuntimeError, match="async with"):
        await ClientSession(server.url).commit()


@pytest.mark.parametrize("pace", [[], ["--realtime"]], ids=["fast", "realtime"])
def test_the_command_saves_what_was_said(
    server: RunningServer, speech: Path, tmp_path: Path, pace: list[str]
) -> None:
    out = tmp_path / "out.mp4"
    result = run("--url", server.url, "--audio", speech, "--out", out, "--json", *pace)
    assert result.returncode == 0, result.stderr
    record = json.loads(result.stdout.splitlines()[-1])
    assert record["speaking_frames"] == 50 and record["missing_units"] == 0
    assert record["saved_s"] == pytest.approx(2.4 + record["lead_in_ms"] / 1000, abs=0.09)
    times, numbers, flashes = read_video(out)
    assert len(times) == record["frames"]
    steps = np.diff(numbers) % 2**COUNTER_BITS
    assert (steps == 1).mean() > 0.9
    flash_s = [times[k] for k in onsets(np.array(flashes), 5)]
    sound = read_audio(out)
    beep_s = [k / RATE for k in onsets(abs(sound) > 0.1, 9600)]
    assert len(flash_s) == 2
    assert beep_s == pytest.approx(flash_s, abs=0.041), "a flash begins within a frame of its beep"


def test_the_command_fails_with_one_line(tmp_path: Path, speech: Path) -> None:
    address = f"http://localhost:{free_port()}"
    result = run("--url", address, "--audio", speech, "--out", tmp_path / "out.mp4")
    assert result.returncode == 1
    assert "[unreachable]" in result.stderr and "Traceback" not in result.stderr
    missing = run("--url", address, "--audio", tmp_path / "no.wav", "--out", tmp_path / "out.mp4")
    assert missing.returncode == 1 and "[bad_audio]" in missing.stderr


def test_what_is_said_is_not_overwritten(speech: Path) -> None:
    before = speech.read_bytes()
    result = run("--url", f"http://localhost:{free_port()}", "--audio", speech, "--out", speech)
    assert result.returncode == 1 and "[bad_output]" in result.stderr
    assert speech.read_bytes() == before


def test_an_unknown_avatar_is_refused(server: RunningServer, speech: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    result = run("--url", server.url, "--avatar", "nobody", "--audio", speech, "--out", out)
    assert result.returncode == 1 and "[not_found]" in result.stderr
    assert httpx.get(f"{server.url}/healthz").status_code == 200


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command as a person would."""
    command = [sys.executable, "-m", "client_demo", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
