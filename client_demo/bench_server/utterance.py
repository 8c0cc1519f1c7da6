"""What the bench's peers say: two seconds of a bundled clip, pushed at once or as spoken."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import numpy as np

from client_demo.bench_server.options import UTTERANCE_S
from models.io.audio import read_speech

CLIP = Path(__file__).parents[2] / "models" / "weights" / "clips" / "hello.wav"
RATE = 16_000
BYTES_PER_S = 2 * RATE
STEP_BYTES = BYTES_PER_S // 50  # 20 ms
LOUD = 0.02  # of full scale: speech has begun


class Pushes(Protocol):
    """Takes speech."""

    async def push(self, pcm: bytes) -> None:
        """Take s16le mono at ``RATE``."""
        ...

    async def commit(self) -> None:
        """End the segment."""
        ...


def load_utterance() -> bytes:
    """``UTTERANCE_S`` of s16le mono at ``RATE``, from the clip's first loud sample on."""
    speech = read_speech(CLIP, RATE)
    first = int(np.argmax(np.abs(speech) > LOUD))
    utterance = speech[first : first + int(UTTERANCE_S * RATE)]
    return (utterance * 32_767).astype("<i2").tobytes()


async def push_at_once(to: Pushes, pcm: bytes) -> None:
    """As a text-to-speech engine does."""
    await to.push(pcm)
    await to.commit()


async def push_as_spoken(to: Pushes, pcm: bytes) -> None:
    """Steps of 20 ms in real time, as a microphone does."""
    began = time.monotonic()
    for start, step in _steps(pcm):
        await asyncio.sleep(max(0.0, began + start / BYTES_PER_S - time.monotonic()))
        await to.push(step)
    await to.commit()


def _steps(pcm: bytes) -> Iterator[tuple[int, bytes]]:
    for start in range(0, len(pcm), STEP_BYTES):
        yield start, pcm[start : start + STEP_BYTES]
