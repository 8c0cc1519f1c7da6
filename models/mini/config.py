"""The card of ``mini``: sizes of its networks, own plan, engines."""

from __future__ import annotations

from dataclasses import dataclass, field

from models.mini.motion import EXPRESSION, MOUTH_UNITS
from models.registry import ModelCard
from models.spec import DiffusionSpec, ScheduleSpec


@dataclass(frozen=True)
class AutoencoderSpec:
    """Channels of the autoencoder; ``stride`` pixels a latent pixel, ``latent`` channels."""

    latent: int = 12
    encoder: tuple[int, int] = (64, 128)
    decoder: tuple[int, int] = (80, 48)
    stride: int = 8


@dataclass(frozen=True)
class MiniSpec(DiffusionSpec):
    """Sizes of ``mini``'s denoiser (``models/mini/unet.py``).

    Attributes:
        channels, heads: at 32x32, 16x16 and 8x8 latent pixels; heads of attention.
        time_channels: of the sines and cosines that the timestep is embedded in.
        embedding: width of the vector that scales and shifts every resnet.
        audio_channels: width of an audio token.
        audio_features, audio_window: audio features per position, positions per frame.
        mouth_units, motion: lengths of the two explicit condition vectors: ``MOUTH_UNITS`` and
            ``EXPRESSION``.
        reference_grid: side of the grid that reference tokens are pooled to.
        octaves: sines and cosines that encode each number of the condition vectors.
        templates, template_side, template_reach: number, pixels each way and half width, in face
            coordinates, of the maps that conditions are drawn with.
        head_motion: size of the procedural head movement.
        mouth_gain: predicted ``OPENING_UNITS`` are scaled by this: pictures show less of an
            opening than they are conditioned on.
        sigma_background, sigma_face, sigma_mouth: how far from the reference latent the picture
            may go, in latent deviations (the prior's sigma at each latent pixel).
        codec: channels of the autoencoder.
    """

    channels: tuple[int, int, int] = (32, 64, 128)
    heads: tuple[int, int, int] = (2, 2, 4)
    time_channels: int = 64
    embedding: int = 128
    audio_channels: int = 128
    audio_features: int = 288
    audio_window: int = 7
    mouth_units: int = len(MOUTH_UNITS)
    motion: int = len(EXPRESSION)
    reference_grid: int = 8
    octaves: int = 3
    templates: int = 96
    template_side: int = 24
    template_reach: float = 0.85
    head_motion: float = 1.0
    mouth_gain: float = 1.1
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

CARD = ModelCard(
    name="mini",
    load="models.mini.checkpoint:load_generator",
    spec=MINI,
    plan="7:0,3+dfa",  # where the weights do not say; chosen by measurement
    engines=("auto", "eager", "openvino"),
    takes=frozenset({"size", "liveliness"}),
)
