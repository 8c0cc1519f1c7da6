"""What Hallo, EchoMimic and MEMO share in their cards: spec, schedules, checkpoint layout."""

from __future__ import annotations

from dataclasses import dataclass

from models.checkpoints.layout import NetworkFile
from models.registry import ModelCard
from models.spec import DiffusionSpec, ScheduleSpec

DDIM_ZERO_SNR = ScheduleSpec(start_noise=1.0, previous="spaced")
"""Hallo, EchoMimic and EchoMimic-Acc: linear betas, zero terminal SNR, trailing, v-prediction."""

FLOW_MATCHING = ScheduleSpec(start_noise=1.0, prediction="flow")
"""MEMO: flow matching, Euler."""

LATENT_512 = (4, 64, 64)


@dataclass(frozen=True)
class SD15Spec(DiffusionSpec):
    """How a model on the Stable Diffusion 1.5 UNet is run.

    Attributes:
        guidance: g of classifier-free guidance; 1 runs the conditional branch alone.
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


@dataclass(frozen=True, kw_only=True)
class SD15Card(ModelCard):
    """A model on the Stable Diffusion 1.5 UNet, with its publisher's checkpoint.

    Attributes:
        spec: the same, typed.
        plan: as many key steps as LightningCP's figures imply (arXiv 2509.00052: 10 of 40, 7 of 30,
            4 of 6, 7 or 8 of 20), one of them the last, the others where what is cached drifts
            least from its key step in sum (``placed_to_the_end``). The drift is the one that the
            paper's figure 1 shows of Hallo, stretched to the other models' steps; on published
            weights it has not been measured here.
        networks: module whose ``networks(config)`` builds the model's own networks by name.
        pipeline: module whose ``make(spec, networks, options, ...)`` puts them to work.
        files: which file of the publisher's folder holds which network, the largest first: what is
            mapped and what is converted then peak together only once.
    """

    spec: SD15Spec
    networks: str = ""
    pipeline: str = ""
    files: tuple[NetworkFile, ...] = ()
    load: str = "models.sd15.load:load_generator"
    engines: tuple[str, ...] = ("auto", "eager", "compiled")
    takes: frozenset[str] = frozenset({"size", "dtype", "devices", "without_reference", "frames"})
    square_step: int = 64  # the autoencoder divides by 8, the UNet's three down-samplers by 8 again
    extra: str = "published"
