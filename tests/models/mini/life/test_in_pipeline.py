"""Tests that mini's streams move as their speech, their caller and the option say."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from models.audio.level import level_audio
from models.generator import Listener
from models.io.audio import read_speech
from models.io.image import load_image
from models.mini.audio import FRAME_SAMPLES, LOOKAHEAD_FRAMES, AudioEncoder
from models.mini.autoencoder import Autoencoder
from models.mini.config import MINI
from models.mini.life.life import Life
from models.mini.mouth import BlendshapeRegressor
from models.mini.pipeline import MiniPipeline
from models.mini.scene.head_warp import BODY_SIZE
from models.mini.unet import MiniUNet
from models.weights.bundled import WEIGHTS, avatar_picture

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def pipeline() -> MiniPipeline:
    """The networks with random weights: how the person moves does not depend on them."""
    torch.manual_seed(0)
    return MiniPipeline(
        MINI,
        MiniUNet(MINI),
        Autoencoder(MINI.codec),
        BlendshapeRegressor(MINI.audio_features, MINI.audio_window),
        AudioEncoder(),
        torch.float32,
    )


def test_streams_move_with_their_speech_and_listen(pipeline: MiniPipeline) -> None:
    identity = pipeline.encode_portrait(load_image(avatar_picture()))
    speech = read_speech(WEIGHTS / "clips" / "hello.wav", 16_000)
    ends = (MINI.chunk_frames + LOOKAHEAD_FRAMES) * FRAME_SAMPLES
    pipeline.liveliness = 1.0
    stream = pipeline.new_stream(identity, seed=3)
    assert isinstance(stream, Listener)
    motion = []
    for at in range(0, 24 * FRAME_SAMPLES, MINI.chunk_frames * FRAME_SAMPLES):
        pipeline.prepare_conditioning(stream, speech[at : at + ends])
        motion.append(np.hstack([stream.look.poses, stream.look.expression]))
    levelled = level_audio(speech[: (24 + LOOKAHEAD_FRAMES) * FRAME_SAMPLES])
    alone = Life(3, liveliness=1.0, head=MINI.head_motion)
    track = alone.frames(levelled)
    moved = np.hstack([track.pose, track.body * np.array(BODY_SIZE, np.float32), track.expression])
    np.testing.assert_array_equal(np.concatenate(motion), moved)
    pipeline.liveliness = 0.0
    still = pipeline.new_stream(identity, seed=3)
    pipeline.prepare_conditioning(still, speech[:ends])
    assert not still.look.poses.any()
