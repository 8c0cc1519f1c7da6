"""What the denoiser's training draws: chunks, weights, steps and noise."""

from __future__ import annotations

import math

import pytest
import torch

from models.lightning.schedule import trailing_steps
from models.motion import MOTION, MOUTH_UNITS
from models.spec import MINI
from models.training.latents import Variant
from models.training.mini import (
    MIRROR,
    Sampler,
    condition_motion,
    draw_noise,
    draw_steps,
    loss_weight,
    usable_chunks,
)
from models.training.speech import Heard

pytestmark = pytest.mark.unit

FRAMES = 40


def make_heard() -> Heard:
    chunks = FRAMES // 4 - 1
    number = torch.arange(float(FRAMES))
    features = torch.zeros(2, chunks, 4, 7, 288, dtype=torch.float16)
    units = torch.zeros(2, chunks, 4, len(MOUTH_UNITS))
    for version in range(2):
        for k in range(chunks):
            first = Heard.start(version, k)
            units[version, k] = torch.arange(first, first + 4.0)[:, None]
    mouth = number[:, None].expand(-1, len(MOUTH_UNITS)).clone()
    motion = number[:, None].expand(-1, len(MOTION)).clone()
    return Heard(features, units, mouth, motion)


def make_variant(mirrored: bool) -> Variant:
    latents = torch.arange(float(FRAMES)).view(-1, 1, 1, 1).expand(-1, 8, 32, 32).half()
    return Variant(
        "000",
        latents,
        torch.zeros(8, 32, 32).half(),
        torch.ones(FRAMES, 32, 32).half(),
        torch.full((FRAMES, 2), 16.0),
        torch.tensor([12.0, 12.0, 20.0, 12.0]).expand(FRAMES, -1),
        mirrored,
    )


def test_latents_mouth_and_motion_of_a_chunk_are_the_same_frames() -> None:
    sampler = Sampler([make_variant(False)], {"000": make_heard()}, MINI, seed=1, reach=math.inf)
    batch = sampler.batch(32)
    shown = batch.x[:, 0, :, 0, 0]
    assert torch.equal(batch.mouth[:, :, 0], shown)
    assert torch.equal(batch.motion[:, :, 3], shown)  # blink is absolute
    assert torch.all(shown[:, 1:] - shown[:, :-1] == 1)
    assert shown.max() < FRAMES


def test_a_mirrored_variant_turns_the_other_way() -> None:
    sampler = Sampler([make_variant(True)], {"000": make_heard()}, MINI, seed=1, reach=math.inf)
    batch = sampler.batch(16)
    assert torch.equal(batch.motion[:, :, 3], batch.x[:, 0, :, 0, 0])
    assert torch.equal(batch.motion[:, :, 4], -batch.x[:, 0, :, 0, 0])  # gaze_yaw
    assert [MOTION[k] for k in (MIRROR < 0).nonzero()[:, 0]] == ["yaw", "roll", "gaze_yaw"]


def test_head_pose_is_relative_to_the_reference_and_nothing_else_is() -> None:
    motion, reference = torch.ones(4, len(MOTION)), torch.full((len(MOTION),), 0.25)
    relative = condition_motion(motion, reference)
    assert torch.equal(relative[:, :3], torch.full((4, 3), 0.75))
    assert torch.equal(relative[:, 3:], motion[:, 3:])


def test_references_are_at_rest_and_near() -> None:
    heard = make_heard()
    heard.mouth[20:24] = 0.0  # at rest again, far from frame 0
    heard.motion[20:24, 3] = 0.0
    everything = usable_chunks(heard, FRAMES, math.inf)
    assert {at for _, _, *near in everything for at in near} <= {0, 20, 21, 22, 23}
    near_ones = usable_chunks(heard, FRAMES, 2.0)
    assert 0 < len(near_ones) < len(everything)
    for version, k, *near in near_ones:
        middle = heard.motion[heard.start(version, k) + 1, :3]
        assert all((heard.motion[at, :3] - middle).norm() < 2.0 for at in near)


def test_weights_have_mean_one_and_favour_the_mouth() -> None:
    weight = loss_weight(
        torch.zeros(2, 32, 32),
        torch.tensor([[16.0, 24.0]] * 2),
        torch.tensor([[10.0, 12, 22, 12]] * 2),
    )
    assert weight.mean() == pytest.approx(1.0, abs=1e-5)
    assert weight[0, 0, 23, 15] > 10 * weight[0, 0, 0, 0]


def test_steps_are_mostly_those_that_sampling_visits() -> None:
    torch.manual_seed(0)
    steps = draw_steps(4000, MINI)
    grid = torch.tensor(trailing_steps(1000, MINI.steps))
    assert 0.65 < torch.isin(steps, grid).float().mean() < 0.78
    assert (steps == 999).float().mean() > 0.1


def test_noise_has_unit_variance_and_shared_parts() -> None:
    torch.manual_seed(0)
    noise = draw_noise(torch.empty(64, 8, 4, 16, 16))
    assert noise.std() == pytest.approx(1.0, abs=0.02)
    shared = (noise[:, :, 0] * noise[:, :, 1]).mean((1, 2, 3))
    assert set((shared * 2).round().int().tolist()) == {1, 2}
