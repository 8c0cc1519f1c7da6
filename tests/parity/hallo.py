"""Replays Hallo's stored values: sub-networks, reference features, network calls, complete runs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn

from models.hallo.audio_module import REGIONS
from models.hallo.conditioning import HalloConditioning
from models.hallo.unet import read_chunk_reference
from models.sd15.cfg import CallContext
from models.sd15.reference_net import read_reference_features, split_motion_frames
from tests.parity import hallo_chunks, hallo_inputs
from tests.parity.capture import fold, unfold
from tests.parity.directory import Directory, Stored
from tests.parity.hallo_trace import Trace
from tests.parity.items import Item, Pair, absent, against, guarded, measure
from tests.parity.networks import HalloNetworks

SMALL = 1e-5
ONE = 2e-5  # tolerances as the notes give them
HALF = 1e-3  # relative: stored as float16
ROUNDED = 1e-4  # float16 features may round either way in the last place; without rounding: 3.4e-4
DIFFERENT = 1e-3  # the least change that a missed quirk causes
NUM_BRANCHES = 2
DIAGNOSES = (
    "diag_eval_mode_out",
    "diag_no_tile_quirk_out",
    "diag_natural_writer_ehs_out",
    "diag_natural_both_out",
)
HIDDEN = "inter.up_blocks.3.hidden_entering_layer2"
_FEWER = re.compile(r"F\d+\.out")  # a call of the first few frames alone
QUIRK = "what a missed quirk gives: must differ"


# ---- sub-networks --------------------------------------------------------------------------------


def _submodules(directory: Directory, nets: HalloNetworks) -> Iterator[Item]:
    g = directory.golden("submodules")
    for name, network in (("imageproj", nets.image), ("audioproj", nets.audio)):
        yield measure(f"{name}.out", SMALL, partial(_run, network, g, name))
    yield measure("imageproj.out_zeros", SMALL, partial(_zero_face, nets, g))
    region = directory.golden("preprocess_image")
    yield measure("face_locator.out", SMALL, partial(_locate, nets, region, g))
    yield measure("vae.enc_mean", SMALL, partial(_encode, nets, g))


def _run(network: nn.Module, g: Stored, name: str) -> Pair:
    return network(g.float(f"{name}.in")), g[f"{name}.out"]


def _zero_face(nets: HalloNetworks, g: Stored) -> Pair:
    return nets.image(torch.zeros_like(g.float("imageproj.in"))), g["imageproj.out_zeros"]


def _locate(nets: HalloNetworks, region: Stored, g: Stored) -> Pair:
    output = nets.locator(region.float("face_region_u8")[None] / 255)
    stored = g["face_locator.out"]
    return output[:, :, None].expand(-1, -1, stored.shape[2], -1, -1), stored


def _encode(nets: HalloNetworks, g: Stored) -> Pair:
    return nets.vae.encode(g.float("vae.enc_in")).latent_dist.mean, g["vae.enc_mean"]


def _reference(directory: Directory, nets: HalloNetworks) -> Iterator[Item]:
    g = directory.golden("submodules")
    if "reference_unet.in_latents" not in g:
        yield absent("reference_unet.out", "no reference_unet.in_latents")
        return
    latents, faces = g.float("reference_unet.in_latents"), g.float("reference_unet.ehs")
    rows = latents.repeat(NUM_BRANCHES, 1, 1, 1)
    out, _ = nets.reference.read(rows, faces[torch.arange(len(rows)) % NUM_BRANCHES])
    yield against(g, "reference_unet.out", out, ONE)
    for path, features in read_reference_features(nets.reference, latents, faces).items():
        name = f"bank_fp16.{path}.transformer_blocks.0"
        yield against(g, name, features, HALF, relative=True)


# ---- network calls -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Given:
    """Stored inputs of the calls."""

    nets: HalloNetworks
    g: Stored
    submodules: Stored
    latents: Tensor
    faces: Tensor

    def conditioning(
        self,
        frames: int,
        weights: tuple[float, ...] = (1.0, 1.0, 1.0),
        *,
        half_precision: bool = False,
    ) -> HalloConditioning:
        """Of the first ``frames`` frames."""
        net, g = self.nets.denoiser, self.g
        reference = read_chunk_reference(
            net, self.nets.reference, self.latents, self.faces, half_precision=half_precision
        )
        return HalloConditioning(
            identity_ids=("portrait",),
            face_tokens=None,
            frames=frames,
            num_branches=NUM_BRANCHES,
            last_layer=net.last_layer(),
            reference_kv=reference.reference_kv,
            motion_frames=reference.motion_frames,
            face_kv=net.project_face(g.float("encoder_hidden_states"), frames),
            audio_kv=net.project_audio(g.float("audio_embedding")[:, :frames].flatten(0, 1)),
            masks=tuple(self._masks(level) for level in range(self.levels)),
            region=g.float("mask_cond_fea")[:, :, 0],
            audio_weights=weights,
        )

    @property
    def levels(self) -> int:
        return len(self.nets.denoiser.sizes.channels)

    def stored_features(self, frames: int) -> HalloConditioning:
        """The same with the stored reference features, which the published code has rounded."""
        net, cond = self.nets.denoiser, self.conditioning(frames)
        names = {path: f"bank_fp16.{path}.transformer_blocks.0" for path in cond.reference_kv}
        features = {path: self.submodules.float(name) for path, name in names.items()}
        height, width = self.latents.shape[2:]
        portrait, motion_frames = split_motion_frames(net, features, NUM_BRANCHES, (height, width))
        return replace(
            cond, reference_kv=net.project_reference(portrait), motion_frames=motion_frames
        )

    def _masks(self, level: int) -> Tensor:
        rows = [self.g.float(f"{region}_mask_{level}") for region in REGIONS]
        clips = torch.stack(rows, dim=1)  # [num_branches * F, 3, L], the same in every frame
        return clips[:: len(clips) // NUM_BRANCHES]

    def run(self, latents: Tensor, t: Tensor, cond: HalloConditioning) -> tuple[Tensor, Tensor]:
        """A full call: the output, and the hidden state that enters the last layer, both folded."""
        embedding = self.nets.denoiser.embed(t.float().reshape(1), NUM_BRANCHES, cond.frames)
        return self.nets.denoiser.full(fold(latents), embedding, CallContext(cond))


def _calls(directory: Directory, nets: HalloNetworks) -> Iterator[Item]:
    g, sub = directory.golden("unet"), directory.golden("submodules")
    if "latents" not in g or "reference_unet.in_latents" not in sub:
        yield absent("out", f"no inputs in {g.path.name}")
        return
    latents, faces = sub.float("reference_unet.in_latents"), sub.float("reference_unet.ehs")
    given = Given(nets, g, sub, latents, faces)
    x, t = g.float("latents"), g["timestep"]
    frames = x.shape[2]
    with Trace(nets.denoiser) as trace:
        output, hidden = given.run(x, t, given.conditioning(frames))
    yield against(g, "out", lambda out: unfold(output, out), ONE)
    yield from guarded("trace", trace.items(directory, g))
    yield from guarded("out_scale", _variants(given, x, t))
    for name in sorted({*DIAGNOSES, *(n for n in g if n.startswith("diag_"))}):
        yield _diagnosis(g, name, output)
    yield from guarded("cached.out", _last_layer(given, frames, hidden))


def _diagnosis(g: Stored, name: str, output: Tensor) -> Item:
    """The output must differ from that of a missed quirk."""
    gap = against(g, name, lambda stored: unfold(output, stored), DIFFERENT)
    return gap if gap.absent else replace(gap, ok=not gap.ok, note=QUIRK)


def _variants(given: Given, x: Tensor, t: Tensor) -> Iterator[Item]:
    g, frames = given.g, x.shape[2]
    rounded = "out_bank_fp16_rounded"

    def judge(
        label: str, name: str, conditioning: Callable[[], HalloConditioning], limit: float = ONE
    ) -> Item:
        def replay() -> Pair:
            fewer = _FEWER.fullmatch(name)
            latents = g.float(name.replace("out", "latents")) if fewer else x
            return _call(given, latents, t, conditioning()), g[name]

        return measure(label, limit, replay)

    yield judge(rounded, rounded, partial(given.conditioning, frames, half_precision=True), ROUNDED)
    yield judge(f"{rounded} (stored banks)", rounded, partial(given.stored_features, frames))
    scaled = [n for n in g if n.startswith("out_scale_")]
    if not scaled:
        yield absent("out_scale", f"no out_scale_* in {g.path.name}")
    for name in scaled:
        weights = tuple(float(part) for part in name.removeprefix("out_scale_").split("_"))
        yield judge(name, name, partial(given.conditioning, frames, weights))
    for name in sorted(n for n in g if _FEWER.fullmatch(n)) or ["F3.out"]:
        latents = name.replace("out", "latents")
        yield judge(name, name, partial(_fewer_frames, given, latents))


def _fewer_frames(given: Given, latents: str) -> HalloConditioning:
    return given.conditioning(given.g[latents].shape[2])


def _call(given: Given, latents: Tensor, t: Tensor, cond: HalloConditioning) -> Tensor:
    return unfold(given.run(latents, t, cond)[0], latents)


def _last_layer(given: Given, frames: int, hidden: Tensor) -> Iterator[Item]:
    """The last layer alone, from this call's hidden state and from the stored one."""
    g, net = given.g, given.nets.denoiser
    if "cached.latents" not in g:
        yield absent("cached.out", "no cached.latents")
        return
    cond, x, t = given.conditioning(frames), g.float("cached.latents"), g["cached.timestep"]
    embedding = net.embed(t.float().reshape(1), NUM_BRANCHES, frames)

    def last(entering: Tensor, out: Tensor) -> Tensor:
        return unfold(net.light(entering, fold(x), embedding, CallContext(cond)), out)

    yield against(g, "cached.out", lambda out: last(fold(g.float(HIDDEN)), out), ONE)
    label = "cached.out (own hidden state)"
    yield against(g, "cached.out", partial(last, hidden), ONE, label=label)
    output, _ = given.run(x, t, cond)
    yield against(g, "cached.full_forward_out", lambda out: unfold(output, out), ONE)


SECTIONS = {
    "submodules": _submodules,
    "reference_unet": _reference,
    "unet": _calls,
    "pipeline": hallo_chunks.items,
    "inputs": hallo_inputs.items,
}
