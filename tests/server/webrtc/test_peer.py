"""Calls between a Peer and an aiortc client over loopback: media, microphone, endings, leaks."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
from pathlib import Path

import numpy as np
import pytest
from aiortc.rtp import (
    RTCP_PSFB_APP,
    RtcpPsfbPacket,
    RtcpReceiverInfo,
    RtcpRrPacket,
    pack_remb_fci,
)

from server.errors import OfferError
from server.webrtc import aiortc_patches
from server.webrtc.link_rate import FALL_EVERY_S, PATIENCE, Rates
from server.webrtc.peer import Peer, PeerState, next_state
from server.webrtc.sections import Lines, cut, join
from tests.support.calls import FPS, Call, Client, FrameSource, ToneTrack, pace, until

pytestmark = pytest.mark.unit


def ignore(*_: object) -> None:
    """For callbacks nobody asks about."""


async def ignore_later(*_: object) -> None:
    """The same for what is awaited."""


async def test_every_frame_arrives_once_with_the_sound() -> None:
    async with Call() as call:
        await until(lambda: len(call.client.counters) >= 60)
        counters = call.client.counters
        assert counters == list(range(counters[0], counters[0] + len(counters)))
        assert call.client.samples / 48_000 == pytest.approx(len(counters) / FPS, abs=1.0)
        assert call.source.keyframe_requests == 1, "asked once, when the call stood"
        assert call.peer.connected and call.closed == []


async def test_a_caller_without_h264_gets_vp8() -> None:
    async with Call(codec="vp8") as call:
        await until(lambda: len(call.client.counters) >= 10)
        counters = call.client.counters
        assert counters == list(range(counters[0], counters[0] + len(counters)))
        assert call.peer.video == "vp8" and "VP8/90000" in call.peer.answer_sdp
        assert "H26" not in call.peer.answer_sdp.split("m=audio")[0]


async def test_the_bitrate_follows_what_the_caller_reports() -> None:
    async with Call(rates=Rates(start=300_000, floor=1_000, cap=600_000)) as call:
        sender = call.peer._connection.getSenders()[0]
        receiver = call.client.connection.getReceivers()[0]
        setattr(receiver, "_send_rtcp", ignore_later)  # noqa: B010 - what it measures on this machine is not the test's
        await until(lambda: len(call.client.counters) > 25)
        assert call.peer.bitrate == 300_000
        fci = pack_remb_fci(4_000, [sender._ssrc])
        estimate = RtcpPsfbPacket(fmt=RTCP_PSFB_APP, ssrc=1, media_ssrc=0, fci=fci)
        for _ in range(PATIENCE):
            await receiver.transport._send_rtp(bytes(estimate))
        await until(lambda: call.peer.bitrate == 4_000)
        report = RtcpReceiverInfo(sender._ssrc, 128, 0, 0, 0, 0, 0)
        await asyncio.sleep(FALL_EVERY_S)
        await receiver.transport._send_rtp(bytes(RtcpRrPacket(ssrc=1, reports=[report])))
        await until(lambda: call.peer.bitrate == 3_000)


async def test_lost_pictures_are_sent_again() -> None:
    async with Call() as call:
        await until(lambda: len(call.client.counters) > 5)
        transport = call.client.connection.getTransceivers()[0].receiver.transport
        handle, lost = transport._handle_rtp_data, set[int]()
        ssrc = call.peer._connection.getSenders()[0]._ssrc

        async def lose(data: bytes, arrival_time_ms: int) -> None:
            number = int.from_bytes(data[2:4], "big")
            if int.from_bytes(data[8:12], "big") == ssrc and number % 40 == 0:
                lost.add(number)
                return
            await handle(data, arrival_time_ms=arrival_time_ms)

        setattr(transport, "_handle_rtp_data", lose)  # noqa: B010
        seen = len(call.client.counters)
        await until(lambda: len(lost) >= 2)
        await until(lambda: len(call.client.counters) > seen + 40)
        counters = call.client.counters
        assert counters == list(range(counters[0], counters[0] + len(counters)))


async def test_the_microphone_arrives_as_mono_tone() -> None:
    async with Call(ToneTrack()) as call:
        await until(lambda: len(call.heard) > 60)
        sounds = [pcm for pcm in call.heard if pcm.size == 960 and np.abs(pcm).max() > 3_500]
        assert len(sounds) > 5 and {pcm.dtype for pcm in sounds} == {np.dtype(np.int16)}
        turns = [np.count_nonzero(np.diff(np.signbit(pcm))) for pcm in sounds]
        assert np.mean(turns) / 2 / 0.02 == pytest.approx(440, abs=20)


async def test_a_microphone_nobody_wants_is_refused() -> None:
    client = Client(ToneTrack())
    peer = await Peer.answer(
        await client.offer(),
        fps=FPS,
        on_microphone=None,
        on_keyframe_request=ignore,
        on_closed=ignore,
    )
    audio = peer.answer_sdp.split("m=audio")[1]
    assert "a=sendonly" in audio and "a=sendrecv" not in audio
    await peer.aclose()
    await client.close()


async def test_the_answer_is_what_was_decided() -> None:
    client = Client()
    offer = await client.offer()
    answers = {}
    for loopback in (False, True):
        peer = await Peer.answer(
            offer,
            fps=FPS,
            on_microphone=None,
            on_keyframe_request=ignore,
            on_closed=ignore,
            loopback=loopback,
        )
        answers[loopback] = peer.answer_sdp
        await peer.aclose()
    await client.close()
    assert "a=setup:passive" in answers[False] and "a=setup:active" not in answers[False]
    assert "VP8" not in answers[False], "H.264 is enough"
    assert "H264/90000" in answers[False]
    assert answers[False].index("42e01f") < answers[False].index("42001f")
    assert "PCMU" not in answers[False] and "opus/48000/2" in answers[False]
    assert " 127.0.0.1 " not in answers[False] and " 127.0.0.1 " in answers[True]
    assert " typ srflx" not in answers[True], "no server outside is asked for our address"


@pytest.mark.parametrize(("offered", "answered"), [("active", "passive"), ("passive", "active")])
async def test_the_part_in_dtls_that_is_left_to_us_is_taken(offered: str, answered: str) -> None:
    client = Client()
    peer = await Peer.answer(
        (await client.offer()).replace("setup:actpass", f"setup:{offered}"),
        fps=FPS,
        on_microphone=None,
        on_keyframe_request=ignore,
        on_closed=ignore,
    )
    assert f"a=setup:{answered}" in peer.answer_sdp
    await peer.aclose()
    await client.close()


async def test_a_lost_picture_report_asks_for_a_keyframe() -> None:
    async with Call() as call:
        await until(lambda: len(call.client.counters) > 10)
        await asyncio.sleep(0.31)
        receiver = call.client.connection.getReceivers()[0]
        sender = call.peer._connection.getSenders()[0]
        await receiver._send_rtcp_pli(sender._ssrc)
        await until(lambda: call.source.keyframe_requests == 2)


async def test_the_client_hanging_up_is_told_once() -> None:
    async with Call() as call:
        await until(lambda: len(call.client.counters) > 3)
        await call.client.close()
        await until(lambda: bool(call.closed))
        assert call.closed == ["closed_by_peer"]
        assert not call.peer.connected
        call.peer.send(call.source.next())


async def test_our_own_close_is_not_told_and_may_be_repeated() -> None:
    async with Call() as call:
        await until(lambda: call.peer.connected)
        await asyncio.gather(call.peer.aclose(), call.peer.aclose())
        await call.peer.aclose()
        assert call.closed == [] and not call.peer.connected


async def test_a_client_that_never_comes_is_given_up() -> None:
    client = Client()
    closed: list[str] = []
    peer = await Peer.answer(
        await client.offer(),
        fps=FPS,
        on_microphone=None,
        on_keyframe_request=ignore,
        on_closed=closed.append,
        connect_timeout_s=0.2,
    )
    await client.close()
    await until(lambda: bool(closed), 3)
    assert closed == ["connect_timeout"]
    await peer.aclose()


async def test_a_client_that_vanishes_is_given_up() -> None:
    async with Call(media_timeout_s=0.5) as call:
        await until(lambda: len(call.client.counters) > 3)
        transport = call.client.connection.getTransceivers()[0].receiver.transport.transport
        for protocol in transport._connection._protocols:
            protocol.transport.abort()  # no goodbye: the machine is gone
        await until(lambda: bool(call.closed), 5)
        assert call.closed == ["vanished"]


async def test_closing_while_connecting_leaves_nothing(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    client = Client()
    offer = await client.offer()
    for wait in (0.0, 0.005, 0.03):
        peer = await Peer.answer(
            offer, fps=FPS, on_microphone=ignore, on_keyframe_request=ignore, on_closed=ignore
        )
        await asyncio.sleep(wait)
        await peer.aclose()
    await client.close()
    await asyncio.sleep(0.05)
    gc.collect()
    assert "never retrieved" not in caplog.text


async def test_closing_at_the_moment_of_connecting_leaves_no_consent_checks() -> None:
    for turn in range(20):
        client = Client()
        connecting = aiortc_patches.own_connecting(client.connection)
        peer = await Peer.answer(
            await client.offer(),
            fps=FPS,
            on_microphone=None,
            on_keyframe_request=ignore,
            on_closed=ignore,
            loopback=True,
        )
        accepting = asyncio.create_task(client.accept(peer.answer_sdp))
        await asyncio.sleep(0.002 * turn)
        await peer.aclose()
        agent = peer._connection.getTransceivers()[0].receiver.transport.transport._connection
        task = agent._query_consent_task
        assert task is None or task.done()
        await accepting
        await client.close()
        await asyncio.gather(*connecting, return_exceptions=True)
        await aiortc_patches.end_consent(client.connection)


async def test_trickled_candidates_connect_and_bad_ones_are_named() -> None:
    client, source = Client(), FrameSource()
    lines = (await client.offer()).splitlines()
    trickled = [line for line in lines if line.startswith("a=candidate:")]
    without = "\r\n".join(line for line in lines if line not in trickled) + "\r\n"
    peer = await Peer.answer(
        without,
        fps=FPS,
        on_microphone=None,
        on_keyframe_request=source.want_keyframe,
        on_closed=ignore,
        loopback=True,
    )
    await client.accept(peer.answer_sdp)
    hidden = "candidate:1 1 udp 2113937151 0a0a.local 47393 typ host"
    for candidate in [*trickled, hidden, "", None]:
        await peer.add_candidate(candidate, "0", 0)
    with pytest.raises(OfferError, match="candidate line"):
        await peer.add_candidate("candidate:nonsense", "0", 0)
    with pytest.raises(OfferError, match="sdpMid"):
        await peer.add_candidate(trickled[0], None, None)
    await until(lambda: peer.connected)
    await peer.aclose()
    await peer.add_candidate(trickled[0], "0", 0)
    await client.close()


@pytest.mark.parametrize("order", [(2, 0, 1), (1, 2, 0)])
async def test_a_call_stands_whatever_leads_it_and_whatever_is_dead(order: tuple[int, ...]) -> None:
    client, source = Client(), FrameSource()
    client.connection.createDataChannel("events")
    session, media = cut(await client.offer())
    dead = Lines(("m=video 0 UDP/TLS/RTP/SAVPF 96", "a=mid:gone", "a=inactive"))
    moved = [*(media[index] for index in order[:2]), dead, media[order[2]]]
    bundle = " ".join(part.mid or "" for part in moved if part is not dead)
    lines = [*session.without("a=group:"), f"a=group:BUNDLE {bundle}"]
    peer = await Peer.answer(
        join([*lines, *(line for part in moved for line in part.lines)]),
        fps=FPS,
        on_microphone=None,
        on_keyframe_request=source.want_keyframe,
        on_closed=ignore,
        loopback=True,
    )
    answer_session, answered = cut(peer.answer_sdp)
    assert answered[2].is_dead and answer_session.value("a=group:") == f"BUNDLE {bundle}"
    by_mid = {part.mid: part.lines for part in answered}
    ordered = [line for part in media for line in by_mid[part.mid]]  # as aiortc's client numbers
    group = [f"a=group:BUNDLE {' '.join(part.mid or '' for part in media)}"]
    await client.accept(join([*answer_session.without("a=group:"), *group, *ordered]))
    pacer = asyncio.ensure_future(pace(source, peer.send))
    await until(lambda: len(client.counters) > 5 and client.samples > 0)
    pacer.cancel()
    await peer.aclose()
    await client.close()


async def test_a_useless_offer_leaves_nothing_behind() -> None:
    before = asyncio.all_tasks()
    with pytest.raises(OfferError):
        await Peer.answer(
            "v=0", fps=FPS, on_microphone=None, on_keyframe_request=ignore, on_closed=ignore
        )
    assert asyncio.all_tasks() == before


async def test_an_absent_section_in_the_bundle_changes_nothing_and_all_sockets_close() -> None:
    client = Client()
    offer = (await client.offer()).replace("a=group:BUNDLE ", "a=group:BUNDLE absent ")
    await client.close()
    files = []
    for _ in range(3):
        peer = await Peer.answer(
            offer, fps=FPS, on_microphone=None, on_keyframe_request=ignore, on_closed=ignore
        )
        await peer.aclose()
        await asyncio.sleep(0.05)
        files.append(len(list(Path("/proc/self/fd").iterdir())))
    assert files[0] == files[-1]


async def test_thirty_calls_leave_no_task_thread_or_file() -> None:
    sizes = []
    for turn in range(30):
        async with Call(ToneTrack()) as call:
            heard = call.heard
            await until(lambda heard=heard: bool(heard))  # type: ignore[misc]
        if turn in (4, 29):
            await asyncio.sleep(0.2)
            names = sorted(thread.name for thread in threading.enumerate())
            ours = [name for name in names if not name.startswith("asyncio_")]  # client's encoder
            files = len(list(Path("/proc/self/fd").iterdir()))
            sizes.append((len(asyncio.all_tasks()), ours, files))
    assert sizes[0] == sizes[1]


def test_states_only_move_forward() -> None:
    for state in PeerState:
        for event in PeerState:
            after = next_state(state, event)
            assert after in (state, event)
    assert next_state(PeerState.CLOSED, PeerState.CONNECTED) is PeerState.CLOSED
    assert next_state(PeerState.CONNECTING, PeerState.CONNECTED) is PeerState.CONNECTED


def test_other_versions_of_the_patched_packages_are_named() -> None:
    assert aiortc_patches.untested_versions({"aiortc": "1.16.3", "aioice": "0.13.0"}) == []
    sentences = aiortc_patches.untested_versions({"aiortc": "1.17.0", "aioice": "0.13.0"})
    assert sentences == ["expected aiortc 1.16.x, got 1.17.0"]
