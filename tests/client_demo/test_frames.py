"""Binary messages are split as they were put together, and refused when they are not AV frames."""

from __future__ import annotations

import pytest

from client_demo.frames import WireError, unpack
from server.media.av_frame import AVFrame, pack

pytestmark = pytest.mark.unit

FRAME = AVFrame(
    epoch=3,
    index=70_000,
    keyframe=True,
    speaking=True,
    video=b"\x00\x00\x00\x01picture",
    opus=(),
    pcm=b"\x01\x02" * 1920,
    jpeg=b"\xff\xd8jpeg",
)


def test_a_frame_survives_the_wire() -> None:
    received = unpack(pack(FRAME))
    assert (received.epoch, received.index) == (3, 70_000)
    assert received.keyframe and received.speaking and not received.is_jpeg
    assert (received.picture, received.pcm) == (FRAME.video, FRAME.pcm)


def test_a_jpeg_frame_carries_the_jpeg() -> None:
    received = unpack(pack(FRAME, jpeg=True))
    assert received.is_jpeg and received.keyframe
    assert (received.picture, received.pcm) == (FRAME.jpeg, FRAME.pcm)


@pytest.mark.parametrize(
    ("message", "got"),
    [
        (b"LHU1", "4"),
        (b"NOPE" + pack(FRAME)[4:], "NOPE"),
        (pack(FRAME)[:-1], "bytes"),
        (pack(FRAME) + b"x", "bytes"),
    ],
    ids=["short", "foreign", "truncated", "longer"],
)
def test_other_messages_are_refused(message: bytes, got: str) -> None:
    with pytest.raises(WireError, match=got) as caught:
        unpack(message)
    assert caught.value.code == "bad_message"
