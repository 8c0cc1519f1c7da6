"""Reads a caller's SDP offer: refuses what cannot be answered, keeps what can be used.

aiortc wants an offer whose sections are all alive, are led by media, and agree on one transport;
callers send dead sections, lead with a data channel, and name the transport in one section or in
the session part. So it gets an offer of the usable sections alone, in an order that suits it, each
with the transport that leads the BUNDLE; ``ParsedOffer.answer`` brings its answer back into the
caller's order and refuses the other sections.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Literal

from aiortc import sdp
from aiortc.codecs import CODECS, is_rtx
from aiortc.rtcpeerconnection import find_common_codecs
from aiortc.rtcrtpparameters import RTCRtpCodecParameters

from server.errors import OfferError
from server.media.encoders import VIDEO_CODECS, VideoCodec
from server.webrtc.sections import DIRECTIONS, TRANSPORT, Lines, cut, join, refusal

MAX_OFFER_CHARACTERS = 65_536
MAX_SECTIONS = 8
MAX_DEAD_SECTIONS = 64
CHANNEL = "application"
KINDS = ("video", "audio", CHANNEL)

Codec = VideoCodec | Literal["opus", ""]
LAST_PORT = 65_535

_BASELINE = (sdp.H264Profile.PROFILE_CONSTRAINED_BASELINE, sdp.H264Profile.PROFILE_BASELINE)


@dataclass(frozen=True, slots=True)
class Section:
    """One section as the answerer sees it.

    Attributes:
        codec: the best that we send or take, ``h264``, ``vp8`` or ``opus``; with "" the section
            can only be inactive.
        known: it shares a codec with us, used or not; else it can only be refused.
    """

    kind: str
    may_send: bool
    may_receive: bool
    codec: Codec = ""
    known: bool = True


@dataclass(frozen=True, slots=True)
class ParsedOffer:
    """An offer of the usable sections, and the caller's own.

    Attributes:
        sdp: the offer to answer.
        sections: its audio and video sections, in order; a data channel may follow them.
    """

    sdp: str
    sections: tuple[Section, ...]
    _given: tuple[Lines, ...]
    _kept: tuple[int, ...]
    _bundle: tuple[str, ...]

    @property
    def video(self) -> VideoCodec | None:
        """The codec of the pictures to send, or None where none can be sent."""
        for section in self.sections:
            if section.may_send and section.codec in VIDEO_CODECS:
                return section.codec
        return None

    def value(self, start: str) -> str:
        """What the line of the transport says that begins with ``start``; else nothing."""
        return cut(self.sdp)[1][0].value(start) or ""

    def answer(self, text: str) -> str:
        """The answer to ``sdp`` as the answer to what the caller sent."""
        session, media = cut(text)
        answered = dict(zip(self._kept, media, strict=True))
        mids = {self._given[index].mid for index in self._kept}
        bundle = [mid for mid in self._bundle if mid in mids]
        lines = [*session.without("a=group:")]
        answered = {index: _with_rescue_copies(part) for index, part in answered.items()}
        if bundle:
            lines.append(f"a=group:BUNDLE {' '.join(bundle)}")
        for index, section in enumerate(self._given):
            lines.extend(answered[index].lines if index in answered else refusal(section))
        return join(lines)


def read_offer(text: str, *, source: bool = False) -> ParsedOffer:
    """Check an offer and keep what can be used.

    Args:
        source: the caller is to send sound and gets nothing; else it is to receive pictures.

    Raises:
        OfferError: ``bad_offer`` when it is no usable SDP, ``no_codec`` when what it is for cannot
            be: H.264 baseline in packetization mode 1, named or not, VP8, or Opus of a source.
    """
    if len(text) > MAX_OFFER_CHARACTERS:
        raise OfferError(f"expected at most {MAX_OFFER_CHARACTERS} characters, got {len(text)}")
    session, given = cut(text)
    alive = [section for section in given if not section.is_dead]
    if not 1 <= len(alive) <= MAX_SECTIONS or len(given) > MAX_DEAD_SECTIONS:
        raise OfferError(f"expected 1..{MAX_SECTIONS} media sections, got {len(alive)}")
    alive = [section for section in alive if section.media[0] in KINDS]
    bundle = _bundle_of(session, alive)
    transport = _transport_of(session, alive, bundle)
    read = {}
    for index, section in enumerate(given):
        if section.is_dead or section.media[0] not in KINDS:
            continue
        read[index] = _read(session, section, transport)
        if section.media[0] == "video" and not read[index].codec:
            given[index] = _naming_mode(section)
            read[index] = _read(session, given[index], transport)
    if source:
        _check_sound(list(read.values()))
    else:
        _check_video(list(read.values()), alive)
    media = [index for index, one in read.items() if one.known and one.kind != CHANNEL]
    channels = [index for index, one in read.items() if one.known and one.kind == CHANNEL]
    kept = (*media, *channels[:1])
    head = session.without(*TRANSPORT, "a=group:", *(f"a={way}" for way in DIRECTIONS))
    if len(kept) > 1:
        mids = " ".join(given[index].mid or "" for index in kept)
        head = (*head, f"a=group:BUNDLE {mids}")
    body = [line for index in kept for line in _rewritten(session, given[index], transport)]
    sections = tuple(read[index] for index in media)
    return ParsedOffer(join([*head, *body]), sections, tuple(given), kept, bundle)


def _with_rescue_copies(section: Lines) -> Lines:
    """Ask for Opus that carries a copy of the packet before, which aiortc leaves out."""
    lines = []
    for line in section.lines:
        lines.append(line)
        number, _, codec = line.removeprefix("a=rtpmap:").partition(" ")
        if codec.lower() == "opus/48000/2":
            lines.append(f"a=fmtp:{number} minptime=10;useinbandfec=1")
    return Lines(tuple(lines))


def is_hidden_candidate(line: str) -> bool:
    """Whether a candidate hides its address behind a ``.local`` name.

    Resolving it takes a second and often fails; the peer is found from its own checks instead,
    which is also why the list of candidates is never taken as complete.
    """
    parts = line.split()
    return len(parts) > 4 and parts[4].lower().endswith(".local")


def has_endpoint(line: str) -> bool:
    """Whether a candidate names an address and a port that can be sent to."""
    parts = line.split()
    try:
        ip_address(parts[4])
        return 0 < int(parts[5]) <= LAST_PORT
    except (IndexError, ValueError):
        return False


def _bundle_of(session: Lines, alive: Sequence[Lines]) -> tuple[str, ...]:
    """The mids of the BUNDLE group in its order; every living section must be in it."""
    groups = [line.split()[1:] for line in session.all("a=group:BUNDLE")]
    mids = [section.mid for section in alive]
    named = [mid for mid in mids if mid is not None]
    if len(set(named)) < len(named):
        raise OfferError("expected a mid of its own in every media section, got one twice")
    if len(alive) == 1 and not any(mids[0] in group for group in groups):
        return ()
    for group in groups:
        if all(mid in group for mid in mids):
            return tuple(group)
    raise OfferError("expected all media in one BUNDLE group; use bundlePolicy max-bundle")


def _transport_of(
    session: Lines, alive: Sequence[Lines], bundle: tuple[str, ...]
) -> tuple[str, ...]:
    """The transport's lines: of the section that leads the group, else of who names them."""
    by_mid = {section.mid: section for section in alive}
    leading = [by_mid[mid] for mid in bundle if mid in by_mid] or list(alive)
    sources = [*leading[:1], session, *leading[1:]]

    def first(*starts: str) -> tuple[str, ...]:
        """The lines of the first source that has all kinds of them."""
        for source in sources:
            if all(source.all(start) for start in starts):
                return source.all(*starts)
        return ()

    ice = first("a=ice-ufrag:", "a=ice-pwd:")
    if not ice or not all(line.partition(":")[2].strip() for line in ice):
        raise OfferError("expected ICE credentials in the media sections")
    fingerprints, setup = first("a=fingerprint:"), first("a=setup:")
    if not fingerprints or not setup:
        raise OfferError("expected a DTLS fingerprint and a=setup in the media sections")
    candidates = first("a=candidate:")
    return (
        *(*ice, *first("a=ice-options:"), *fingerprints, *setup),
        *(line for line in candidates if has_endpoint(line)),
    )


def _rewritten(session: Lines, section: Lines, transport: tuple[str, ...]) -> Iterator[str]:
    """A section on the shared transport, with what the session part says of its direction."""
    kind, _, rest = section.media
    yield f"m={kind} 9 {rest}"
    yield from section.without("m=", *TRANSPORT, "a=bundle-only")
    if kind != CHANNEL and section.direction is None:
        yield f"a={session.direction or 'sendrecv'}"
    if kind == CHANNEL and not section.all("a=max-message-size:"):
        yield "a=max-message-size:65536"
    yield from transport


def _naming_mode(section: Lines) -> Lines:
    """H.264 that names no packetization mode takes mode 1, as all of WebRTC must (RFC 7742, 6.2).

    RFC 6184 reads it as mode 0, so this is only for callers who offer nothing better (GStreamer).
    """
    for line in section.all("a=rtpmap:"):
        number, _, codec = line.removeprefix("a=rtpmap:").partition(" ")
        start = f"a=fmtp:{number} "
        told = section.value(start) or ""
        if codec.upper() == "H264/90000" and "packetization-mode" not in told:
            named = ";".join(filter(None, (told, "packetization-mode=1")))
            section = Lines((*section.without(start), start + named))
    return section


def _read(session: Lines, section: Lines, transport: tuple[str, ...]) -> Section:
    """What a living section is for us."""
    try:
        lines = _rewritten(session, section, transport)
        (media,) = sdp.SessionDescription.parse(join(["v=0", *lines])).media
    except Exception as error:  # the parser raises whatever comes; all of it means the same
        raise OfferError(
            "expected an SDP offer, got text that does not parse; send pc.localDescription.sdp"
        ) from error
    if media.kind == CHANNEL:
        return Section(CHANNEL, True, True, known=bool(media.sctp_port or media.sctpmap))
    if not media.rtcp_mux:
        raise OfferError("expected rtcp-mux in every media section; enable it")
    codecs = media.rtp.codecs
    return Section(
        media.kind,
        may_send=media.direction in ("recvonly", "sendrecv"),
        may_receive=media.direction in ("sendonly", "sendrecv"),
        codec=_best(codecs),
        known=not all(map(is_rtx, find_common_codecs(CODECS[media.kind], codecs))),
    )


def _check_video(sections: Sequence[Section], alive: Sequence[Lines]) -> None:
    """Refuse an offer to which no picture could be sent."""
    videos = [section for section in sections if section.kind == "video" and section.may_send]
    if not videos:
        raise OfferError(
            "expected a video section that receives, got none;"
            " call pc.addTransceiver('video', {direction: 'recvonly'}) before createOffer"
        )
    if not any(section.codec for section in videos):
        maps = [line for section in alive for line in section.all("a=rtpmap:")]
        names = {
            name.split("/")[0] for line in maps for name in line.split()[1:] if "/90000" in name
        }
        raise OfferError(
            "expected H.264 baseline with packetization-mode=1 or VP8 among the video codecs,"
            f" got {sorted(names)}; use the WebSocket instead",
            code="no_codec",
        )


def _check_sound(sections: Sequence[Section]) -> None:
    """Refuse an offer that sends no sound we can take."""
    sounds = [section for section in sections if section.kind == "audio" and section.may_receive]
    if not sounds:
        raise OfferError("expected an audio section that sends, got none; add a microphone's track")
    if not any(section.codec for section in sounds):
        raise OfferError("expected Opus among the audio codecs; offer it", code="no_codec")


def _best(codecs: Sequence[RTCRtpCodecParameters]) -> Codec:
    """The best of a section's codecs that we use, or ""."""
    if any(map(_is_h264_baseline, codecs)):
        return "h264"
    names = {codec.mimeType.lower() for codec in codecs}
    return "opus" if "audio/opus" in names else "vp8" if "video/vp8" in names else ""


def _is_h264_baseline(codec: RTCRtpCodecParameters) -> bool:
    if codec.mimeType.lower() != "video/h264":
        return False
    if str(codec.parameters.get("packetization-mode", "0")) != "1":
        return False
    level: Any = codec.parameters.get("profile-level-id", "42E01F")
    try:
        return sdp.parse_h264_profile_level_id(str(level))[0] in _BASELINE
    except ValueError:
        return False
