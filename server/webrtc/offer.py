"""Reads a caller's SDP offer: refuses what cannot be answered, strips what only costs time."""

from __future__ import annotations

from dataclasses import dataclass

from aiortc import sdp
from aiortc.rtcrtpparameters import RTCRtpCodecParameters

from server.errors import OfferError

MAX_OFFER_CHARACTERS = 65_536
MAX_SECTIONS = 8

_BASELINE = (sdp.H264Profile.PROFILE_CONSTRAINED_BASELINE, sdp.H264Profile.PROFILE_BASELINE)


@dataclass(frozen=True, slots=True)
class Section:
    """One media section as the answerer sees it."""

    kind: str
    may_send: bool
    may_receive: bool


@dataclass(frozen=True, slots=True)
class ParsedOffer:
    """A cleaned offer and its audio and video sections, in order."""

    sdp: str
    sections: tuple[Section, ...]


def read_offer(text: str) -> ParsedOffer:
    """Check and clean an offer.

    Raises:
        OfferError: ``bad_offer`` when it is no usable SDP, ``no_h264`` when its video cannot be
            H.264 baseline with packetization mode 1.
    """
    if len(text) > MAX_OFFER_CHARACTERS:
        raise OfferError(f"expected at most {MAX_OFFER_CHARACTERS} characters, got {len(text)}")
    cleaned = _without_needless_candidates(text)
    try:
        description = sdp.SessionDescription.parse(cleaned)
    except Exception as error:  # the parser raises whatever comes; all of it means the same
        raise OfferError(
            "expected an SDP offer, got text that does not parse; send pc.localDescription.sdp"
        ) from error
    _check_transport(description)
    sections = []
    for media in description.media:
        if media.kind in ("audio", "video"):
            receives = media.direction or "sendrecv"
            section = Section(
                media.kind,
                may_send=receives in ("recvonly", "sendrecv"),
                may_receive=receives in ("sendonly", "sendrecv"),
            )
            _check_codecs(section, media.rtp.codecs)
            sections.append(section)
    if not any(section.kind == "video" and section.may_send for section in sections):
        raise OfferError(
            "expected a video section that receives, got none;"
            " call pc.addTransceiver('video', {direction: 'recvonly'}) before createOffer"
        )
    return ParsedOffer(cleaned, tuple(sections))


def is_hidden_candidate(line: str) -> bool:
    """Whether a candidate hides its address behind a ``.local`` name."""
    parts = line.split()
    return len(parts) > 4 and parts[4].lower().endswith(".local")


def _without_needless_candidates(text: str) -> str:
    """Drop hidden candidates and the end-of-candidates mark.

    Resolving a ``.local`` name takes a second and often fails; the peer is found from its own
    checks instead, which is also why the list of candidates is never taken as complete.
    """
    lines = [
        line
        for line in text.splitlines()
        if line.strip() != "a=end-of-candidates"
        and not (line.startswith("a=candidate:") and is_hidden_candidate(line))
    ]
    return "\r\n".join(lines) + "\r\n"


def _check_transport(description: sdp.SessionDescription) -> None:
    if not 1 <= len(description.media) <= MAX_SECTIONS:
        raise OfferError(f"expected 1..{MAX_SECTIONS} media sections, got {len(description.media)}")
    bundle: set[str] = set()
    for group in description.group:
        if group.semantic == "BUNDLE":
            bundle.update(str(item) for item in group.items)
    for media in description.media:
        if media.kind not in ("audio", "video", "application"):
            raise OfferError(f"expected audio, video or application media, got {media.kind!r}")
        if media.kind != "application" and not media.rtcp_mux:
            raise OfferError("expected rtcp-mux in every media section; enable it")
        if len(description.media) > 1 and media.rtp.muxId not in bundle:
            raise OfferError("expected all media in one BUNDLE group; use bundlePolicy max-bundle")
        if not media.ice or not media.ice.usernameFragment or not media.ice.password:
            raise OfferError("expected ICE credentials in every media section")
        if not media.dtls or not media.dtls.fingerprints or media.dtls.role is None:
            raise OfferError("expected a DTLS fingerprint and a=setup in every media section")


def _check_codecs(section: Section, codecs: list[RTCRtpCodecParameters]) -> None:
    if section.kind == "video":
        if section.may_send and not any(_is_h264_baseline(codec) for codec in codecs):
            raise OfferError(
                "expected H.264 baseline with packetization-mode=1 among the video codecs,"
                f" got {sorted({codec.name for codec in codecs})}; use the WebSocket instead",
                code="no_h264",
            )
    elif not any(codec.mimeType.lower() == "audio/opus" for codec in codecs):
        raise OfferError("expected Opus among the audio codecs; offer it")


def _is_h264_baseline(codec: RTCRtpCodecParameters) -> bool:
    if codec.mimeType.lower() != "video/h264":
        return False
    if str(codec.parameters.get("packetization-mode", "0")) != "1":
        return False
    level = str(codec.parameters.get("profile-level-id", "42E01F"))
    try:
        return sdp.parse_h264_profile_level_id(level)[0] in _BASELINE
    except ValueError:
        return False
