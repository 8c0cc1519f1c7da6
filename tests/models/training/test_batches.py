"""What the denoiser's training draws: chunks, weights, steps and noise."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from models.lightning.schedule import trailing_steps
from models.mini.autoencoder import Autoencoder
from models.mini.config import MINI
from models.mini.motion import MOTION, MOUTH_UNITS
from models.mini.unet import MiniUNet
from models.training.batches import (
    JAW,
    MIRROR,
    Sampler,
    Stage,
    Window,
    condition_motion,
    loss_weight,
    usable_chunks,
)
from models.training.denoiser import (
    FIRST,
    FURTHER,
    NOISE,
    PATCH,
    Prediction,
    cut_reference,
    draw_noise,
    draw_steps,
    picture_loss,
    predict,
    stage_at,
    v_loss,
)
from models.training.latents import Variant
from models.training.speech_features import Heard

pytestmark = pytest.mark.unit

FRAMES = 40


def whole(size: int) -> Stage:
    return Stage(share=1.0, size=size, apart=False, window=None)


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
    latents = torch.arange(float(FRAMES)).view(-1, 1, 1, 1).expand(-1, *MINI.latent).half()
    return Variant(
        "000",
        latents,
        torch.zeros(MINI.latent).half(),
        torch.ones(FRAMES, 32, 32).half(),
        torch.full((FRAMES, 2), 16.0),
        torch.tensor([12.0, 12.0, 20.0, 12.0]).expand(FRAMES, -1),
        mirrored,
    )


def test_latents_mouth_and_motion_of_a_chunk_are_the_same_frames() -> None:
    sampler = Sampler([make_variant(False)], {"000": make_heard()}, MINI, seed=1, reach=math.inf)
    batch = sampler.batch(whole(32))
    shown = batch.x[:, 0, :, 0, 0]
    assert torch.equal(batch.mouth[:, :, 0], shown)
    assert torch.equal(batch.motion[:, :, 3], shown)  # blink is absolute
    assert torch.all(shown[:, 1:] - shown[:, :-1] == 1)
    assert shown.max() < FRAMES


def test_frames_drawn_apart_share_their_reference_and_keep_their_own_conditions() -> None:
    heard = make_heard()
    heard.mouth[20], heard.motion[20, 3] = 0.0, 0.0
    sampler = Sampler([make_variant(False)], {"000": heard}, MINI, seed=1, reach=8.0)
    batch = sampler.batch(Stage(share=1.0, size=64, apart=True, window=16))
    shown = batch.x[:, 0, :, 0, 0]
    speaking = shown != 20
    assert torch.equal(batch.mouth[:, :, 0][speaking], shown[speaking])
    assert torch.any(shown[:, 1:] - shown[:, :-1] != 1)
    reference = batch.anchor.latent[:, 0, 0, 0, 0]
    assert torch.all((shown - reference[:, None]).abs() <= 8)


def test_a_window_starts_on_the_coarsest_grid_and_lies_inside() -> None:
    sampler = Sampler([make_variant(False)], {"000": make_heard()}, MINI, seed=1, reach=math.inf)
    stage = Stage(share=1.0, size=2, apart=True, window=16)
    windows = [sampler.batch(stage).window for _ in range(40)]
    assert all(w and w.top % 4 == w.left % 4 == 0 and w.side == 16 for w in windows)
    assert all(w and 0 <= w.top <= 16 and 0 <= w.left <= 16 for w in windows)
    assert len(set(windows)) > 1


def test_the_loss_in_a_window_sees_what_lies_in_it_alone() -> None:
    torch.manual_seed(0)
    net = MiniUNet(MINI)
    sampler = Sampler([make_variant(False)], {"000": make_heard()}, MINI, seed=1, reach=math.inf)
    batch = sampler.batch(Stage(share=1.0, size=2, apart=False, window=16))
    assert batch.window is not None
    noise, t = torch.randn_like(batch.x), torch.tensor([999, 500])
    loss = v_loss(predict(net, batch, t, noise))
    outside = batch.x.clone()
    batch.window.cut(outside)[:] = 0
    moved = replace(batch, x=batch.x + outside)
    assert torch.equal(v_loss(predict(net, moved, t, noise)), loss)
    reference = net.reference(["", ""], batch.anchor, batch.geometry)
    cut = cut_reference(reference, Window(8, 4, 16))
    assert [level.shape[-1] for level in cut.maps] == [16, 8, 4]
    assert torch.equal(cut.maps[1], reference.maps[1][..., 4:12, 2:10])


def test_what_was_made_is_the_clean_latents_when_the_velocity_is_right() -> None:
    net = MiniUNet(MINI)
    sampler = Sampler([make_variant(False)], {"000": make_heard()}, MINI, seed=1, reach=math.inf)
    batch = sampler.batch(whole(3))
    made = predict(net, batch, torch.tensor([999, 500, 20]), 0.3 * torch.randn_like(batch.x))
    s = net.noise[torch.tensor([999, 500, 20])].view(-1, 1, 1, 1, 1)
    assert torch.allclose(made.made + s * (made.v - made.target), made.true, atol=1e-4)
    assert torch.equal(made.true, batch.x)


def test_pictures_are_judged_where_most_weight_is_and_in_the_frames_asked_for() -> None:
    torch.manual_seed(0)
    codec = Autoencoder().requires_grad_(False)
    true = torch.randn(2, 12, 4, 16, 16)
    weight = torch.full((2, 1, 4, 16, 16), 0.1)
    weight[..., 4:12, 6:14] = 1.0

    def judged(change: tuple[int, int, int]) -> float:
        frame, row, column = change
        made = true.clone()
        made[:, :, frame, row, column] += 3.0
        frames = torch.tensor([0, 2])
        return float(picture_loss(codec, Prediction(made, true, weight, made, true), frames))

    assert PATCH == 8
    assert judged((2, 4, 6)) > 1e-4
    assert judged((1, 4, 6)) == pytest.approx(0.0, abs=1e-6)
    assert judged((2, 3, 6)) == pytest.approx(0.0, abs=1e-6)


def test_wide_openings_are_drawn_more_often_where_asked() -> None:
    sampler = Sampler([make_variant(False)], {"000": make_heard()}, MINI, seed=1, reach=math.inf)
    for apart in (False, True):
        stage = replace(whole(200), apart=apart)
        fair, wide = (
            sampler.batch(replace(stage, wide=wide)).mouth[..., JAW] for wide in (False, True)
        )
        assert wide.mean() > fair.mean() + 2  # the jaw of frame k is k
        assert wide.min() <= 4  # and no opening is never seen


@pytest.mark.parametrize("stages", [FIRST, FURTHER])
def test_stages_follow_each_other_and_the_last_one_lasts(stages: tuple[Stage, ...]) -> None:
    first, last = stages
    assert first.share + last.share == pytest.approx(1.0)
    times = (0.0, first.share - 0.01, first.share + 0.01, 0.999, 1.0)
    assert [stage_at(stages, time) for time in times] == [first, first, last, last, last]
    assert not last.apart and last.window is None


def test_a_mirrored_variant_turns_the_other_way() -> None:
    sampler = Sampler([make_variant(True)], {"000": make_heard()}, MINI, seed=1, reach=math.inf)
    batch = sampler.batch(whole(16))
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


def test_noise_is_what_sampling_may_start_from_and_has_shared_parts() -> None:
    torch.manual_seed(0)
    noise = draw_noise(torch.empty(64, 8, 4, 16, 16))
    deviation = noise.std((1, 2, 3, 4))
    assert NOISE[0] <= MINI.schedule.start_noise <= NOISE[1]
    assert deviation.min() > NOISE[0] - 0.02 and deviation.max() < NOISE[1] + 0.02
    shared = (noise[:, :, 0] * noise[:, :, 1]).mean((1, 2, 3)) / deviation**2
    assert set((shared * 2).round().int().tolist()) == {1, 2}
