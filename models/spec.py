"""What a sampler must know of a model: its noise schedule and the shape of its latents."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Prediction = Literal["v", "flow"]
"""What a network predicts: the velocity of diffusion, or that of flow matching."""


@dataclass(frozen=True)
class ScheduleSpec:
    """The forward process and the timesteps that a sampler visits.

    Attributes:
        train_steps: length of the training schedule.
        beta_start, beta_end: ends of the linear beta schedule.
        zero_terminal_snr: rescale so that the last step is pure noise (arXiv 2305.08891, alg. 1).
        start_noise: the noise that sampling starts from is scaled by this; below 1 trades variety
            for calm pictures.
        prediction: what the network predicts; with ``"flow"`` there are no betas.
        previous: where a step leads: to the next timestep in the list, the last one to clean
            latents (``"listed"``), or ``train_steps // T`` training steps down (``"spaced"``, as
            published for DDIM: the last step may then end above clean latents).
    """

    train_steps: int = 1000
    beta_start: float = 0.00085
    beta_end: float = 0.012
    zero_terminal_snr: bool = True
    start_noise: float = 0.5
    prediction: Prediction = "v"
    previous: Literal["listed", "spaced"] = "listed"


@dataclass(frozen=True)
class DiffusionSpec:
    """What every model tells the sampler and the generator about itself.

    Attributes:
        name: of the model.
        fps: frames per second of media time.
        chunk_frames: F.
        lookahead_frames: future audio, in frames.
        steps: T, sampling steps of the model's own plan.
        latent: (channels, height, width) of one frame's latent.
    """

    name: str
    fps: float
    chunk_frames: int
    lookahead_frames: int
    steps: int
    latent: tuple[int, int, int]
    schedule: ScheduleSpec = field(default_factory=ScheduleSpec)
