"""One encoded video frame and the slice of audio that belongs to it, never split; its wire form."""

from __future__ import annotations

import struct
from dataclasses import dataclass

MAGIC = b"LHU1"
HEADER = struct.Struct("<4sHHIII")
FLAG_KEYFRAME = 1
FLAG_SPEAKING = 2
FLAG_JPEG = 4
OUTPUT_RATE = 48_000


@dataclass(frozen=True, slots=True)
class AVFrame:
    """What travels from a worker to the callers of one session.

    Attributes:
        epoch: the session's epoch when the audio was cut; frames of older ones are dropped.
        index: frame number on the session's media clock; media time is ``index / fps``.
        keyframe: whether ``video`` and ``vp8`` can be decoded without earlier frames.
        speaking: whether the slice holds speech that an app queued (not idle silence).
        video: one H.264 access unit, Annex-B, parameter sets before each keyframe; empty when
            nobody watched it.
        opus: Opus packets of 20 ms at 48 kHz that are complete with the slice; where a frame is
            not a multiple of 20 ms the rest of its sound is in the next frame's first packet.
        pcm: the same slice as s16le mono at ``OUTPUT_RATE``.
        jpeg: the same frame as JPEG when a caller asked for it, else empty.
        vp8: the same frame as VP8 when a caller watched it, else empty.
    """

    epoch: int
    index: int
    keyframe: bool
    speaking: bool
    video: bytes
    opus: tuple[bytes, ...]
    pcm: bytes
    jpeg: bytes = b""
    vp8: bytes = b""

    def picture(self, codec: str) -> bytes:
        """The picture as ``h264``, ``vp8`` or ``jpeg``; empty where it was not encoded so."""
        return {"h264": self.video, "vp8": self.vp8, "jpeg": self.jpeg}[codec]


def pack(frame: AVFrame, *, jpeg: bool = False) -> bytes:
    """The binary WebSocket message of a frame: header, picture, sound.

    The header's third field, ``generation`` in the protocol, is the epoch modulo 65536.
    """
    picture = frame.jpeg if jpeg else frame.video
    flags = FLAG_KEYFRAME * (frame.keyframe or jpeg) | FLAG_SPEAKING * frame.speaking
    flags |= FLAG_JPEG * jpeg
    header = HEADER.pack(
        MAGIC, flags, frame.epoch & 0xFFFF, frame.index, len(picture), len(frame.pcm)
    )
    return header + picture + frame.pcm
