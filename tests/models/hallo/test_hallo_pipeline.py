"""Hallo's family makes of a picture and its sound what the published loop makes, chunk by chunk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from torch import Tensor

from models.checkpoints import build as shared
from models.hallo import pipeline as hallo_family
from models.hallo.pipeline import HalloPipeline
from models.lightning.plan import full_plan
from models.lightning.sampler import Sampler
from models.pipeline import DiffusionGenerator
from models.sd15.config import DDIM_ZERO_SNR, SD15Spec
from tests.parity.directory import Directory, Stored
from tests.parity.hallo_inputs import WAV2VEC_CONFIG
from tests.parity.networks import load
from tests.support.reference import reference

pytestmark = [pytest.mark.unit, pytest.mark.slow]

LATENTS, VIDEO = (2e-4, 2e-3), (1e-3, 3e-3)  # first chunk, second; as the stored values' notes say
LEVEL = 1 / 255  # frames are truncated to whole levels


class StoredVector:
    """The stored face's vector."""

    def __init__(self, vector: NDArray[np.float32]) -> None:
        self.stored = vector

    def embed(self, _: NDArray[np.uint8]) -> NDArray[np.float32]:
        return self.stored


class Watched(HalloPipeline):
    """Keeps what it samples."""

    made: list[Tensor]

    def sample(self, sampler: Sampler, streams: Sequence[Any], conditions: Sequence[Any]) -> Tensor:
        latents = super().sample(sampler, streams, conditions)
        self.made.append(latents)
        return latents


class Case:
    """The stored run, and a family of its tiny networks."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        directory = Directory(path, "hallo")
        self.settings: dict[str, Any] = directory.config["pipeline"]
        self.stored: Stored = directory.golden("pipeline")
        image = directory.golden("preprocess_image")
        self.picture: NDArray[np.uint8] = image["src_image_u8"].numpy()
        self.speech: NDArray[np.float32] = directory.golden("preprocess_audio").float("wav").numpy()
        landmarks = image["landmarks"].numpy()
        monkeypatch.setattr(hallo_family, "detect_landmarks", lambda _: landmarks)
        self.frames = int(directory.config["frames"])
        vector = StoredVector(image.float("face_emb").flatten().numpy())
        self.pipeline = Watched(self._spec(directory.config), _networks(directory), vector)
        self.pipeline.made = []

    def _spec(self, config: dict[str, Any]) -> SD15Spec:
        side, past = int(config["latent_size"]), int(config["n_motion_frames"])
        return SD15Spec(
            "hallo",
            25.0,
            self.frames,
            2,
            int(self.settings["steps"]),
            (4, side, side),
            DDIM_ZERO_SNR,
            guidance=float(self.settings["cfg_scale"]),
            past=past,
            first_past=past,
        )

    def generator(self) -> DiffusionGenerator[Any, Any]:
        return DiffusionGenerator(self.pipeline, full_plan(int(self.settings["steps"])))

    def open(self, generator: DiffusionGenerator[Any, Any]) -> Any:
        identity = generator.prepare(self.picture)
        return generator.open(identity, seed=int(self.settings["seed"]), speech=self.speech)

    def samples(self, k: int) -> NDArray[np.float32]:
        """What the server would send for chunk ``k``; the stream knows the recording already."""
        own = self.frames * 16_000 // 25
        cut = self.speech[k * own : (k + 1) * own]
        return np.pad(cut, (0, own - cut.size))


def _networks(directory: Directory) -> dict[str, Any]:
    nets = load(directory)
    wav2vec = shared.build_wav2vec(directory.config[WAV2VEC_CONFIG])
    wav2vec.load_state_dict(directory.weights("wav2vec"), assign=True)
    return {
        "denoising_unet": nets.denoiser,
        "reference_unet": nets.reference,
        "face_locator": nets.locator,
        "imageproj": nets.image,
        "audioproj": nets.audio,
        "vae": nets.vae,
        "wav2vec": wav2vec,
    }


@pytest.fixture
def case(monkeypatch: pytest.MonkeyPatch) -> Case:
    return Case(reference("hallo"), monkeypatch)


def test_the_stream_of_chunks_is_the_published_run(case: Case) -> None:
    generator = case.generator()
    stream = case.open(generator)
    for k in range(int(case.settings["chunks"])):
        (frames,) = generator.generate([stream], [case.samples(k)])
        later, prefix = min(k, 1), f"bank_fp32.chunk{k}"
        latents = case.stored[f"{prefix}.latents_steps"][-1]
        assert float((case.pipeline.made[k] - latents).abs().max()) <= LATENTS[later]
        video = case.stored.float(f"{prefix}.video")[0].permute(1, 2, 3, 0).numpy()
        gap = video - frames / 255  # truncation only darkens
        assert -VIDEO[later] <= gap.min() and gap.max() <= LEVEL + VIDEO[later]


def test_streams_opened_apart_share_a_batch_and_keep_their_own_chunks(case: Case) -> None:
    generator = case.generator()
    ahead = case.open(generator)
    generator.generate([ahead], [case.samples(0)])
    behind = case.open(generator)
    case.pipeline.made.clear()
    generator.generate([ahead, behind], [case.samples(1), case.samples(0)])
    (both,) = case.pipeline.made
    for row, k in enumerate((1, 0)):
        stored = case.stored[f"bank_fp32.chunk{k}.latents_steps"][-1]
        assert float((both[row : row + 1] - stored).abs().max()) <= LATENTS[k]


def test_a_second_chunk_sees_the_frames_of_the_first(case: Case) -> None:
    generator = case.generator()
    stream = case.open(generator)
    generator.generate([stream], [case.samples(0)])
    stream.past_frames = None
    generator.generate([stream], [case.samples(1)])
    stored = case.stored["bank_fp32.chunk1.latents_steps"][-1]
    assert float((case.pipeline.made[1] - stored).abs().max()) > 10 * LATENTS[1]
