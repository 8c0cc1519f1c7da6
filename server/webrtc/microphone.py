"""A caller's microphone: RTP packets in, ordered mono sound at 48 kHz out, gaps concealed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from server.media.av_frame import OUTPUT_RATE
from server.media.jitter import JitterBuffer, JitterCounts, Piece
from server.media.opus_decoder import OpusDecoder, opus_samples

STALL_S = 0.01
"""A timer later than this was held up by other work: packets may wait behind it, unread."""
BURST_S = 0.005
"""While packets come closer together than this, they are the ones that waited."""

OnSound = Callable[[NDArray[np.int16], int], None]

logger = logging.getLogger(__name__)


class Microphone:
    """Decodes on the event loop (0.05 ms per packet: less than handing it to a thread costs)."""

    def __init__(self, on_sound: OnSound) -> None:
        """``on_sound(samples, rate)`` gets int16 [N], mono, in order, as soon as it is decoded."""
        self._on_sound: OnSound | None = on_sound
        self._loop = asyncio.get_running_loop()
        self._buffer = JitterBuffer(rate=OUTPUT_RATE)
        self._decoder = OpusDecoder()
        self._ssrc: int | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._postponements_left = 1  # how often more a late timer may be put off
        self._arrived_at = 0.0

    @property
    def counts(self) -> JitterCounts:
        """Counts over the packets of the present stream."""
        return self._buffer.counts

    def receive(self, packet: Any) -> None:
        """Take an RTP packet of aiortc; called on the event loop."""
        payload = bytes(packet.payload)
        try:
            samples = opus_samples(payload)
        except ValueError:
            return  # padding or noise: its time counts as lost
        if packet.ssrc != self._ssrc:
            self._ssrc = packet.ssrc
            self._buffer = JitterBuffer(rate=OUTPUT_RATE)
            self._decoder = OpusDecoder()
        now = self._arrived_at = self._loop.time()
        pieces = self._buffer.push(packet.sequence_number, packet.timestamp, samples, payload, now)
        self._give(pieces)
        self._arm()

    def close(self) -> None:
        """Give nothing more; calling it again does nothing."""
        self._on_sound = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        """Keep one timer running; it may come early, then it is set again."""
        deadline = self._buffer.next_deadline()
        if self._timer is None and deadline is not None and self._on_sound is not None:
            self._timer = self._loop.call_at(deadline, self._on_timer)

    def _on_timer(self) -> None:
        """Give up packets past their deadline, but first read what came while the loop was busy."""
        self._timer = None
        now = self._loop.time()
        deadline = self._buffer.next_deadline()
        stalled = deadline is not None and now - deadline > STALL_S
        if stalled and (self._postponements_left > 0 or now - self._arrived_at < BURST_S):
            self._postponements_left -= 1
            self._timer = self._loop.call_at(now + BURST_S, self._on_timer)
            return
        self._postponements_left = 1
        self._give(self._buffer.poll(now))
        self._arm()

    def _give(self, pieces: list[Piece]) -> None:
        for piece in pieces:
            sound = self._sound_of(piece)
            if self._on_sound is not None and sound.size:
                try:
                    self._on_sound(sound, OUTPUT_RATE)
                except Exception:
                    logger.exception("the listener of a microphone failed; its sound is dropped")

    def _sound_of(self, piece: Piece) -> NDArray[np.int16]:
        if piece.payload is None:
            return self._decoder.conceal(piece.samples)
        try:
            return self._decoder.decode(piece.payload)
        except ValueError:
            return self._decoder.conceal(piece.samples)
