"""Turns a window of speech into features with the bundled Moonshine tiny encoder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from models.errors import AudioError
from models.weights.bundled import WEIGHTS, read_pinned

ENCODER_PATH = WEIGHTS / "moonshine" / "encoder.ort"
ENCODER_SHA256 = "94e90a4654fc45cdfedb77c4c08e1739f48862998e58fada384b25118134f221"
SAMPLE_RATE = 16_000
FEATURE_SIZE = 288
HOP = 384
"""Samples between two features: 16000 / 384 = 41.67 features a second."""
FIRST_CENTRE = 447
"""Middle of the samples that the convolutions show to the first feature (it sees 0..894)."""
MIN_SAMPLES = 895
"""Samples that make one feature."""


class AudioEncoder:
    """A frozen speech encoder on ONNX Runtime; deterministic, holds no stream state."""

    def __init__(self, path: Path = ENCODER_PATH, threads: int = 1) -> None:
        """Load and check the weights.

        Raises:
            WeightsError: the file is missing or is not the one that Livehead pins.
        """
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = ort.InferenceSession(
            read_pinned(path, ENCODER_SHA256), options, providers=["CPUExecutionProvider"]
        )

    def features(self, window: NDArray[np.float32]) -> NDArray[np.float32]:
        """Encode one window.

        Args:
            window: float32 [N] mono at 16 kHz in [-1, 1], N >= ``MIN_SAMPLES``.

        Returns:
            float32 [M, 288]; feature m stands for the sample ``FIRST_CENTRE + m * HOP``.

        Raises:
            AudioError: the window has another shape or is too short.
        """
        if window.ndim != 1 or window.size < MIN_SAMPLES:
            raise AudioError(
                f"expected mono samples [N] with N >= {MIN_SAMPLES}, got shape {window.shape};"
                " pad the window with zeros",
                code="bad_audio",
            )
        values = window.astype(np.float32, copy=False)[None]
        mask = np.ones(values.shape, np.int64)
        outputs = self._session.run(None, {"input_values": values, "attention_mask": mask})
        features: NDArray[np.float32] = np.asarray(outputs[0])[0]
        return features
