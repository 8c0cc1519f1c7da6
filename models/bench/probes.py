"""Builds each published model in shapes alone and counts its parts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor

from models.bench.cost import CostCounter, Costs
from models.bench.flops import count_flops, on_meta, total
from models.bench.hallo_probe import count_hallo
from models.bench.memo_probe import count_memo
from models.bench.waste import WastefulReading
from models.echomimic import networks as echomimic
from models.echomimic.unet import EchoMimicCall, EchoMimicUNet
from models.errors import LiveheadError
from models.lightning.focus import Focus
from models.sd15.attention import Reads
from models.sd15.cfg import check_transformers
from models.sd15.reference_net import ReferenceNet

STRIDE = 8  # pixels a latent cell
AUDIO_TOKENS = 50  # of EchoMimic, a frame


@dataclass
class _PublishedOrder(EchoMimicCall):
    """EchoMimic's call with the reference read in the published order."""

    tokens: Mapping[str, Tensor] = field(default_factory=dict)

    def reading(self, path: str) -> Reads | None:
        """All rows read; the unconditional ones are computed again."""
        rows = torch.zeros(self.num_branches * self.frames, dtype=torch.int64, device="meta")
        return WastefulReading(self.tokens[path], rows, (self.num_branches - 1) * self.frames)


def _echomimic(
    num_branches: int, size: int, frames: int, share: float, without: frozenset[str] = frozenset()
) -> Costs:
    """See ``CostCounter``; with two halves guided."""
    cells = size // STRIDE
    with on_meta():
        made = echomimic.networks()
        net, reference = made["denoising_unet"], made["reference_unet"]
        assert isinstance(net, EchoMimicUNet) and isinstance(reference, ReferenceNet)
        check_transformers(net, without)
        width = net.sizes.channels[0]
        latent = torch.empty(1, net.sizes.latent, cells, cells)
        features = torch.empty(1, frames, AUDIO_TOKENS, 384)
        _, recording = reference.read(latent)
        once = {
            "reference": total(count_flops(reference, lambda: reference.read(latent))),
            "reference keys": total(count_flops(net, lambda: net.read_bank(recording.bank))),
            "audio keys": total(
                count_flops(net, lambda: net.hear(features, num_branches=num_branches))
            ),
        }
        bank, heard = net.read_bank(recording.bank), net.hear(features, num_branches=num_branches)
        face = torch.empty(num_branches, width, cells, cells)
        rows = latent.repeat(num_branches * frames, 1, 1, 1)
        embedding = net.embed(torch.empty(1), num_branches, frames)
        calls: dict[str, Any] = {
            "key": EchoMimicCall(
                frames, num_branches, bank, heard, face, without_reference=without
            ),
            "published": _PublishedOrder(
                frames, num_branches, bank, heard, face, tokens=dict(recording.bank)
            ),
            "light": EchoMimicCall(
                frames, num_branches, bank, heard, face, without_reference=without
            ),
        }
        key = count_flops(net, lambda: net.everything(rows, embedding, calls["key"]))
        published = count_flops(net, lambda: net.everything(rows, embedding, calls["published"]))
        published += count_flops(net, lambda: net.hear(features, num_branches=num_branches))
        keeping = Focus(keep=True)
        calls["key"].focus = keeping
        _, hidden = net.everything(rows, embedding, calls["key"])
        plain = count_flops(net, lambda: net.last(hidden, rows, embedding, calls["light"]))
        tokens = torch.empty(num_branches, max(1, round(share * cells**2)), dtype=torch.int64)
        calls["light"].focus = Focus(tokens, keeping.kept)
        light = count_flops(net, lambda: net.last(hidden, rows, embedding, calls["light"]))
    return Costs(frames, published, key, light, plain, once)


PROBES: dict[str, CostCounter] = {
    "echomimic": partial(_echomimic, 2),
    "echomimic-acc": partial(_echomimic, 1),
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
