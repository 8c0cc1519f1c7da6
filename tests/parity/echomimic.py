"""Replays EchoMimic's stored values: sub-networks, reference features, network calls, loops."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from models.echomimic.conditioning import EchoMimicConditioning
from models.echomimic.unet import EchoMimicUNet
from models.nn.attention import KeyValue
from models.sd15.attention import ReferenceKV, SpatialTransformer
from models.sd15.cfg import CallContext, zeros_for_uncond
from models.sd15.encoders import VAE_FACTOR
from models.sd15.motion_module import MotionModule
from models.sd15.unet import Block
from tests.parity import echomimic_inputs, echomimic_loops
from tests.parity.capture import ModuleOutputs, fold, like, unfold
from tests.parity.directory import Directory, Stored
from tests.parity.items import Item, Pair, absent, against, compare, guarded, measure
from tests.parity.networks import EchoMimicNetworks

ONE = 2e-5  # tolerance of one forward pass, as the notes give it
SMALL = 1e-5
TIMED = ("time.emb_", "time.proj_")
TIMES = ("0", "166", "999")
_WATCHED = re.compile(r"(?:resnets|attentions|motion_modules|downsamplers|upsamplers)\.\d+$")


# ---- sub-networks --------------------------------------------------------------------------------


def _submodules(directory: Directory, nets: EchoMimicNetworks) -> Iterator[Item]:
    g = directory.golden("submodules")
    yield measure("face.out", SMALL, partial(_face, nets, g, "face.in_mask", "face.out"))
    yield measure("face.out_rand", SMALL, partial(_face, nets, g, "face.in_rand", "face.out_rand"))
    if "ref.in_latents" in g:
        out, recorded = nets.reference.read(g.float("ref.in_latents"))
        yield against(g, "ref.out_sample", out, ONE)
        for path, features in recorded.features.items():
            yield against(g, f"bank.{path}.transformer_blocks.0", features, ONE)
    else:
        yield absent("ref.out_sample", "no ref.in_latents")
    times = {n.rpartition("_")[2] for n in g if n.startswith(TIMED)}
    for time in sorted(times or TIMES, key=float):
        t, embedding = torch.tensor([float(time)]), nets.denoiser.time_embedding
        yield against(g, f"time.proj_{time}", embedding.sinusoids(t), SMALL)
        yield against(g, f"time.emb_{time}", embedding(t), SMALL)
    yield measure("resnet.out", SMALL, partial(_resnet, nets, g))
    yield measure("motion.out", SMALL, partial(_motion, nets, g))
    for name, num_branches in (("t3d.out_cfg", 2), ("t3d.out_nocfg", 1)):
        yield measure(name, ONE, partial(_spatial, nets, g, name, num_branches))
    scale = directory.config["vae"].get("scaling_factor", VAE_FACTOR)
    yield measure("vae.enc_mean_x_scale", SMALL, partial(_encode, nets, g, scale))
    yield measure("vae.dec_out", ONE, partial(_decode, nets, g, scale))


def _face(nets: EchoMimicNetworks, g: Stored, name: str, out: str) -> Pair:
    return unfold(nets.locator(fold(g.float(name))), g[out]), g[out]


def _encode(nets: EchoMimicNetworks, g: Stored, scale: float) -> Pair:
    mean = nets.vae.encode(g.float("vae.in_image")).latent_dist.mean
    return mean * scale, g["vae.enc_mean_x_scale"]


def _decode(nets: EchoMimicNetworks, g: Stored, scale: float) -> Pair:
    return nets.vae.decode(g.float("vae.enc_mean_x_scale") / scale).sample, g["vae.dec_out"]


def _resnet(nets: EchoMimicNetworks, g: Mapping[str, Tensor]) -> Pair:
    x, out = g["resnet.in"].float(), g["resnet.out"]
    embedding = F.silu(g["resnet.temb"].float()).repeat_interleave(x.shape[2], 0)
    output = nets.denoiser.get_submodule("down_blocks.2.resnets.0")(fold(x), embedding)
    return unfold(output, out), out


def _motion(nets: EchoMimicNetworks, g: Mapping[str, Tensor]) -> Pair:
    x, out = g["motion.in"].float(), g["motion.out"]
    module = nets.denoiser.get_submodule("down_blocks.2.motion_modules.0")
    assert isinstance(module, MotionModule)
    return unfold(module(fold(x), x.shape[2]), out), out


def _spatial(
    nets: EchoMimicNetworks, g: Mapping[str, Tensor], name: str, num_branches: int
) -> Pair:
    """The transformer alone, with random reference features, with guidance and without."""
    out, audio = g[name], g["t3d.audio"].float()
    x = g["t3d.in"].float()[-out.shape[0] :]
    module = nets.denoiser.get_submodule("up_blocks.1.attentions.1")
    assert isinstance(module, SpatialTransformer) and module.block.attn2 is not None
    frames = x.shape[2]
    kv = module.block.attn1.project(g["t3d.bank"].float())
    rows = torch.zeros(frames * x.shape[0] // num_branches, dtype=torch.int64)
    reference = ReferenceKV(kv, rows, num_uncond=(num_branches - 1) * frames)
    audio_kv = module.block.attn2.project(audio[-x.shape[0] :].flatten(0, 1))
    return unfold(module(fold(x), reference, audio_kv), out), out


# ---- network calls -------------------------------------------------------------------------------


def _forward(directory: Directory, nets: EchoMimicNetworks) -> Iterator[Item]:
    g, sub = directory.golden("unet_forward"), directory.golden("submodules")
    _, recorded = nets.reference.read(sub.float("ref.in_latents"))
    face = nets.locator(fold(sub.float("face.in_mask")))
    reference_kv = nets.denoiser.project_reference(recorded.features)
    for case, num_branches in (("nocfg", 1), ("cfg", 2)):
        yield from guarded(f"{case}.out", _case(nets, g, case, num_branches, reference_kv, face))


def _case(
    nets: EchoMimicNetworks,
    g: Stored,
    case: str,
    num_branches: int,
    reference_kv: Mapping[str, KeyValue],
    face: Tensor,
) -> Iterator[Item]:
    kind = "_cond" if num_branches == 2 else ""
    x, audio = g.float(f"{case}.in_latents{kind}"), g.float(f"{case}.in_audio{kind}")
    frames, shape = x.shape[2], x.expand(num_branches, *x.shape[1:])
    rows = fold(x).repeat(num_branches, 1, 1, 1)
    cond = EchoMimicConditioning(
        identity_ids=("portrait",),
        face_tokens=None,
        frames=frames,
        num_branches=num_branches,
        last_layer=nets.denoiser.last_layer(),
        reference_kv=reference_kv,
        audio_kv=nets.denoiser.project_audio(audio, num_branches),
        face=zeros_for_uncond(face, num_branches),
    )
    stored = {n for n in g if n.startswith(f"{case}.mid.")}
    with Watch(nets.denoiser, sorted(stored | watched(nets.denoiser, case))) as watch:
        embedding = nets.denoiser.embed(g.float(f"{case}.in_t").reshape(1), num_branches, frames)
        output, hidden = nets.denoiser.full(rows, embedding, CallContext(cond))
    yield against(g, f"{case}.out", unfold(output, shape), ONE)
    yield from watch.items(g)
    again = nets.denoiser.light(hidden, rows, embedding, CallContext(cond))
    yield compare(f"{case}.last_layer_again", again, output, 0.0)


class Watch(ModuleOutputs):
    """Outputs of modules during one call, by the names under which they are stored."""

    def __init__(self, network: EchoMimicUNet, names: list[str]) -> None:
        self._modules = {name: block_end(network, name.split(".mid.")[1]) for name in names}
        super().__init__(network, self._modules.values())

    def items(self, g: Mapping[str, Tensor]) -> Iterator[Item]:
        """Each stored output beside the captured one; tolerance relative to the stored size."""
        for name, path in self._modules.items():
            yield against(g, name, partial(like, self.outputs[path][-1]), ONE, relative=True)


def watched(network: EchoMimicUNet, case: str) -> set[str]:
    """Names of outputs that every directory has, by the notes.

    Of the call without guidance every resnet, attention, motion module and sampler; of the one with
    it whole blocks.
    """
    if case == "cfg":
        blocks = [*(f"down_blocks.{k}" for k in range(4)), "mid_block"]
        paths = [*blocks, "up_blocks.0", "up_blocks.1", "conv_out"]
    else:
        paths = [path for path, _ in network.named_modules() if _WATCHED.search(path)]
        paths += ["conv_in", "conv_norm_out", "conv_out"]
    return {f"{case}.mid.{path}" for path in paths}


def block_end(network: EchoMimicUNet, path: str) -> str:
    """The module whose output is the block's if ``path`` names a block, else ``path``."""
    block = network.get_submodule(path)
    if not isinstance(block, Block):
        return path
    if path == "mid_block":
        return f"{path}.resnets.1"
    for kind in ("downsamplers", "upsamplers"):
        if getattr(block, kind) is not None:
            return f"{path}.{kind}.0"
    return f"{path}.motion_modules.{len(block.layers) - 1}"


SECTIONS = {
    "submodules": _submodules,
    "unet_forward": _forward,
    "loops": echomimic_loops.items,
    "inputs": echomimic_inputs.items,
}
