"""A tiny ``mini`` with random weights in which everything matters, for exactness tests.

Knows nothing about trained weights: every zero-initialised output is filled, so that no path of the
network is silent.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from models.lightning.dfa import token_indices
from models.mini.conditioning import MiniConditioning
from models.mini.config import AutoencoderSpec, MiniSpec
from models.mini.prior import Prior, geometry_planes, sigma_map
from models.mini.unet import MiniUNet
from models.runtime.engine import Program
from models.spec import ScheduleSpec

TINY = MiniSpec(
    name="tiny",
    fps=25.0,
    chunk_frames=3,
    lookahead_frames=1,
    steps=6,
    latent=(4, 16, 16),
    channels=(8, 16, 32),
    embedding=24,
    audio_channels=20,
    audio_features=10,
    audio_window=3,
    reference_grid=4,
    octaves=2,
    templates=6,
    template_side=8,
    codec=AutoencoderSpec(latent=4, encoder=(8, 12), decoder=(8, 8)),
)
SNR_ABOVE_ZERO = ScheduleSpec(zero_terminal_snr=False, start_noise=1.0)


def randomise(module: nn.Module, seed: int = 0) -> None:
    """Fill every parameter, by its name and the seed alone, with values of a useful size."""
    for index, (name, parameter) in enumerate(sorted(module.named_parameters())):
        generator = torch.Generator().manual_seed(1000 * seed + index)
        fan_in = parameter[0].numel() if parameter.dim() > 1 else 8
        with torch.no_grad():
            parameter.normal_(0.0, fan_in**-0.5, generator=generator)
            if "norm" in name and name.endswith("weight"):
                parameter.add_(1.0)


def tiny_net(
    *, fused: bool = False, spec: MiniSpec = TINY, seed: int = 0, dtype: torch.dtype = torch.float32
) -> MiniUNet:
    """A network for inference, plain or with its fast forms."""
    net = MiniUNet(spec).eval().requires_grad_(False)
    randomise(net, seed)
    kept = net.signal, net.noise
    net.to(dtype)
    net.signal, net.noise = kept
    if fused:
        net.fuse()
    return net


def tiny_condition(
    net: MiniUNet, seed: int = 0, *, identity_id: str | None = None, head: int = 3
) -> MiniConditioning:
    """Conditions of one chunk of one identity; its head begins ``head`` cells from the border."""
    spec, generator = net.spec, torch.Generator().manual_seed(77 + seed)
    (channels, height, width), frames = spec.latent, spec.chunk_frames
    dtype = net.conv_in.weight.dtype

    def rand(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    mask = torch.zeros(1, height, width)
    mask[:, head:, head : width - head] = 1.0
    mouth = torch.tensor([[width * 0.5, height * 0.72]])
    eyes = torch.tensor([[width * 0.36, height * 0.4, width * 0.64, height * 0.4]])
    sigma = sigma_map(mask, mouth, eyes, spec)
    anchor = Prior(rand(1, 1, channels, height, width), sigma[:, None])
    geometry = geometry_planes(mask, mouth, eyes).to(dtype)
    reference = net.reference([identity_id or f"identity {seed}"], anchor, geometry)
    face = (sigma[0, 0] > spec.sigma_background).float()
    reference = replace(reference, foreground=token_indices(face))
    return net.condition(
        reference,
        rand(1, frames, spec.audio_window, spec.audio_features).to(dtype),
        rand(1, frames, spec.mouth_units).to(dtype),
        rand(1, frames, spec.motion).to(dtype),
    )


def with_foreground(cond: MiniConditioning, foreground: Tensor | None) -> MiniConditioning:
    """The same conditions with other face tokens."""
    return replace(cond, reference=replace(cond.reference, foreground=foreground))


def start(seed: int = 0, batch: int = 1, spec: MiniSpec = TINY) -> Tensor:
    """Start noise [B, C, F, H, W]."""
    channels, height, width = spec.latent
    generator = torch.Generator().manual_seed(500 + seed)
    return torch.randn(batch, channels, spec.chunk_frames, height, width, generator=generator)


def largest_difference(a: Tensor | Sequence[float], b: Tensor | Sequence[float]) -> float:
    """max |a - b| over max |b|, for assertions that say how far off something is."""
    first, second = torch.as_tensor(a).double(), torch.as_tensor(b).double()
    return float((first - second).abs().max() / second.abs().max().clamp(min=1e-12))


class Interpreter:
    """An engine that compiles nothing, holds callers to the shapes they announced, and counts."""

    name = "interpreter"

    def __init__(self) -> None:
        self.compiled: list[str] = []

    def compile(
        self,
        module: nn.Module,
        example: tuple[Tensor, ...],
        free: Collection[tuple[int, int]] = (),
    ) -> Program:
        self.compiled.append(type(module).__name__)

        def shape(index: int, tensor: Tensor) -> list[int]:
            sizes = enumerate(tensor.shape)
            return [-1 if (index, axis) in free else length for axis, length in sizes]

        announced = [shape(*item) for item in enumerate(example)]

        def run(*inputs: Tensor) -> tuple[Tensor, ...]:
            assert [shape(*item) for item in enumerate(inputs)] == announced
            outputs: tuple[Tensor, ...] = module(*inputs)
            return outputs

        return run
