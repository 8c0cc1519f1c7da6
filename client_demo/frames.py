"""Reads binary WebSocket messages: one AV frame each, a video frame and the sound of its time."""

from __future__ import annotations

from dataclasses import dataclass

from models.errors import LiveheadError
from server.media.av_frame import FLAG_JPEG, FLAG_KEYFRAME, FLAG_SPEAKING, HEADER, MAGIC


class WireError(LiveheadError):
    """Raised when a server's message is not what the protocol says (``bad_message``)."""


@dataclass(frozen=True, slots=True)
class ReceivedFrame:
    """One video frame and its sound, as they travelled.

    Attributes:
        epoch: grows by one at each interrupt, modulo 65536.
        index: frame number on the session's clock; media time is ``index / fps``.
        keyframe: whether ``picture`` can be decoded without earlier ones.
        speaking: whether the sound holds speech that was pushed.
        is_jpeg: ``picture`` is a JPEG instead of an H.264 access unit (Annex-B).
        picture: the encoded frame.
        pcm: the frame's sound, s16le mono at the session's output rate.
    """

    epoch: int
    index: int
    keyframe: bool
    speaking: bool
    is_jpeg: bool
    picture: bytes
    pcm: bytes


def unpack(message: bytes) -> ReceivedFrame:
    """Split one binary message.

    Raises:
        WireError: it is too short, has another magic word or another length than it says.
    """
    if len(message) < HEADER.size:
        raise _bad_message(f"at least {HEADER.size} bytes", f"{len(message)}")
    magic, flags, epoch, index, picture_bytes, pcm_bytes = HEADER.unpack_from(message)
    if magic != MAGIC:
        raise _bad_message(f"an AV frame that begins with {MAGIC!r}", repr(magic))
    expected = HEADER.size + picture_bytes + pcm_bytes
    if len(message) != expected:
        raise _bad_message(f"{expected} bytes", f"{len(message)}")
    pcm_start = HEADER.size + picture_bytes
    return ReceivedFrame(
        epoch=epoch,
        index=index,
        keyframe=bool(flags & FLAG_KEYFRAME),
        speaking=bool(flags & FLAG_SPEAKING),
        is_jpeg=bool(flags & FLAG_JPEG),
        picture=message[HEADER.size : pcm_start],
        pcm=message[pcm_start:],
    )


def _bad_message(expected: str, got: str) -> WireError:
    return WireError(
        f"expected {expected}, got {got}; is this server of the same version as the client?",
        code="bad_message",
    )
