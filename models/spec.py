"""Rows that fully describe a backbone and its sampler; a variant is a row, not a file."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from models.mini.autoencoder import AutoencoderSpec
from models.mini.motion import MOTION, MOUTH_UNITS

Prediction = Literal["v", "flow"]
"""What a network predicts: the velocity of diffusion, or that of flow matching."""


@dataclass(frozen=True)
class ScheduleSpec:
    """The forward process and the time steps that a sampler visits.

    Attributes:
        train_steps: length of the training schedule.
        beta_start, beta_end: ends of the linear beta schedule.
        zero_terminal_snr: rescale so that the last step is pure noise (arXiv 2305.08891, alg. 1).
        start_noise: the noise that sampling starts from is scaled by this; below 1 trades variety
            for calm pictures.
        prediction: what the network predicts; with ``"flow"`` there are no betas.
        previous: where a step leads: to the next time in the list, the last one to clean latents
            (``"listed"``), or ``train_steps // T`` training steps down (``"spaced"``, as published
            for DDIM: the last step may then end above clean latents).
    """

    train_steps: int = 1000
    beta_start: float = 0.00085
    beta_end: float = 0.012
    zero_terminal_snr: bool = True
    start_noise: float = 0.5
    prediction: Prediction = "v"
    previous: Literal["listed", "spaced"] = "listed"


PUBLISHED_DDIM = ScheduleSpec(start_noise=1.0, previous="spaced")
"""Hallo, EchoMimic and EchoMimic-Acc: linear betas, zero terminal SNR, trailing, v-prediction."""

PUBLISHED_FLOW = ScheduleSpec(start_noise=1.0, prediction="flow")
"""MEMO: flow matching, Euler."""


@dataclass(frozen=True)
class DiffusionSpec:
    """What every backbone tells the sampler and the façade about itself.

    Attributes:
        name: of the row.
        fps: frames per second of media time.
        chunk_frames: F.
        lookahead_frames: future audio, in frames.
        steps: T, sampling steps of the bundled plan.
        latent: (channels, height, width) of one frame's latent.
    """

    name: str
    fps: float
    chunk_frames: int
    lookahead_frames: int
    steps: int
    latent: tuple[int, int, int]
    schedule: ScheduleSpec = field(default_factory=ScheduleSpec)


@dataclass(frozen=True)
class MiniSpec(DiffusionSpec):
    """Sizes of ``mini``, the bundled network (``models/mini/unet.py``).

    Attributes:
        channels, heads: at 32, 16 and 8 cells; heads of attention.
        time_channels: of the sines and cosines that time is embedded in.
        embedding: width of the vector that scales and shifts every resnet.
        audio_channels: width of an audio token.
        audio_features, audio_window: speech features per position, positions per frame.
        mouth_units, motion: lengths of the two explicit condition vectors.
        reference_grid: side of the grid that reference tokens are pooled to.
        octaves: sines and cosines that each number of the condition vectors is told in.
        templates, template_side, template_reach: number, cells each way and half width, in face
            coordinates, of the maps that conditions are drawn with (``models/mini/field.py``).
        head_motion: size of the procedural head movement; the network has learnt small ones best.
        mouth_gain: what is heard of the mouth's movement is told this much larger: pictures show
            less of an opening than they are told.
        sigma_background, sigma_face, sigma_mouth: how far from the reference latent the picture
            may go, in latent deviations (the anchor's per-cell sigma).
    """

    channels: tuple[int, int, int] = (32, 64, 128)
    heads: tuple[int, int, int] = (2, 2, 4)
    time_channels: int = 64
    embedding: int = 128
    audio_channels: int = 128
    audio_features: int = 288
    audio_window: int = 7
    mouth_units: int = len(MOUTH_UNITS)
    motion: int = len(MOTION)
    reference_grid: int = 8
    octaves: int = 3
    templates: int = 96
    template_side: int = 24
    template_reach: float = 0.85
    head_motion: float = 0.3
    mouth_gain: float = 1.08
    sigma_background: float = 0.02
    sigma_face: float = 0.35
    sigma_mouth: float = 1.0
    codec: AutoencoderSpec = field(default_factory=AutoencoderSpec)


MINI = MiniSpec(
    name="mini",
    fps=25.0,
    chunk_frames=4,
    lookahead_frames=2,
    steps=10,
    latent=(12, 32, 32),
    schedule=ScheduleSpec(start_noise=0.3),
)


MINI_PLAN = "10:0,5+dfa"
"""How the steps of ``mini`` are run where its weights do not say; chosen by measurement."""


@dataclass(frozen=True)
class SD15Spec(DiffusionSpec):
    """How a published model is run.

    Attributes:
        guidance: g; 1 runs the conditional branch alone.
        past: frames of the chunk before that the next one sees.
        first_past: how many of them the portrait stands for in the first chunk.
        overlap: frames that neighbouring windows share (EchoMimic).
        without_reference: paths of transformers that do not read the reference.
    """

    guidance: float = 1.0
    past: int = 0
    first_past: int = 0
    overlap: int = 0
    without_reference: tuple[str, ...] = ()


SIZE_512 = (4, 64, 64)
PUBLISHED_SPECS = {
    spec.name: spec
    for spec in (
        SD15Spec(
            "hallo", 25.0, 16, 2, 40, SIZE_512, PUBLISHED_DDIM, guidance=3.5, past=2, first_past=2
        ),
        SD15Spec("echomimic", 24.0, 9, 3, 30, SIZE_512, PUBLISHED_DDIM, guidance=2.5, overlap=3),
        SD15Spec("echomimic-acc", 24.0, 9, 3, 6, SIZE_512, PUBLISHED_DDIM, overlap=3),
        SD15Spec(
            "memo", 30.0, 16, 2, 20, SIZE_512, PUBLISHED_FLOW, guidance=3.5, past=16, first_past=16
        ),
    )
}
"""By name. EchoMimic's chunk is what a window of twelve frames adds to the one before."""

PUBLISHED_PLANS = {
    "hallo": "40:0,2,4,7,11,17,23,29,35,39+dfa",
    "echomimic": "30:0,2,5,9,17,25,29+dfa",
    "echomimic-acc": "6:0,1,3,5+dfa",
    "memo": "20:0,1,3,5,9,13,17,19+dfa",
}
"""How steps are run if nobody says otherwise, as ``models.lightning.plan`` reads it.

As many key steps as LightningCP's figures imply (arXiv 2509.00052: 10 of 40, 7 of 30, 4 of 6, 7 or
8 of 20), one of them the last, the others where what is cached drifts least from its key step in
sum (``placed_to_the_end``). The drift is the one that the paper's figure 1 shows of Hallo,
stretched to the other models' steps; on published weights it has not been measured here.
"""
