"""Builds each published model in shapes alone and counts its parts.

Every model: its conditioning is built by its denoiser, then one call of each kind is counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from models.bench.cost import CostCounter, Costs
from models.bench.flops import Label, count_flops, on_meta, total
from models.bench.waste import (
    PublishedEchoMimic,
    PublishedHallo,
    PublishedMemo,
    PublishedOrder,
    project_motion_frames,
)
from models.echomimic import networks as echomimic
from models.echomimic.unet import EchoMimicDenoiser, EchoMimicUNet
from models.errors import LiveheadError
from models.hallo import networks as hallo
from models.hallo.unet import ChunkReference, HalloDenoiser, HalloUNet
from models.lightning.dfa import FaceTokens, ForegroundAttention
from models.memo import networks as memo
from models.memo.unet import ClipReference, MemoDenoiser, MemoReferenceNet, MemoUNet
from models.sd15.cfg import CallContext, SD15Conditioning, SD15Denoiser, zeros_for_uncond
from models.sd15.reference_net import ReferenceNet, read_reference_features, split_motion_frames
from models.spec import DiffusionSpec

STRIDE = 8  # pixels a latent pixel
GUIDED = 2.0  # any guidance that runs two branches
BRANCHES, LEVELS, REGIONS = 2, 4, 3
HALLO_MOTION_FRAMES, MEMO_MOTION_FRAMES = 2, 16
ECHOMIMIC_AUDIO_TOKENS = 50  # a frame
FACE_EMBEDDING, LATENT_CHANNELS = 512, 4


def _spec(name: str, size: int, frames: int) -> DiffusionSpec:
    side = size // STRIDE
    return DiffusionSpec(name, 25.0, frames, 0, 1, (LATENT_CHANNELS, side, side))


def count_hallo(
    size: int, frames: int, share: float, without: frozenset[str] = frozenset()
) -> Costs:
    """Costs of one chunk of Hallo; arguments as of ``CostCounter``."""
    side = size // STRIDE
    with on_meta():
        built = hallo.networks()
        net, reference = built["denoising_unet"], built["reference_unet"]
        assert isinstance(net, HalloUNet) and isinstance(reference, ReferenceNet)
        denoiser = HalloDenoiser(
            _spec("hallo", size, frames), net, GUIDED, without_reference=without
        )
        faces = built["imageproj"](torch.empty(BRANCHES, FACE_EMBEDDING))
        pictures = torch.empty(1 + HALLO_MOTION_FRAMES, LATENT_CHANNELS, side, side)
        features = read_reference_features(reference, pictures, faces)
        portrait, motion_frames = split_motion_frames(net, features, BRANCHES, (side, side))
        windows, face = torch.empty(1, frames, 5, 12, 768), torch.empty(1, 3, size, size)
        audio = zeros_for_uncond(built["audioproj"](windows), BRANCHES).flatten(0, 1)
        once = {
            "reference": _count(
                reference, lambda: read_reference_features(reference, pictures, faces)
            ),
            "reference keys": _count(net, lambda: net.project_reference(portrait)),
            "face keys": _count(net, lambda: net.project_face(faces, 1)),
            "audio keys": _count(net, lambda: net.project_audio(audio)),
            "audio tokens": _count(built["audioproj"], lambda: built["audioproj"](windows)),
            "region": _count(built["face_locator"], lambda: built["face_locator"](face)),
        }
        cond = denoiser.conditioning(
            "",
            None,
            pictures=ChunkReference(net.project_reference(portrait), motion_frames),
            face_kv=net.project_face(faces, frames),
            audio=audio,
            masks=tuple(torch.empty(BRANCHES, REGIONS, (side >> k) ** 2) for k in range(LEVELS)),
            region=zeros_for_uncond(built["face_locator"](face), BRANCHES),
        )

        def repeated() -> None:
            net.project_face(faces.repeat_interleave(frames, 0), 1)
            net.project_audio(audio)

        return _costs(denoiser, cond, PublishedHallo.of(cond, portrait), repeated, share, once)


def count_echomimic(
    guidance: float, size: int, frames: int, share: float, without: frozenset[str] = frozenset()
) -> Costs:
    """Costs of one chunk of EchoMimic; a guidance of 1 runs a single branch."""
    side = size // STRIDE
    with on_meta():
        built = echomimic.networks()
        net, reference = built["denoising_unet"], built["reference_unet"]
        assert isinstance(net, EchoMimicUNet) and isinstance(reference, ReferenceNet)
        denoiser = EchoMimicDenoiser(_spec("echomimic", size, frames), net, guidance, without)
        branches = denoiser.num_branches
        latent = torch.empty(1, LATENT_CHANNELS, side, side)
        audio = torch.empty(1, frames, ECHOMIMIC_AUDIO_TOKENS, 384)
        _, recorded = reference.read(latent)
        features = recorded.features
        once = {
            "reference": _count(reference, lambda: reference.read(latent)),
            "reference keys": _count(net, lambda: net.project_reference(features)),
            "audio keys": _count(net, lambda: net.project_audio(audio, branches)),
        }
        cond = denoiser.conditioning(
            "",
            None,
            reference_kv=net.project_reference(features),
            face=torch.empty(1, net.sizes.channels[0], side, side),
            audio=audio,
        )

        def repeated() -> None:
            net.project_audio(audio, branches)

        return _costs(denoiser, cond, PublishedEchoMimic.of(cond, features), repeated, share, once)


def count_memo(
    size: int, frames: int, share: float, without: frozenset[str] = frozenset()
) -> Costs:
    """Costs of one chunk of MEMO."""
    side = size // STRIDE
    with on_meta():
        built = memo.networks()
        net, reference = built["diffusion_net"], built["reference_net"]
        assert isinstance(net, MemoUNet) and isinstance(reference, MemoReferenceNet)
        denoiser = MemoDenoiser(_spec("memo", size, frames), net, GUIDED, without)
        faces = built["image_proj"](torch.empty(BRANCHES, FACE_EMBEDDING))
        pictures = torch.empty(1 + MEMO_MOTION_FRAMES, LATENT_CHANNELS, side, side)
        features = read_reference_features(reference, pictures, faces)
        portrait, motion_frames = split_motion_frames(net, features, BRANCHES, (side, side))
        windows = torch.empty(1, frames, 5, 12, 768)
        once = {
            "reference": _count(
                reference, lambda: read_reference_features(reference, pictures, faces)
            ),
            "reference keys": _count(net, lambda: net.project_reference(portrait)),
            "face keys": _count(net, lambda: net.project_face(faces, 1)),
            "memory": _count(net, lambda: net.write_memory(motion_frames)),
            "audio tokens": _count(built["audio_proj"], lambda: built["audio_proj"](windows)),
        }
        cond = denoiser.conditioning(
            "",
            None,
            pictures=ClipReference(
                net.project_reference(portrait), net.write_memory(motion_frames)
            ),
            face_kv=net.project_face(faces, frames),
            labels=torch.empty(BRANCHES * frames, dtype=torch.int64),
            audio=zeros_for_uncond(built["audio_proj"](windows).flatten(0, 1), BRANCHES),
        )

        def repeated() -> None:
            net.project_face(faces.repeat_interleave(frames, 0), 1)
            project_motion_frames(net, motion_frames)

        return _costs(denoiser, cond, PublishedMemo.of(cond, portrait), repeated, share, once)


def _count(network: nn.Module, run: Callable[[], object]) -> int:
    return total(count_flops(network, run))


def _costs(
    denoiser: SD15Denoiser[Any],
    cond: SD15Conditioning,
    published: PublishedOrder,
    repeated: Callable[[], None],
    share: float,
    once: Mapping[str, int],
) -> Costs:
    """One call of each kind.

    Args:
        published: the conditioning in the published order; repeated: what the publisher's code runs
            at every step besides.
        share: of face tokens in all tokens.
    """
    net, branches, frames = denoiser.network, cond.num_branches, cond.frames
    _, height, width = denoiser.spec.latent
    x = torch.empty(branches * frames, LATENT_CHANNELS, height, width)
    embedding = net.embed(torch.empty(1), branches, frames)
    ours = denoiser.drop_references(cond)
    published_macs = count_flops(net, lambda: net.full(x, embedding, CallContext(published)))
    published_macs += count_flops(net, repeated)
    context = CallContext(ours, ForegroundAttention(keep=True))
    hidden: list[Tensor] = []
    key = count_flops(net, lambda: hidden.append(net.full(x, embedding, context)[1]))
    tokens = max(1, round(share * height * width))
    face = FaceTokens(torch.empty(branches, tokens, dtype=torch.int64))

    def light(dfa: ForegroundAttention) -> Counter[Label]:
        light_context = CallContext(ours, dfa, dict(context.extra))
        return count_flops(net, lambda: net.light(hidden[0], x, embedding, light_context))

    return Costs(
        frames,
        published_macs,
        key,
        light(ForegroundAttention(face, context.dfa.outputs)),
        light(ForegroundAttention()),
        dict(once),
    )


PROBES: dict[str, CostCounter] = {
    "echomimic": partial(count_echomimic, GUIDED),
    "echomimic-acc": partial(count_echomimic, 1.0),
    "hallo": count_hallo,
    "memo": count_memo,
}


def cost_counter(name: str) -> CostCounter:
    """The counter of one model.

    Raises:
        LiveheadError: no published model has this name (``unknown_model``).
    """
    if name not in PROBES:
        raise LiveheadError(
            f"expected a published model out of {', '.join(PROBES)}; got {name!r}",
            code="unknown_model",
        )
    return PROBES[name]
