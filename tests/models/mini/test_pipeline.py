"""The pipeline of ``mini`` around its network: the window in, frames of the portrait out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from models.bench.target import _random_pipeline
from models.face.tone import in_tone
from models.mini.motion import EXPRESSION, HEAD, MOUTH_UNITS
from models.mini.pipeline import MiniIdentity, MiniPipeline

pytestmark = pytest.mark.unit

SIDE = 320


@pytest.fixture(scope="module")
def pipeline() -> MiniPipeline:
    made = _random_pipeline("random:0", 2, None)
    made.size = (SIDE, SIDE)
    return made


@pytest.fixture(params=[(720, 720), (640, 480), (480, 640)], ids=str)
def other_size(
    request: pytest.FixtureRequest, pipeline: MiniPipeline, monkeypatch: pytest.MonkeyPatch
) -> tuple[int, int]:
    """(height, width) of the pipeline's frames for one test."""
    size: tuple[int, int] = request.param
    monkeypatch.setattr(pipeline, "size", size)
    return size


def test_frames_have_the_size_and_rest_as_the_portrait(
    pipeline: MiniPipeline, photo: NDArray[np.uint8], other_size: tuple[int, int]
) -> None:
    identity = pipeline.encode_portrait(photo)
    assert identity.portrait.person.shape == other_size
    stream = pipeline.new_stream(identity, 0)
    latent = identity.reference.anchor.latent.transpose(1, 2)
    latents = latent.expand(-1, -1, pipeline.spec.chunk_frames, -1, -1)
    frames = pipeline.decode([stream], latents).numpy()
    assert frames.shape == (1, pipeline.spec.chunk_frames, *other_size, 3)
    assert (frames == identity.portrait.picture).all()
    stream.look.poses[:, 0] = 0.05
    turned = pipeline.decode([stream], latents).numpy()[0, 0].astype(int)
    changed = np.abs(turned - identity.portrait.picture).max(2) > 8
    assert changed[identity.scene.face.box].mean() > changed.mean() > 0.01


def test_frames_that_are_drawn_one_by_one_are_the_chunks(
    pipeline: MiniPipeline, identity: MiniIdentity
) -> None:
    rng = np.random.default_rng(0)
    streams = [pipeline.new_stream(identity, seed) for seed in range(2)]
    for stream in streams:
        stream.look.poses[:] = rng.uniform(-0.05, 0.05, stream.look.poses.shape)
        stream.look.mouth[:] = rng.uniform(0.0, 0.5, stream.look.mouth.shape)
    latents = torch.cat([stream.noise for stream in streams])
    chunks = pipeline.decode(streams, latents).numpy()
    for chunk, frames in zip(chunks, pipeline.draw(streams, latents), strict=True):
        drawn = np.stack(list(frames))
        assert drawn.shape == chunk.shape
        assert np.abs(drawn.astype(int) - chunk).max() <= 1  # by the rounding of other batches


@pytest.fixture(scope="module")
def identity(pipeline: MiniPipeline, photo: NDArray[np.uint8]) -> MiniIdentity:
    return pipeline.encode_portrait(photo)


def test_the_resting_latent_becomes_the_portrait(
    pipeline: MiniPipeline, identity: MiniIdentity
) -> None:
    stream = pipeline.new_stream(identity, 0)
    latent = identity.reference.anchor.latent.transpose(1, 2)
    latents = latent.expand(-1, -1, pipeline.spec.chunk_frames, -1, -1)
    frames = pipeline.decode([stream], latents)
    assert frames.shape == (1, pipeline.spec.chunk_frames, SIDE, SIDE, 3)
    assert frames.dtype == torch.uint8
    assert (frames.numpy() == identity.portrait.picture).all()


def test_whatever_the_network_draws_a_grey_portrait_stays_grey(
    pipeline: MiniPipeline, photo: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    grey = np.repeat(photo.mean(2, keepdims=True).astype(np.uint8), 3, 2)
    made = pipeline.frame_decoder
    reddened = torch.tensor([90, 0, 0], dtype=torch.uint8)
    spread = {}
    for name, picture in (("grey", grey), ("coloured", photo)):
        stream = pipeline.new_stream(pipeline.encode_portrait(picture), 0)
        still = stream.identity.portrait.picture
        with monkeypatch.context() as patch:
            patch.setattr(pipeline, "frame_decoder", lambda z: made(z).clamp(max=160) + reddened)
            frames = pipeline.decode([stream], stream.noise).numpy().astype(int)
        assert np.abs(frames - still).mean() > 1
        spread[name] = np.ptp(frames, axis=-1).mean() - np.ptp(still.astype(int), axis=-1).mean()
    assert spread["grey"] == 0
    assert spread["coloured"] > 1


def test_the_open_mouth_of_a_tinted_portrait_takes_its_tone(
    pipeline: MiniPipeline, photo: NDArray[np.uint8]
) -> None:
    blue = np.asarray(0.7 * photo.mean(2, keepdims=True) * (0.5, 0.9, 1.4), np.uint8)
    identity = pipeline.encode_portrait(blue)
    drawn = np.full((256, 256, 3), (150, 40, 60), np.uint8)
    mouth = np.zeros(len(MOUTH_UNITS))
    mouth[MOUTH_UNITS.index("jawOpen")] = 0.7
    tone = identity.portrait.tone
    assert tone is not None
    assert np.ptp(tone[int(drawn[0, 0] @ (0.299, 0.587, 0.114))].astype(int)) > 20
    assert (identity.colour(drawn, mouth) == in_tone(drawn, tone)).all()


def test_the_head_turns_after_the_network(
    pipeline: MiniPipeline, identity: MiniIdentity, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[torch.Tensor] = []
    condition = pipeline.backbone.condition

    def record(reference: Any, features: Any, mouth: Any, motion: torch.Tensor) -> Any:
        seen.append(motion)
        return condition(reference, features, mouth, motion)

    monkeypatch.setattr(pipeline.backbone, "condition", record)
    stream = pipeline.new_stream(identity, 5)
    samples = (pipeline.spec.chunk_frames + pipeline.spec.lookahead_frames) * 640
    poses = []
    for _ in range(8):
        pipeline.prepare_conditioning(stream, np.zeros(samples, np.float32))
        poses.append(stream.look.poses)
    motion = torch.cat(seen, 1)[0].float().numpy()
    assert motion.shape[1] == len(EXPRESSION)  # of the head's pose the network learns nothing
    assert np.abs(motion).max() > 0
    track = np.concatenate(poses)
    assert track.shape == (8 * pipeline.spec.chunk_frames, 5)
    assert (track.std(0) > 0).all()
    assert np.abs(np.diff(track[:, :HEAD], axis=0)).max() < 0.02  # chunks follow on


def test_the_reference_is_pinned_away_from_the_face(
    pipeline: MiniPipeline, identity: MiniIdentity
) -> None:
    sigma = identity.reference.anchor.sigma[0, 0, 0]
    spec = pipeline.spec
    assert sigma[:, 0].max() == sigma[:, -1].max() == spec.sigma_background
    assert sigma.max() > 0.9 * spec.sigma_mouth
    foreground = identity.reference.foreground
    assert foreground is not None
    assert 0.2 < foreground.numel() / sigma.numel() < 0.9
