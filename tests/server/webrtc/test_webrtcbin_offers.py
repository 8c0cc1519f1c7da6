"""What GStreamer 1.22's webrtcbin offers (recorded without its candidates) and how it is answered.

Its video's caps name no packetization mode unless the program that uses it does.
"""

from __future__ import annotations

import pytest

from server.errors import OfferError
from server.webrtc.offer import Section, read_offer
from server.webrtc.peer import Peer
from server.webrtc.sections import cut
from tests.support.calls import FPS

pytestmark = pytest.mark.unit

SESSION = """v=0
o=- 2811542473604589439 0 IN IP4 0.0.0.0
s=-
t=0 0
a=ice-options:trickle
"""
TRANSPORT = """c=IN IP4 0.0.0.0
a=setup:actpass
a=ice-ufrag:yTvBd3C8O+cNRkcdiwDQ9syWgXjEt5Hr
a=ice-pwd:GQOEMHU7bfgc3igXDGBnr/OY1vsO2g9Z
"""
FINGERPRINT = (
    "a=fingerprint:sha-256 C0:CC:B3:7A:87:43:29:FD:7C:3C:8F:8A:BD:A4:2C:48"
    ":50:1F:50:91:E1:26:B3:F1:34:5B:3F:6E:F6:25:4A:E1\na=rtcp-mux-only\n"
)
VIEWER = f"""{SESSION}a=group:BUNDLE video0 audio1
m=video 9 UDP/TLS/RTP/SAVPF 96
{TRANSPORT}a=rtcp-mux
a=rtcp-rsize
a=recvonly
a=rtpmap:96 H264/90000
a=rtcp-fb:96 nack pli
a=rtcp-fb:96 ccm fir
a=rtcp-fb:96 transport-cc
a=mid:video0
{FINGERPRINT}m=audio 0 UDP/TLS/RTP/SAVPF 97
{TRANSPORT}a=bundle-only
a=rtcp-mux
a=rtcp-rsize
a=recvonly
a=rtpmap:97 OPUS/48000
a=rtcp-fb:97 transport-cc
a=mid:audio1
{FINGERPRINT}"""
PUBLISHER = f"""{SESSION}a=group:BUNDLE audio0
m=audio 9 UDP/TLS/RTP/SAVPF 97
{TRANSPORT}a=rtcp-mux
a=rtcp-rsize
a=sendonly
a=rtpmap:97 OPUS/48000
a=rtcp-fb:97 transport-cc
a=mid:audio0
{FINGERPRINT}"""
MAP = "a=rtpmap:96 H264/90000\n"
BASELINE = "a=fmtp:96 profile-level-id=42c01f\n"


def ignore(*_: object) -> None:
    """For callbacks nobody asks about."""


async def answer(offer: str, *, source: bool = False) -> str:
    """The answer of a call that is given up at once."""
    peer = await Peer.answer(
        offer,
        fps=FPS,
        source=source,
        on_microphone=ignore if source else None,
        on_keyframe_request=ignore,
        on_closed=ignore,
    )
    await peer.aclose()
    return peer.answer_sdp


@pytest.mark.parametrize("parameters", ["", BASELINE], ids=["none", "profile"])
async def test_a_viewer_gets_h264_in_mode_1_and_sound(parameters: str) -> None:
    session, (video, audio) = cut(await answer(VIEWER.replace(MAP, MAP + parameters)))
    assert session.value("a=group:") == "BUNDLE video0 audio1"
    assert video.value("a=rtpmap:96 ") == "H264/90000"
    assert "packetization-mode=1" in (video.value("a=fmtp:96 ") or "")
    assert audio.value("a=rtpmap:97 ") == "opus/48000/2"
    assert [(one.mid, one.direction) for one in (video, audio)] == [
        ("video0", "sendonly"),
        ("audio1", "sendonly"),
    ]
    assert not video.is_dead and not audio.is_dead


async def test_a_publisher_is_heard() -> None:
    _, (audio,) = cut(await answer(PUBLISHER, source=True))
    assert (audio.mid, audio.direction) == ("audio0", "recvonly") and not audio.is_dead
    assert read_offer(PUBLISHER, source=True).sections == (Section("audio", False, True, "opus"),)


def test_a_mode_that_is_not_named_is_the_last_choice() -> None:
    other = "a=rtpmap:98 {}/90000\na=fmtp:98 packetization-mode={}\n"
    numbers = VIEWER.replace("SAVPF 96", "SAVPF 96 98")
    assert read_offer(numbers.replace(MAP, MAP + other.format("VP8", 0))).video == "vp8"
    named = read_offer(numbers.replace(MAP, MAP + other.format("H264", 1)))
    assert named.video == "h264" and named.sdp.count("packetization-mode=1") == 1


@pytest.mark.parametrize("parameters", ["packetization-mode=0", "profile-level-id=640c1f"])
def test_another_mode_or_profile_that_is_named_is_refused(parameters: str) -> None:
    with pytest.raises(OfferError, match="H.264") as caught:
        read_offer(VIEWER.replace(MAP, f"{MAP}a=fmtp:96 {parameters}\n"))
    assert caught.value.code == "no_codec"
