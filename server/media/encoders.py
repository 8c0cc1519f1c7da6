"""Turns frames and sound into what travels: H.264 or VP8 frames, Opus packets, JPEG pictures."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, Literal

import av
import cv2
import numpy as np
from av.video.frame import PictureType
from numpy.typing import NDArray

from server.media.av_frame import OUTPUT_RATE

OPUS_SAMPLES = 960
"""Samples in one Opus packet: 20 ms at ``OUTPUT_RATE``."""

VideoCodec = Literal["h264", "vp8"]
VIDEO_CODECS: tuple[VideoCodec, ...] = ("h264", "vp8")
"""The better one first."""

_GOP_SECONDS = 2.0
_H264_CRF, _VP8_CRF = 20, 16
_BITRATE, _BITRATE_PIXELS = 600_000, 512 * 512
"""Ceiling in bit/s up to so many pixels; in proportion to them beyond."""
_LOWER, _HIGHER = 0.9, 1.1
"""A new ceiling counts beyond these: each change costs a keyframe."""
_LEVELS = ((3_600, "31"), (8_192, "40"), (36_864, "51"))
"""Macroblocks of a frame that a level of H.264 allows (its table A-1)."""
_VP8_OPTIONS = {
    "deadline": "realtime",
    "cpu-used": "-8",  # fast for a picture of this size; beyond it pictures suffer
    "lag-in-frames": "0",
    "auto-alt-ref": "0",
    "crf": str(_VP8_CRF),
}
_OPUS_BITRATE = 32_000
_OPUS_EXPECTED_LOSS_PERCENT = 5


def usual_bitrate(size: tuple[int, int]) -> int:
    """The ceiling in bit/s that suits (height, width)."""
    return round(_BITRATE * max(1.0, size[0] * size[1] / _BITRATE_PIXELS))


class VideoEncoder:
    """H.264 constrained baseline or VP8 for one session: one packet per frame, no delay.

    Constant quality capped at ``bitrate``: a resting face costs far less than the cap. A keyframe
    comes first, then every two seconds (browsers ask for one only after seconds of freeze), and
    whenever it is forced. Every keyframe of H.264 carries its parameter sets. One thread: many
    sessions share a core.
    """

    def __init__(
        self,
        size: tuple[int, int],
        fps: float,
        bitrate: int | None = None,
        codec: VideoCodec = "h264",
    ) -> None:
        """``size`` is (height, width), both even; ``bitrate`` the ceiling in bit/s, else what
        suits the size."""
        height, width = size
        if bitrate is None:
            bitrate = usual_bitrate(size)
        if height <= 0 or width <= 0 or height % 2 or width % 2:
            raise ValueError(f"expected an even (height, width), got {size}; crop or pad the frame")
        if fps <= 0 or bitrate <= 0:
            raise ValueError(f"expected positive fps and bitrate, got {fps} and {bitrate}")
        self.size = (height, width)
        self.gop_frames = max(1, round(_GOP_SECONDS * fps))
        self._fps = fps
        self._name = codec
        self._bitrate = self._wanted_bitrate = bitrate
        self._next_pts = 0
        self._last_keyframe = 0
        self._codec: Any = self._open()

    @property
    def wants_keyframe(self) -> bool:
        """Whether the next frame is a keyframe: the first, the periodic, or for fewer bits."""
        since = self._next_pts - self._last_keyframe
        shrinks = self._wanted_bitrate < _LOWER * self._bitrate
        return self._next_pts == 0 or since >= self.gop_frames or shrinks

    def limit(self, bitrate: int) -> None:
        """Change the ceiling, bit/s: a lower one at once, a higher one at the next keyframe."""
        self._wanted_bitrate = bitrate

    def encode(
        self, frame: NDArray[np.uint8], *, force_keyframe: bool = False
    ) -> tuple[bytes, bool]:
        """Encode RGB uint8 [H, W, 3].

        Returns:
            The frame's access unit (Annex-B) or VP8 frame, and whether it is a keyframe.

        Raises:
            ValueError: the frame has another shape or type than announced.
            RuntimeError: the encoder was closed.
        """
        if self._codec is None:
            raise RuntimeError("expected an open encoder, got a closed one; make a new one")
        if frame.shape != (*self.size, 3) or frame.dtype != np.uint8:
            raise ValueError(
                f"expected uint8 {(*self.size, 3)}, got {frame.dtype} {frame.shape};"
                " resize the frame to the size that the encoder was made for"
            )
        force_keyframe = force_keyframe or self.wants_keyframe
        if force_keyframe:
            self._last_keyframe = self._next_pts
            if not _LOWER * self._bitrate <= self._wanted_bitrate <= _HIGHER * self._bitrate:
                self._bitrate = self._wanted_bitrate
                self._codec = self._open()  # neither encoder takes it while it runs
        planes: Any = cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2YUV_I420)
        picture = av.VideoFrame.from_ndarray(planes, format="yuv420p")
        picture.pts = self._next_pts
        picture.pict_type = PictureType.I if force_keyframe else PictureType.NONE
        self._next_pts += 1
        packets = self._codec.encode(picture)
        if len(packets) != 1:
            raise RuntimeError(f"expected one access unit per frame, got {len(packets)}")
        return bytes(packets[0]), bool(packets[0].is_keyframe)

    def close(self) -> None:
        """Release the encoder; calling it again does nothing."""
        self._codec = None

    def _open(self) -> Any:
        """FFmpeg's encoder at the present ceiling."""
        codec: Any = av.CodecContext.create("libx264" if self._name == "h264" else "libvpx", "w")
        rate = Fraction(self._fps).limit_denominator(1001)
        codec.height, codec.width = self.size
        codec.pix_fmt = "yuv420p"
        codec.framerate = rate
        codec.time_base = 1 / rate
        codec.gop_size = self.gop_frames
        codec.thread_count = 1
        if self._name == "h264":
            codec.max_b_frames = 0
            codec.bit_rate = 0  # quality decides; the ceiling below bounds it
            codec.options = _x264_options(*self.size, self._bitrate)
        else:
            codec.bit_rate = self._bitrate
            codec.options = _VP8_OPTIONS | _ceiling(self._bitrate)
        return codec


class OpusEncoder:
    """Opus for speech: 20 ms packets, mono, with the previous packet's rescue copy inside."""

    def __init__(self) -> None:
        codec: Any = av.CodecContext.create("libopus", "w")
        codec.format = "s16"
        codec.layout = "mono"
        codec.sample_rate = OUTPUT_RATE
        codec.time_base = Fraction(1, OUTPUT_RATE)
        codec.bit_rate = _OPUS_BITRATE
        codec.options = {
            "application": "voip",
            "frame_duration": "20",
            "vbr": "constrained",
            "fec": "1",
            "packet_loss": str(_OPUS_EXPECTED_LOSS_PERCENT),
        }
        self._codec = codec
        self._next_pts = 0

    def encode(self, pcm: NDArray[np.int16]) -> bytes:
        """Encode int16 [960], mono at 48 kHz, into one packet.

        Raises:
            ValueError: another number of samples or another type.
        """
        if pcm.shape != (OPUS_SAMPLES,) or pcm.dtype != np.int16:
            raise ValueError(
                f"expected int16 ({OPUS_SAMPLES},), got {pcm.dtype} {pcm.shape};"
                " cut the sound into 20 ms pieces at 48 kHz"
            )
        sound = np.ascontiguousarray(pcm).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(sound, format="s16", layout="mono")
        frame.sample_rate = OUTPUT_RATE
        frame.pts = self._next_pts
        self._next_pts += OPUS_SAMPLES
        packets = self._codec.encode(frame)
        if len(packets) != 1:
            raise RuntimeError(f"expected one packet per 20 ms, got {len(packets)}")
        return bytes(packets[0])


class OpusPacketiser:
    """Encodes sound that comes in slices of any length; what fills no packet waits for more."""

    def __init__(self) -> None:
        self._encoder = OpusEncoder()
        self._rest = np.zeros(0, np.int16)

    def push(self, pcm: NDArray[np.int16]) -> tuple[bytes, ...]:
        """The packets that are complete with int16 [N], mono at 48 kHz."""
        sound = np.concatenate([self._rest, pcm])
        whole = sound.size // OPUS_SAMPLES * OPUS_SAMPLES
        self._rest = sound[whole:]
        return tuple(
            self._encoder.encode(piece) for piece in sound[:whole].reshape(-1, OPUS_SAMPLES)
        )

    def restart(self) -> None:
        """Forget what waits: the next sound does not follow it."""
        self._rest = self._rest[:0]


def encode_jpeg(frame: NDArray[np.uint8], quality: int = 80) -> bytes:
    """Encode RGB uint8 [H, W, 3] as JPEG; ``quality`` is 1..100."""
    bgr = cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2BGR)
    done, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise ValueError(f"expected an RGB picture, got {frame.dtype} {frame.shape}")
    return data.tobytes()


def _x264_options(height: int, width: int, bitrate: int) -> dict[str, str]:
    macroblocks = -(-height // 16) * -(-width // 16)
    return {
        "preset": "ultrafast",
        "tune": "zerolatency",
        "profile": "baseline",
        "level": next(level for most, level in _LEVELS if macroblocks <= most),
        "forced-idr": "1",
        "crf": str(_H264_CRF),
        # cv2 converts to BT.601 limited range; declared, so that no player guesses
        "colorspace": "smpte170m",
        "color_primaries": "smpte170m",
        "color_trc": "smpte170m",
        "color_range": "tv",
        **_ceiling(bitrate),
    }


def _ceiling(bitrate: int) -> dict[str, str]:
    return {"maxrate": str(bitrate), "bufsize": str(bitrate // 2)}
