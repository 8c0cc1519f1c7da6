"""Counts MEMO's parts in shapes alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from models.bench.cost import Costs
from models.bench.flops import Label, count_flops, on_meta, total
from models.bench.waste import WastefulReading, project_past
from models.lightning.focus import Focus
from models.memo import networks as build
from models.memo.unet import MemoCall, MemoReferenceNet, MemoUNet
from models.sd15.attention import Reads
from models.sd15.cfg import check_transformers
from models.sd15.reference_bank import read_reference_features, split_motion_frames

STRIDE = 8  # pixels a latent cell
PAST = 16  # frames that a clip sees of the one before
HALVES = 2


@dataclass
class _PublishedOrder(MemoCall):
    """MEMO's call with the reference read in the published order."""

    tokens: Mapping[str, Tensor] = field(default_factory=dict)

    def reading(self, path: str) -> Reads | None:
        """All rows read; the unconditional ones are computed again."""
        return WastefulReading(self.tokens[path], self.rows(), self.plain)


def count_memo(
    size: int, frames: int, share: float, without: frozenset[str] = frozenset()
) -> Costs:
    """See ``CostCounter``."""
    cells = size // STRIDE
    with on_meta():
        made = build.networks()
        net, reference = made["diffusion_net"], made["reference_net"]
        assert isinstance(net, MemoUNet) and isinstance(reference, MemoReferenceNet)
        check_transformers(net, without)
        channels = net.sizes.latent
        faces = made["image_proj"](torch.empty(HALVES, 512))
        seen = torch.empty(1 + PAST, channels, cells, cells)
        recording = read_reference_features(reference, seen, faces)
        pictures, past = split_motion_frames(net, recording.bank, HALVES, (cells, cells))
        windows = torch.empty(1, frames, 5, 12, 768)
        once = {
            "reference": total(
                count_flops(reference, lambda: read_reference_features(reference, seen, faces))
            ),
            "reference keys": total(count_flops(net, lambda: net.read_bank(pictures))),
            "face keys": total(count_flops(net, lambda: net.see_face(faces, 1))),
            "memory": total(count_flops(net, lambda: net.remember(past))),
            "audio tokens": total(
                count_flops(made["audio_proj"], lambda: made["audio_proj"](windows))
            ),
        }
        call = _call(net, made, pictures, past, faces, windows)
        x = torch.empty(HALVES * frames, channels, cells, cells)
        embedding = net.embed(torch.empty(1), HALVES, frames)
        stream = call.stream

        def run(told: MemoCall) -> Counter[Label]:
            told.stream = stream
            return count_flops(net, lambda: net.everything(x, embedding, told))

        published = run(replace(call, tokens=pictures))
        published += count_flops(net, lambda: net.see_face(faces.repeat_interleave(frames, 0), 1))
        published += count_flops(net, lambda: project_past(net, past))
        key = replace(MemoCall(*_plain(call)), without_reference=without)
        costs = run(key)
        _, hidden = net.everything(x, embedding, replace(key, stream=stream))
        light, plain_light = _light(net, key, stream, (hidden, x, embedding), share)
    return Costs(frames, published, costs, light, plain_light, once)


def _call(
    net: MemoUNet,
    made: Mapping[str, Any],
    pictures: Mapping[str, Tensor],
    past: Mapping[str, Tensor],
    faces: Tensor,
    windows: Tensor,
) -> _PublishedOrder:
    frames = windows.shape[1]
    return _PublishedOrder(
        frames,
        HALVES,
        net.read_bank(pictures),
        net.see_face(faces, frames),
        net.remember(past),
        torch.empty(HALVES * frames, dtype=torch.int64),
        made["audio_proj"](windows).flatten(0, 1).repeat(HALVES, 1, 1),
        plain=frames,
    )


def _plain(call: MemoCall) -> tuple[Any, ...]:
    return (
        call.frames,
        call.num_branches,
        call.bank,
        call.face,
        call.memory,
        call.labels,
        call.stream,
        call.plain,
    )


def _light(
    net: MemoUNet, call: MemoCall, stream: Tensor, given: tuple[Tensor, ...], share: float
) -> tuple[Counter[Label], Counter[Label]]:
    """A light step on the face alone, and everywhere."""
    hidden, x, embedding = given
    keeping = Focus(keep=True)
    whole = replace(call, stream=stream, focus=keeping)
    net.everything(x, embedding, whole)
    assert whole.carried is not None
    heard = whole.carried
    tokens = max(1, round(share * x.shape[2] * x.shape[3]))
    face = Focus(torch.empty(HALVES, tokens, dtype=torch.int64), keeping.kept)

    def run(focus: Focus) -> Counter[Label]:
        told = replace(call, stream=heard, focus=focus)
        return count_flops(net, lambda: net.last(hidden, x, embedding, told))

    return run(face), run(Focus())
