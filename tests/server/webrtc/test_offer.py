"""Offers: what is taken, what is refused and with which words, and what is stripped."""

from __future__ import annotations

import numpy as np
import pytest

from server.errors import OfferError
from server.webrtc.offer import Section, has_endpoint, is_hidden_candidate, read_offer
from server.webrtc.sections import cut, join

pytestmark = pytest.mark.unit

SESSION = """v=0
o=- 4611 2 IN IP4 127.0.0.1
s=-
t=0 0
a=group:BUNDLE 0 1
a=msid-semantic: WMS
"""
TRANSPORT = """c=IN IP4 0.0.0.0
a=ice-ufrag:abcd
a=ice-pwd:0123456789abcdef01234567
a=fingerprint:sha-256 {fingerprint}
a=setup:actpass
a=rtcp-mux
""".format(fingerprint=":".join(["AB"] * 32))
VIDEO = f"""m=video 9 UDP/TLS/RTP/SAVPF 96 97 102 103
{TRANSPORT}a=mid:0
a=recvonly
a=rtpmap:96 VP8/90000
a=rtpmap:97 rtx/90000
a=fmtp:97 apt=96
a=rtpmap:102 H264/90000
a=fmtp:102 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f
a=rtpmap:103 rtx/90000
a=fmtp:103 apt=102
"""
AUDIO = f"""m=audio 9 UDP/TLS/RTP/SAVPF 111 0
{TRANSPORT}a=mid:1
a=sendrecv
a=rtpmap:111 opus/48000/2
a=fmtp:111 minptime=10;useinbandfec=1
a=rtpmap:0 PCMU/8000
"""
CHANNEL = f"""m=application 9 UDP/DTLS/SCTP webrtc-datachannel
{TRANSPORT}a=mid:d
a=sctp-port:5000
"""
TEXT = f"""m=text 9 UDP/TLS/RTP/SAVPF 98
{TRANSPORT}a=mid:t
a=rtpmap:98 t140/1000
"""
OFFER = (SESSION + VIDEO + AUDIO).replace("\n", "\r\n")
HIDDEN = "candidate:1 1 udp 2113937151 495000cd-7dc9-4fb5-b96b-c81e031d91b4.local 47393 typ host"
PLAIN = "candidate:2 1 udp 2113937151 192.0.2.7 47393 typ host"


def test_sections_are_read_from_the_answerers_side() -> None:
    sections = read_offer(OFFER).sections
    assert sections == (Section("video", True, False, "h264"), Section("audio", True, True, "opus"))


def test_a_caller_without_h264_gets_vp8() -> None:
    assert read_offer(OFFER).video == "h264"
    offer = read_offer(OFFER.replace("H264", "VP9"))
    assert offer.video == "vp8" and offer.sections[0] == Section("video", True, False, "vp8")


def test_the_answer_asks_for_rescue_copies_of_sound() -> None:
    offer = read_offer(OFFER)
    assert "a=fmtp:111 minptime=10;useinbandfec=1\r\n" in offer.answer(
        offer.sdp.replace("a=fmtp:111 minptime=10;useinbandfec=1\r\n", "")
    )


def test_a_source_must_send_opus_and_nothing_else_is_asked_of_it() -> None:
    source = SESSION.replace("BUNDLE 0 1", "BUNDLE 1") + AUDIO.replace("sendrecv", "sendonly")
    assert read_offer(source, source=True).sections == (Section("audio", False, True, "opus"),)
    with pytest.raises(OfferError, match="audio section that sends"):
        read_offer(source.replace("sendonly", "recvonly"), source=True)
    with pytest.raises(OfferError, match="Opus") as caught:
        read_offer(source.replace("opus/48000/2", "L16/48000"), source=True)
    assert caught.value.code == "no_codec"


def test_hidden_candidates_and_the_end_of_candidates_are_stripped() -> None:
    video = f"{VIDEO}a={HIDDEN}\na={PLAIN}\na=end-of-candidates\n"
    cleaned = read_offer(SESSION + video + AUDIO).sdp
    assert HIDDEN not in cleaned and PLAIN in cleaned and "end-of-candidates" not in cleaned
    assert is_hidden_candidate(HIDDEN) and not is_hidden_candidate(PLAIN)


@pytest.mark.parametrize("endpoint", ["192.0.2.7 0", "192.0.2.7 65536", "a.example 9", "x 9"])
def test_candidates_that_nothing_can_be_sent_to_are_stripped(endpoint: str) -> None:
    line = PLAIN.replace("192.0.2.7 47393", endpoint)
    assert not has_endpoint(line) and has_endpoint(PLAIN)
    cleaned = read_offer(SESSION + VIDEO + f"{AUDIO}a={line}\na={PLAIN}\n").sdp
    assert line not in cleaned and PLAIN in cleaned


@pytest.mark.parametrize(
    "change",
    [
        ("a=rtpmap:102 H264/90000", "a=rtpmap:102 VP9/90000"),
        ("packetization-mode=1", "packetization-mode=0"),
        ("profile-level-id=42e01f", "profile-level-id=640c1f"),
        ("profile-level-id=42e01f", "profile-level-id=zz"),
    ],
)
def test_video_without_usable_codec_is_named(change: tuple[str, str]) -> None:
    with pytest.raises(OfferError, match="H.264") as caught:
        read_offer(OFFER.replace("VP8", "VP9").replace(*change))
    assert caught.value.code == "no_codec"


@pytest.mark.parametrize(
    ("offer", "words"),
    [
        ("", "media sections"),
        ("hello", "media sections|parse"),
        (OFFER.replace("m=video 9 UDP", "m=video UDP"), "parse"),
        (OFFER + "x" * 70_000, "characters"),
        (OFFER.replace("a=recvonly", "a=sendonly"), "video section that receives"),
        (SESSION.replace("BUNDLE 0 1", "BUNDLE 1") + AUDIO, "video section that receives"),
        (OFFER.replace("BUNDLE 0 1", "BUNDLE 0"), "BUNDLE"),
        (OFFER.replace("a=rtcp-mux\r\n", ""), "rtcp-mux"),
        (OFFER.replace("a=ice-pwd:0123456789abcdef01234567\r\n", ""), "ICE"),
        (OFFER.replace("a=setup:actpass\r\n", ""), "setup"),
        (OFFER.replace("a=mid:1", "a=mid:0"), "one twice"),
        (OFFER.replace("a=mid:1\r\n", ""), "BUNDLE"),
        (SESSION + VIDEO * 9, "1..8"),
        (OFFER.replace("m=video 9", "m=video 0"), "video section that receives"),
    ],
)
def test_what_cannot_be_answered_is_refused_with_words(offer: str, words: str) -> None:
    with pytest.raises(OfferError, match=words) as caught:
        read_offer(offer)
    assert caught.value.code == "bad_offer"


def test_the_answer_comes_back_in_the_callers_order_with_the_rest_refused() -> None:
    session = SESSION.replace("BUNDLE 0 1", "BUNDLE d 1 0")
    dead = "m=audio 0 UDP/TLS/RTP/SAVPF 0\na=mid:gone\na=inactive\n"
    offer = read_offer(session + CHANNEL + dead + AUDIO + TEXT + VIDEO)
    assert [section.kind for section in offer.sections] == ["audio", "video"]
    asked_session, asked = cut(offer.sdp)
    assert [part.mid for part in asked] == ["1", "0", "d"], "media leads"
    assert asked_session.value("a=group:") == "BUNDLE 1 0 d"
    answer = join([*asked_session.lines, *(line for part in asked for line in part.lines)])
    answer_session, answered = cut(offer.answer(answer))
    assert [part.mid for part in answered] == ["d", "gone", "1", "t", "0"]
    assert [part.is_dead for part in answered] == [False, True, False, True, False]
    assert answered[1].direction == "inactive"
    assert answer_session.value("a=group:") == "BUNDLE d 1 0", "the caller's leader leads"


def test_every_section_gets_the_leaders_transport() -> None:
    bare = TRANSPORT.replace("ufrag:abcd", "ufrag:other") + f"a={HIDDEN}\n"
    video = VIDEO.replace(TRANSPORT, "c=IN IP4 0.0.0.0\na=rtcp-mux\na=bundle-only\n")
    video = video.replace("m=video 9", "m=video 0")
    audio = AUDIO + f"a={PLAIN}\n"
    channel = CHANNEL.replace(TRANSPORT, bare)
    session = SESSION.replace("BUNDLE 0 1", "BUNDLE 1 0 d")
    for text in (session + channel + video + audio, session + video + audio + channel):
        _, media = cut(read_offer(text).sdp)
        assert [part.value("a=ice-ufrag:") for part in media] == ["abcd"] * 3
        assert all(part.all("a=candidate:") == (f"a={PLAIN}",) for part in media)
        assert all(part.media[1] == "9" for part in media)


def test_what_stands_in_the_session_part_holds_for_every_section() -> None:
    moved = [
        line for line in TRANSPORT.splitlines() if line.startswith(("a=ice", "a=finger", "a=setup"))
    ]
    rest = TRANSPORT
    for line in moved:
        rest = rest.replace(f"{line}\n", "")
    session = SESSION + "\n".join([*moved, "a=recvonly"]) + "\n"
    video, audio = (text.replace(TRANSPORT, rest) for text in (VIDEO, AUDIO))
    offer = read_offer(session + video.replace("a=recvonly\n", "") + audio)
    assert offer.sections == (
        Section("video", True, False, "h264"),
        Section("audio", True, True, "opus"),
    )
    assert offer.sdp.count("a=fingerprint") == 2


def test_a_caller_without_opus_still_gets_pictures() -> None:
    spoken = read_offer(OFFER.replace("opus/48000/2", "G726/8000"))
    assert spoken.sections[1] == Section("audio", True, True), "PCMU is known"
    mute = read_offer(OFFER.replace("opus/48000/2", "G726/8000").replace("PCMU", "G728"))
    assert [section.kind for section in mute.sections] == ["video"]
    _, answered = cut(mute.answer(mute.sdp))
    assert [part.is_dead for part in answered] == [False, True]


def test_damaged_offers_never_raise_anything_else() -> None:
    random = np.random.default_rng(0)
    lines = OFFER.split("\r\n")
    for _ in range(400):
        damaged = [line for line in lines if random.random() > 0.05]
        victim = int(random.integers(0, len(damaged)))
        line = damaged[victim]
        damaged[victim] = line[: int(random.integers(0, len(line) + 1))]
        try:
            read_offer("\r\n".join(damaged))
        except OfferError as error:
            assert error.code in ("bad_offer", "no_codec")
