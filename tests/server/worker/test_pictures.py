"""The encoders of a session: only what is watched, each once, keyframes in step."""

from __future__ import annotations

import numpy as np
import pytest

from server.worker.pictures import PictureEncoders

pytestmark = pytest.mark.unit

PICTURE = np.full((64, 64, 3), 90, np.uint8)


def test_only_what_is_watched_is_encoded_and_keyframes_are_in_step() -> None:
    encoders = PictureEncoders((64, 64), 25.0)
    assert encoders.encode(PICTURE) == ({}, True)
    encoders.choose({"h264": 0})
    kinds = [encoders.encode(PICTURE)[1] for _ in range(10)]
    assert kinds == [True] + [False] * 9
    encoders.choose({"h264": 0, "vp8": 0})
    for number in range(60):  # whoever joins begins with a keyframe, and the others with it
        packets, keyframe = encoders.encode(PICTURE)
        assert set(packets) == {"h264", "vp8"} and all(packets.values())
        assert keyframe == (number in (0, 50))
        assert keyframe == (b"\x00\x00\x01\x67" in packets["h264"]) == (packets["vp8"][0] & 1 == 0)
    assert encoders.encode(PICTURE, force_keyframe=True)[1]
    encoders.choose({"vp8": 0})
    packets, keyframe = encoders.encode(PICTURE)
    assert set(packets) == {"vp8"} and not keyframe, "who goes costs the others nothing"
    encoders.close()
