"""Counts Hallo's parts in shapes alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from models.bench.cost import Costs
from models.bench.flops import Label, count_flops, on_meta, total
from models.bench.waste import WastefulReading
from models.hallo import networks as build
from models.hallo.conditioning import zeros_for_uncond
from models.hallo.unet import HalloCall, HalloUNet
from models.lightning.focus import Focus
from models.sd15.attention import Reads
from models.sd15.cfg import check_transformers
from models.sd15.reference_bank import read_reference_features, split_motion_frames
from models.sd15.reference_net import ReferenceNet

STRIDE = 8  # pixels a latent cell
PAST = 2  # motion frames
HALVES, LEVELS, REGIONS = 2, 4, 3


@dataclass
class _PublishedOrder(HalloCall):
    """Hallo's call with the reference read in the published order."""

    tokens: Mapping[str, Tensor] = field(default_factory=dict)

    def reading(self, path: str) -> Reads | None:
        """All rows read; the unconditional ones are computed again."""
        return WastefulReading(self.tokens[path], self.rows(), self.plain)


def count_hallo(
    size: int, frames: int, share: float, without: frozenset[str] = frozenset()
) -> Costs:
    """See ``CostCounter``."""
    cells = size // STRIDE
    with on_meta():
        made = build.networks()
        net, reference = made["denoising_unet"], made["reference_unet"]
        assert isinstance(net, HalloUNet) and isinstance(reference, ReferenceNet)
        check_transformers(net, without)
        faces = made["imageproj"](torch.empty(HALVES, 512))
        seen = torch.empty(1 + PAST, net.sizes.latent, cells, cells)
        recording = read_reference_features(reference, seen, faces)
        pictures, past = split_motion_frames(net, recording.bank, HALVES, (cells, cells))
        windows, located = torch.empty(1, frames, 5, 12, 768), torch.empty(1, 3, size, size)
        audio = zeros_for_uncond(made["audioproj"](windows), HALVES).flatten(0, 1)
        once = {
            "reference": total(
                count_flops(reference, lambda: read_reference_features(reference, seen, faces))
            ),
            "reference keys": total(count_flops(net, lambda: net.read_bank(pictures))),
            "face keys": total(count_flops(net, lambda: net.see_face(faces, 1))),
            "audio keys": total(count_flops(net, lambda: net.hear(audio))),
            "audio tokens": total(
                count_flops(made["audioproj"], lambda: made["audioproj"](windows))
            ),
            "region": total(
                count_flops(made["face_locator"], lambda: made["face_locator"](located))
            ),
        }
        call = HalloCall(
            frames,
            HALVES,
            net.read_bank(pictures),
            past,
            net.see_face(faces, frames),
            net.hear(audio),
            tuple(torch.empty(HALVES, REGIONS, (cells >> k) ** 2) for k in range(LEVELS)),
            zeros_for_uncond(made["face_locator"](located), HALVES),
            plain=frames,
        )
        x = torch.empty(HALVES * frames, net.sizes.latent, cells, cells)
        embedding = net.embed(torch.empty(1), HALVES, frames)
        wasteful = _PublishedOrder(**vars(call), tokens=pictures)
        published = count_flops(net, lambda: net.everything(x, embedding, wasteful))
        published += count_flops(net, lambda: net.see_face(faces.repeat_interleave(frames, 0), 1))
        published += count_flops(net, lambda: net.hear(audio))
        ours = replace(call, without_reference=without)
        key = count_flops(net, lambda: net.everything(x, embedding, ours))
        light, plain_light = _light(net, ours, (x, embedding), share)
    return Costs(frames, published, key, light, plain_light, once)


def _light(
    net: HalloUNet, call: HalloCall, given: tuple[Tensor, Tensor], share: float
) -> tuple[Counter[Label], Counter[Label]]:
    """A light step on the face alone, and everywhere."""
    x, embedding = given
    keeping = Focus(keep=True)
    _, hidden = net.everything(x, embedding, replace(call, focus=keeping))
    tokens = max(1, round(share * x.shape[2] * x.shape[3]))
    face = Focus(torch.empty(HALVES, tokens, dtype=torch.int64), keeping.kept)

    def run(focus: Focus) -> Counter[Label]:
        told = replace(call, focus=focus)
        return count_flops(net, lambda: net.last(hidden, x, embedding, told))

    return run(face), run(Focus())
