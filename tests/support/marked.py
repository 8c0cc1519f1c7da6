"""``livehead`` whose mini draws the fake model's marks on its pictures, to be measured by them.

``python -m tests.support.marked serve --model mini``: the number of the frame on top, and at the
bottom a band that is white while the frame's own sound is loud. The rest is mini's, at mini's cost.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models import registry
from models.fake import COUNTER_BITS, FLASH_RMS, STRIP
from models.generator import AnyGenerator, frame_samples
from models.mini.config import CARD as MINI
from models.options import ModelOptions
from models.registry import ModelCard, find_object
from server import cli

BAND = 8
"""The flash takes this part of a frame's height."""


def draw_marks(frame: NDArray[np.uint8], number: int, loud: bool) -> None:
    """Draw on RGB uint8 [H, W, 3] in place."""
    height, width = frame.shape[:2]
    for bit in range(COUNTER_BITS):
        left, right = (width * edge // COUNTER_BITS for edge in (bit, bit + 1))
        frame[: height // STRIP, left:right] = 255 * (number >> (COUNTER_BITS - 1 - bit) & 1)
    frame[height - height // BAND :] = 255 if loud else 16


def mark(generator: AnyGenerator) -> AnyGenerator:
    """Have a generator's frames marked from now on, each stream's from 0."""
    plain, step = generator.generate, frame_samples(generator)
    numbers: dict[int, int] = defaultdict(int)

    def generate(
        streams: Sequence[Any], audio: Sequence[NDArray[np.float32]]
    ) -> list[NDArray[np.uint8]]:
        chunks = [np.array(chunk) for chunk in plain(streams, audio)]
        for stream, samples, chunk in zip(streams, audio, chunks, strict=True):
            for k, frame in enumerate(chunk):
                sound = samples[k * step : (k + 1) * step].astype(np.float64)
                loud = float(np.sqrt((sound**2).mean())) > FLASH_RMS
                draw_marks(frame, numbers[id(stream)] % 2**COUNTER_BITS, loud)
                numbers[id(stream)] += 1
        return chunks

    setattr(generator, "generate", generate)  # noqa: B010 - of this one alone
    return generator


def load_generator(card: ModelCard, options: ModelOptions) -> AnyGenerator:
    """Mini, marked."""
    generator: AnyGenerator = find_object(MINI.load)(card, options)
    return mark(generator)


CARD = replace(MINI, load="tests.support.marked:load_generator")

if __name__ in ("__main__", "__mp_main__"):  # of the server, of its workers
    registry.MODELS["mini"] = "tests.support.marked:CARD"
if __name__ == "__main__":
    sys.exit(cli.main())
