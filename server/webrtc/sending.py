"""Splits frames into the two tracks of a call, in phase, and bounds both queues."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from server.media.av_frame import OUTPUT_RATE, AVFrame
from server.media.encoders import OPUS_SAMPLES, VideoCodec
from server.webrtc.tracks import PacketTrack

VIDEO_RATE = 90_000
VIDEO_CAPACITY = 8
"""Frames. Drop rule: when full, all are dropped and a keyframe is requested, with which pictures go
on: a later picture is worth more than a late one."""
AUDIO_CAPACITY = 25
"""Packets of 20 ms. Drop rule: when full, the oldest. Sound never waits for pictures."""
KEYFRAME_REQUEST_INTERVAL_S = 0.3

logger = logging.getLogger(__name__)


class AVFrameSender:
    """The sending half of a call.

    Both time stamps come from the frame's index on the media clock. The first Opus packet leaves
    with the picture and each later one 20 ms after the one before, as its time stamp says: sender
    reports map time stamps to moments of sending, and a receiver's buffer grows with every burst.
    Where frames are no multiple of 20 ms, sound that breaks off loses less than a packet; when that
    adds up to one, time stamps skip it, so that sound stays within 20 ms of its picture.
    """

    def __init__(
        self,
        fps: float,
        on_keyframe_request: Callable[[], None],
        codec: VideoCodec = "h264",
        on_sent: Callable[[float, float | None], None] = lambda *_: None,
    ) -> None:
        """``fps`` is the media clock of the frames.

        ``on_sent`` gets, for each picture that leaves, the seconds since it was due, and how many
        more these are than those of the last packet of sound; None without sound.
        """
        self._on_sent = on_sent
        self._sound_late_s: float | None = None
        self._fps = fps
        self._codec = codec
        self._on_keyframe_request = on_keyframe_request
        self._video = PacketTrack("video", VIDEO_RATE, VIDEO_CAPACITY, self._on_picture_sent)
        self._audio = PacketTrack("audio", OUTPUT_RATE, AUDIO_CAPACITY, self._on_sound_sent)
        self._has_audio = False
        self._needs_keyframe = True
        self._last_index = -1
        self._next_packet = 0
        self._requested_at: float | None = None

    def track(self, kind: str) -> PacketTrack:
        """The track to attach, ``video`` or ``audio``; sound is sent only if it was taken."""
        if kind == "audio":
            self._has_audio = True
            return self._audio
        return self._video

    def send(self, frame: AVFrame, now: float) -> None:
        """Queue a frame that is due at ``now``, seconds on the event loop's clock.

        A frame whose index does not advance is dropped: its moment has passed.
        """
        if frame.index <= self._last_index:
            return
        packet_index = int(frame.index * OUTPUT_RATE / (self._fps * OPUS_SAMPLES) + 1e-6)
        follows = frame.index == self._last_index + 1
        self._next_packet = max(self._next_packet, packet_index) if follows else packet_index
        self._last_index = frame.index
        if self._has_audio:
            self._send_sound(frame.opus, now)
        self._send_picture(frame, now)

    def clear(self) -> None:
        """Drop what was not sent yet; where that leaves out pictures, a keyframe must follow."""
        self._audio.drop_all()
        if self._video.drop_all():
            self._needs_keyframe = True

    def request_keyframe(self) -> None:
        """Ask for a keyframe, at most once in ``KEYFRAME_REQUEST_INTERVAL_S``."""
        now = asyncio.get_running_loop().time()
        last = self._requested_at
        if last is not None and now - last < KEYFRAME_REQUEST_INTERVAL_S:
            return
        self._requested_at = now
        try:
            self._on_keyframe_request()
        except Exception:
            logger.exception("the listener of keyframe requests failed")

    def stop(self) -> None:
        """End both tracks."""
        self._video.stop()
        self._audio.stop()

    def _on_sound_sent(self, late_s: float) -> None:
        self._sound_late_s = late_s

    def _on_picture_sent(self, late_s: float) -> None:
        sound = self._sound_late_s
        self._on_sent(late_s, None if sound is None else late_s - sound)

    def _send_sound(self, packets: tuple[bytes, ...], now: float) -> None:
        for k, packet in enumerate(packets):
            due = now + k * OPUS_SAMPLES / OUTPUT_RATE
            timestamp = self._next_packet * OPUS_SAMPLES
            self._next_packet += 1
            if not self._audio.put(timestamp, packet, due):
                self._audio.drop_oldest()
                self._audio.put(timestamp, packet, due)

    def _send_picture(self, frame: AVFrame, now: float) -> None:
        if self._needs_keyframe and not frame.keyframe:
            self.request_keyframe()
            return
        self._needs_keyframe = False
        timestamp = round(frame.index * VIDEO_RATE / self._fps)
        picture = frame.picture(self._codec)
        if not self._video.put(timestamp, picture, now):
            dropped = self._video.drop_all()
            logger.warning("%d pictures dropped: the network does not take them in time", dropped)
            self._needs_keyframe = not frame.keyframe
            if frame.keyframe:
                self._video.put(timestamp, picture, now)
            else:
                self.request_keyframe()
