"""The video encoders of one session: one for each codec that somebody watches, in step."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from server.media.encoders import VideoCodec, VideoEncoder, usual_bitrate


class PictureEncoders:
    """Encodes each frame once per codec; a keyframe is one in every codec."""

    def __init__(self, size: tuple[int, int], fps: float) -> None:
        """``size`` is (height, width)."""
        self._size = size
        self._fps = fps
        self._encoders: dict[VideoCodec, VideoEncoder] = {}

    def choose(self, codecs: Mapping[VideoCodec, int]) -> None:
        """Encode with these from now on, each below its ceiling in bit/s (0: the usual one)."""
        for codec in [codec for codec in self._encoders if codec not in codecs]:
            self._encoders.pop(codec).close()
        for codec, bitrate in codecs.items():
            bitrate = bitrate or usual_bitrate(self._size)
            if codec in self._encoders:
                self._encoders[codec].limit(bitrate)
            else:
                self._encoders[codec] = VideoEncoder(self._size, self._fps, bitrate, codec)

    def encode(
        self, frame: NDArray[np.uint8], *, force_keyframe: bool = False
    ) -> tuple[dict[VideoCodec, bytes], bool]:
        """Encode RGB uint8 [H, W, 3]; the packet of each codec, and whether it is a keyframe."""
        encoders = self._encoders.items()
        forced = force_keyframe or any(encoder.wants_keyframe for _, encoder in encoders)
        encoded = {codec: one.encode(frame, force_keyframe=forced) for codec, one in encoders}
        keyframe = all(is_keyframe for _, is_keyframe in encoded.values())
        return {codec: packet for codec, (packet, _) in encoded.items()}, keyframe

    def close(self) -> None:
        """Release the encoders."""
        self.choose({})
