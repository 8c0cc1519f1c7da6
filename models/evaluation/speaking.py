"""Lets a portrait speak, and keeps what ``mini`` was asked to show in each frame."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.generator import AnyGenerator, frame_count, generate_all
from models.io.console import progress
from models.mini.life.life import Life, LifeTrack
from models.mini.motion import HEAD
from models.mini.pipeline import ChunkLook, MiniStream


@dataclass(frozen=True)
class Asked:
    """What ``mini`` was asked to show in T frames.

    Attributes:
        mouth: units heard in the speech, float32 [T, 13], columns ``MOUTH_UNITS``.
        expression: float32 [T, 4], columns ``EXPRESSION``.
        head: yaw, pitch and roll, radians, float32 [T, 3].
    """

    mouth: NDArray[np.float32]
    expression: NDArray[np.float32]
    head: NDArray[np.float32]


class RestingHead:
    """Somebody's life, but head and body rest."""

    def __init__(self, life: Life) -> None:
        self._life = life

    def listen(self, caller_speaks: bool) -> None:
        """As ``Life``."""
        self._life.listen(caller_speaks)

    def frames(self, sound: NDArray[np.float32]) -> LifeTrack:
        """As ``Life``."""
        track = self._life.frames(sound)
        motion = track.motion.copy()
        motion[:, :HEAD] = 0.0
        return LifeTrack(motion, np.zeros_like(track.body))


class Speaker:
    """A portrait that speaks once, chunk by chunk as in a session.

    Args:
        identity: of the generator.
        sound: mono float32 at the generator's rate.
        seed: of its life.
        still: head and body rest (``mini``; other models move as they do).
        label: of the progress bar.
    """

    def __init__(
        self,
        generator: AnyGenerator,
        identity: Any,
        sound: NDArray[np.float32],
        *,
        seed: int = 0,
        still: bool = False,
        label: str = "frames",
    ) -> None:
        self._generator, self._sound, self._label = generator, sound, label
        self._stream = generator.open(identity, seed=seed)
        if still and isinstance(self._stream, MiniStream):
            self._stream.life = RestingHead(self._stream.life)  # type: ignore[assignment]
        self._looks: list[ChunkLook] = []
        self.frames = frame_count(generator, sound.size)

    def chunks(self) -> Iterator[NDArray[np.uint8]]:
        """RGB uint8 [F, H, W, 3]; none is kept."""
        generator, stream = self._generator, self._stream
        chunks = generate_all(generator, stream, self._sound)
        for chunk in progress(chunks, self._label, -(-self.frames // generator.chunk_frames)):
            if isinstance(stream, MiniStream):
                self._looks.append(stream.look)
            yield chunk
        generator.close(stream)

    def asked(self) -> Asked | None:
        """What the frames until now were asked to show; None of a model that does not say."""
        if not self._looks:
            return None
        mouth, expression, poses = (
            np.concatenate([getattr(look, name) for look in self._looks])[: self.frames]
            for name in ("mouth", "expression", "poses")
        )
        return Asked(mouth, expression, poses[:, :HEAD])
