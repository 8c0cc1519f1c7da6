"""What the denoiser's training draws: chunks, weights, steps and noise."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from models.lightning.schedule import trailing_steps
from models.mini.autoencoder import Autoencoder
from models.mini.config import MINI
from models.mini.motion import EXPRESSION, MOTION, MOUTH_UNITS
from models.mini.unet import MiniUNet
from models.training.batches import (
    JAW_OPEN,
    MIRROR,
    NEUTRAL_SHARE,
    PHOTO_SHARE,
    BatchSampler,
    Phase,
    Window,
    loss_weight,
)
from models.training.denoiser import (
    FINETUNE_PHASES,
    NOISE_STD,
    PATCH_SIZE,
    PHASES,
    Prediction,
    crop_reference,
    image_loss,
    phase_at,
    predict,
    sample_noise,
    sample_timesteps,
    v_loss,
)
from models.training.latents import Variant
from models.training.speech_features import ClipSpeech

pytestmark = pytest.mark.unit

FRAMES = 40
PHOTO, NEUTRAL = 100.0, 200.0


def whole(batch_size: int) -> Phase:
    return Phase(share=1.0, batch_size=batch_size, independent_frames=False, window=None)


def make_speech() -> ClipSpeech:
    chunks = FRAMES // 4 - 1
    number = torch.arange(float(FRAMES))
    features = torch.zeros(2, chunks, 4, 7, 288, dtype=torch.float16)
    predicted = torch.zeros(2, chunks, 4, len(MOUTH_UNITS))
    for version in range(2):
        for k in range(chunks):
            first = ClipSpeech.start(version, k)
            predicted[version, k] = torch.arange(first, first + 4.0)[:, None]
    mouth = number[:, None].expand(-1, len(MOUTH_UNITS)).clone()
    motion = number[:, None].expand(-1, len(MOTION)).clone()
    return ClipSpeech(features, predicted, mouth, motion)


def make_variant(mirrored: bool) -> Variant:
    latents = torch.arange(float(FRAMES)).view(-1, 1, 1, 1).expand(-1, *MINI.latent).half()
    stills = torch.stack([torch.full(MINI.latent, PHOTO), torch.full(MINI.latent, NEUTRAL)])
    return Variant(
        "000",
        latents,
        stills.half(),
        torch.ones(32, 32),
        torch.full((FRAMES, 2), 16.0),
        torch.tensor([12.0, 12.0, 20.0, 12.0]).expand(FRAMES, -1),
        torch.tensor([16.0, 16.0]),
        mirrored,
    )


def make_sampler(speech: ClipSpeech | None = None, *, mirrored: bool = False) -> BatchSampler:
    clips = {"000": speech or make_speech()}
    return BatchSampler([make_variant(mirrored)], clips, MINI, seed=1)


def test_latents_mouth_and_motion_of_a_chunk_are_the_same_frames() -> None:
    sampler = make_sampler()
    batch = sampler.batch(whole(32))
    shown = batch.x0[:, 0, :, 0, 0]
    assert torch.equal(batch.mouth[:, :, 0], shown)
    assert torch.equal(batch.motion[:, :, 0], shown)  # blink
    assert batch.motion.shape[-1] == len(EXPRESSION)
    assert torch.all(shown[:, 1:] - shown[:, :-1] == 1)
    assert shown.max() < FRAMES


def test_frames_drawn_apart_share_their_reference_and_keep_their_own_conditions() -> None:
    sampler = make_sampler()
    batch = sampler.batch(Phase(share=1.0, batch_size=64, independent_frames=True, window=16))
    shown = batch.x0[:, 0, :, 0, 0]
    assert torch.equal(batch.mouth[:, :, 0], shown)
    assert torch.any(shown[:, 1:] - shown[:, :-1] != 1)


def test_references_are_mostly_the_portrait_as_it_is() -> None:
    reference = make_sampler().batch(whole(400)).prior.latent[:, 0, 0, 0, 0]
    shares = [float((reference == value).float().mean()) for value in (PHOTO, NEUTRAL)]
    assert shares == pytest.approx([PHOTO_SHARE, NEUTRAL_SHARE], abs=0.08)
    others = reference[(reference != PHOTO) & (reference != NEUTRAL)]
    assert len(others) > 0 and others.max() < FRAMES  # any frame, in any expression


def test_a_window_starts_on_the_coarsest_grid_and_lies_inside() -> None:
    sampler = make_sampler()
    phase = Phase(share=1.0, batch_size=2, independent_frames=True, window=16)
    windows = [sampler.batch(phase).window for _ in range(40)]
    assert all(w and w.top % 4 == w.left % 4 == 0 and w.side == 16 for w in windows)
    assert all(w and 0 <= w.top <= 16 and 0 <= w.left <= 16 for w in windows)
    assert len(set(windows)) > 1


def test_the_loss_in_a_window_sees_what_lies_in_it_alone() -> None:
    torch.manual_seed(0)
    net = MiniUNet(MINI)
    sampler = make_sampler()
    batch = sampler.batch(Phase(share=1.0, batch_size=2, independent_frames=False, window=16))
    assert batch.window is not None
    noise, t = torch.randn_like(batch.x0), torch.tensor([999, 500])
    loss = v_loss(predict(net, batch, t, noise))
    outside = batch.x0.clone()
    batch.window.crop(outside)[:] = 0
    moved = replace(batch, x0=batch.x0 + outside)
    assert torch.equal(v_loss(predict(net, moved, t, noise)), loss)
    reference = net.reference(["", ""], batch.prior, batch.geometry)
    crop = crop_reference(reference, Window(8, 4, 16))
    assert [level.shape[-1] for level in crop.maps] == [16, 8, 4]
    assert torch.equal(crop.maps[1], reference.maps[1][..., 4:12, 2:10])


def test_predicted_x0_is_the_clean_latents_when_the_velocity_is_right() -> None:
    net = MiniUNet(MINI)
    sampler = make_sampler()
    batch = sampler.batch(whole(3))
    prediction = predict(net, batch, torch.tensor([999, 500, 20]), 0.3 * torch.randn_like(batch.x0))
    sigma = net.noise[torch.tensor([999, 500, 20])].view(-1, 1, 1, 1, 1)
    error = prediction.v - prediction.target
    assert torch.allclose(prediction.predicted_x0 + sigma * error, prediction.x0, atol=1e-4)
    assert torch.equal(prediction.x0, batch.x0)


def test_images_are_compared_where_most_weight_is_and_in_the_frames_asked_for() -> None:
    torch.manual_seed(0)
    autoencoder = Autoencoder().requires_grad_(False)
    true = torch.randn(2, 12, 4, 20, 20)
    weight = torch.full((2, 1, 4, 20, 20), 0.1)
    weight[..., 4:16, 6:18] = 1.0

    def loss_of(change: tuple[int, int, int], chunks: int = 2) -> float:
        frame, row, column = change
        changed = true.clone()
        changed[1:, :, frame, row, column] += 3.0
        prediction = Prediction(changed, true, weight, changed, true)
        frames = torch.tensor([0, 2])
        return float(
            image_loss(autoencoder, same, prediction, frames, chunks=chunks, anywhere=False)
        )

    assert PATCH_SIZE == 12
    assert loss_of((2, 4, 6)) > 1e-4
    assert loss_of((1, 4, 6)) == pytest.approx(0.0, abs=1e-6)
    assert loss_of((2, 3, 6)) == pytest.approx(0.0, abs=1e-6)
    assert loss_of((2, 4, 6), chunks=1) == pytest.approx(0.0, abs=1e-6)


def same(decoded: Tensor, true: Tensor) -> Tensor:
    """A perceptual distance that sees no difference."""
    return torch.zeros(())


def test_wide_openings_are_drawn_more_often_where_asked() -> None:
    sampler = make_sampler()
    for independent_frames in (False, True):
        phase = replace(whole(200), independent_frames=independent_frames)
        fair, wide = (
            sampler.batch(replace(phase, wide_mouths=wide)).mouth[..., JAW_OPEN]
            for wide in (False, True)
        )
        assert wide.mean() > fair.mean() + 2  # the jaw of frame k is k
        assert wide.min() <= 4  # and no opening is never seen


@pytest.mark.parametrize("phases", [PHASES, FINETUNE_PHASES])
def test_phases_follow_each_other_and_the_last_one_lasts(phases: tuple[Phase, ...]) -> None:
    first, last = phases
    assert first.share + last.share == pytest.approx(1.0)
    times = (0.0, first.share - 0.01, first.share + 0.01, 0.999, 1.0)
    assert [phase_at(phases, time) for time in times] == [first, first, last, last, last]
    assert not last.independent_frames and last.window is None


def test_a_mirrored_variant_looks_the_other_way() -> None:
    sampler = make_sampler(mirrored=True)
    batch = sampler.batch(whole(16))
    assert torch.equal(batch.motion[:, :, 0], batch.x0[:, 0, :, 0, 0])
    assert torch.equal(batch.motion[:, :, 1], -batch.x0[:, 0, :, 0, 0])
    assert [EXPRESSION[k] for k in (MIRROR < 0).nonzero()[:, 0]] == ["gaze_yaw"]


def test_weights_have_mean_one_and_favour_the_mouth() -> None:
    weight = loss_weight(
        torch.stack([torch.zeros(32, 32), torch.ones(32, 32)]),
        torch.tensor([[[16.0, 24.0]] * 3] * 2),
        torch.tensor([[[10.0, 12, 22, 12]] * 3] * 2),
    )
    assert weight.shape == (2, 3, 1, 32, 32)
    assert torch.allclose(weight.mean((1, 2, 3, 4)), torch.ones(2))
    assert weight[0, 0, 0, 23, 15] > 10 * weight[0, 0, 0, 0, 0]


def test_steps_are_mostly_those_that_sampling_visits() -> None:
    torch.manual_seed(0)
    steps = sample_timesteps(4000, MINI)
    grid = torch.tensor(trailing_steps(1000, MINI.steps))
    assert 0.65 < torch.isin(steps, grid).float().mean() < 0.78
    assert (steps == 999).float().mean() > 0.1


def test_noise_is_what_sampling_may_start_from_and_has_shared_parts() -> None:
    torch.manual_seed(0)
    noise = sample_noise(torch.empty(64, 8, 4, 16, 16))
    deviation = noise.std((1, 2, 3, 4))
    assert NOISE_STD[0] <= MINI.schedule.start_noise <= NOISE_STD[1]
    assert deviation.min() > NOISE_STD[0] - 0.02 and deviation.max() < NOISE_STD[1] + 0.02
    shared = (noise[:, :, 0] * noise[:, :, 1]).mean((1, 2, 3)) / deviation**2
    assert set((shared * 2).round().int().tolist()) == {1, 2}
