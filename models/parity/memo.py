"""Replays MEMO's stored values: sub-networks, reference features, single modules, network calls."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from models.backbones.memo import build
from models.backbones.memo.joint import AudioModule
from models.backbones.memo.memory import Memories
from models.backbones.memo.network import MemoCall, MemoNet
from models.backbones.pictures import read_pictures, split_past
from models.layers.sd.spatial import Reading, SpatialTransformer
from models.parity import memo_clips, memo_inputs
from models.parity.directory import Directory, Stored
from models.parity.layouts import fold, unfold
from models.parity.memo_nets import Nets, load
from models.parity.memo_watch import Watch, statistics_over
from models.parity.report import Item, Pair, absent, compare, measure

SMALL = 1e-5
CALL = 1e-4  # tolerances as the notes give them
INTERMEDIATE = 2e-3
STREAM = 1e-5
HALVES = 2
EARLIER = (0, 3, 4, 5, 8, 9)  # rows of the reference features that stand for two past frames


def networks() -> dict[str, nn.Module]:
    """The published sizes on the meta device, by the listing's names."""
    with torch.device("meta"):
        return build.networks()


def items(directory: Directory) -> Iterator[Item]:
    """Every stored value of the directory, in the order of the notes."""
    nets = load(directory)
    yield from _subnets(directory, nets)
    yield from _features(directory, nets)
    yield from _units(directory, nets)
    yield from _calls(directory, nets)
    yield from memo_clips.items(directory, nets)
    yield from memo_inputs.items(directory, nets.emotion)


def _subnets(directory: Directory, nets: Nets) -> Iterator[Item]:
    g = directory.golden("subnets")
    yield measure("image_proj.out", SMALL, partial(_run, nets.image, g, "image_proj"))
    yield measure("image_proj.out_zero_input", SMALL, partial(_zero_face, nets, g))
    yield measure("audio_proj.out", SMALL, partial(_run, nets.audio, g, "audio_proj"))
    yield measure("emotion.out", SMALL, partial(_run, nets.emotion, g, "emotion"))


def _run(network: nn.Module, g: Stored, name: str) -> Pair:
    return network(g.float(f"{name}.in")), g[f"{name}.out"]


def _zero_face(nets: Nets, g: Stored) -> Pair:
    made = nets.image(torch.zeros_like(g.float("image_proj.in")))
    return made, g["image_proj.out_zero_input"]


# ---- reference features --------------------------------------------------------------------------


def stored_name(path: str) -> str:
    """``down_blocks.1.attentions.0`` -> ``down.1.0``, as features are stored."""
    block, *rest = path.split(".")
    numbers = [part for part in rest if part.isdigit()]
    kind = block.removesuffix("_blocks").removesuffix("_block")
    return ".".join([kind, *(["0"] if kind == "mid" else []), *numbers])


def _features(directory: Directory, nets: Nets) -> Iterator[Item]:
    g, sub = directory.golden("reference_features"), directory.golden("subnets")
    if "reference.latents_5" not in sub:
        yield absent("reference features", "no reference.latents_5")
        return
    latents = sub.float("reference.latents_5")
    recording = read_pictures(nets.reference, latents, sub.float("encoder_hidden_states"))
    prefix = f"ref{len(latents)}."
    for path, seen in recording.bank.items():
        name = prefix + stored_name(path)
        yield measure(name, CALL, partial(_stored, seen, g, name))


def _stored(seen: Tensor, g: Mapping[str, Tensor], name: str) -> Pair:
    return seen, g[name]


# ---- single modules ------------------------------------------------------------------------------


def _units(directory: Directory, nets: Nets) -> Iterator[Item]:
    g = directory.golden("unit_modules")
    if not len(g):
        yield absent("unit modules", f"no {g.path.name}")
        return
    net = nets.denoiser
    frames = g["motion_module.hidden_states"].shape[2]
    audio = net.get_submodule("down_blocks.2.audio_modules.0")
    assert isinstance(audio, AudioModule)
    block: Any = audio.transformer_blocks[0]
    for name, norm in (("emo_ada_norm1", block.norm1), ("emo_ada_audio_norm1", block.audio_norm1)):
        labels = g[f"{name}.arg1"].repeat_interleave(frames)
        made = norm(g.float(f"{name}.arg0"), labels)
        yield measure(f"{name}.out0", SMALL, partial(_stored, made, g, f"{name}.out0"))
    both = block.attn2(g.float("joint_attn2.arg0"), g.float("joint_attn2.arg1"))
    yield from _pair("joint_attn2", both, g)
    labels = g["joint_audio_block.emotion"].repeat_interleave(frames)
    sound = g.float("joint_audio_block.encoder_hidden_states")
    yield from _pair(
        "joint_audio_block", block(g.float("joint_audio_block.arg0"), sound, labels), g
    )
    yield compare("temporal_basic_block.out0", _basic(net, g), g["temporal_basic_block.out0"], CALL)
    motion = net.motion("down_blocks.2.motion_modules.0")
    x, past = g.float("motion_module.hidden_states"), g.float("motion_module.motion_frames")
    made = motion(fold(x), frames, motion.write(past.transpose(1, 2)))
    out = g["motion_module.out0"]
    yield compare("motion_module.out0", unfold(made, out), out, CALL)
    yield compare("motion_attn0.out0", _linear(net, g, frames), g["motion_attn0.out0"], CALL)


def _pair(name: str, both: tuple[Tensor, Tensor], g: Mapping[str, Tensor]) -> Iterator[Item]:
    for k, made in enumerate(both):
        yield compare(f"{name}.out{k}", made, g[f"{name}.out{k}"], CALL)


def _basic(net: MemoNet, g: Stored) -> Tensor:
    """The spatial block alone: the first half of the rows reads no reference."""
    transformer = net.get_submodule("down_blocks.2.attentions.0")
    assert isinstance(transformer, SpatialTransformer)
    block = transformer.block
    x = g.float("temporal_basic_block.hidden_states")
    half = len(x) // HALVES
    bank = block.attn1.project(g.float("temporal_basic_block.ref_img_feature"))
    reading = Reading(bank, torch.arange(half, len(x)) % HALVES, plain=half)
    assert block.attn2 is not None
    context = block.attn2.project(g.float("temporal_basic_block.encoder_hidden_states"))
    made: Tensor = block(x, reading, context)
    return made


def _linear(net: MemoNet, g: Stored, frames: int) -> Tensor:
    """The first memory attention alone; stored by frame, computed by place."""
    attention: Any = net.motion("down_blocks.2.motion_modules.0").temporal_transformer.block
    attention = attention.attention_blocks[0]
    x, past = (
        g.float(f"motion_attn0.arg{k}").view(HALVES, -1, *g["motion_attn0.arg0"].shape[1:])
        for k in range(2)
    )
    memory = attention.write(past.transpose(1, 2))
    made: Tensor = attention(x.transpose(1, 2).flatten(0, 1), memory)
    places = x.shape[2]
    return made.view(HALVES, places, frames, -1).transpose(1, 2).flatten(0, 1)


# ---- network calls -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """One stored call.

    Attributes:
        past: rows of the reference features that it uses; None for all.
        fresh: whether the memory starts anew; writes: whether it is written at all.
        masked: whether unconditional rows read no reference; over_frames: norm over frames too.
        inputs: the call whose latents and time it takes.
    """

    past: tuple[int, ...] | None
    fresh: bool
    writes: bool
    masked: bool = True
    over_frames: bool = False
    inputs: str | None = None


CASES = {
    "call1": Case(None, fresh=True, writes=True),
    "call2": Case(EARLIER, fresh=False, writes=True),
    "call3": Case(EARLIER, fresh=False, writes=False),
    "call4_new_audio_no_update_flag": Case(EARLIER, fresh=True, writes=True),
    "call5_no_uc_mask": Case(None, fresh=True, writes=True, masked=False),
    "call1_plain_groupnorm": Case(None, True, True, over_frames=True, inputs="call1"),
}


def _calls(directory: Directory, nets: Nets) -> Iterator[Item]:
    g = directory.golden("unet_calls")
    features = directory.golden("reference_features")
    memory: Memories | None = None
    for name, case in CASES.items():
        if f"{name}.out" not in g:
            yield absent(f"{name}.out", f"no {name}.out in {g.path.name}")
            continue
        call, memory = _call(nets, g, features, case, memory)
        x = g.float(f"{case.inputs or name}.latent")
        t = g.float(f"{case.inputs or name}.timestep").reshape(1)
        watch = Watch(nets.denoiser, directory.golden("unet_call1_intermediates"))
        with statistics_over(nets.denoiser, call.frames if case.over_frames else 1), watch:
            rows = fold(x).repeat(HALVES, 1, 1, 1)
            embedding = nets.denoiser.embed(t, HALVES, call.frames)
            made, hidden = nets.denoiser.everything(rows, embedding, call)
        out = g[f"{name}.out"]
        yield compare(f"{name}.out", unfold(made, out), out, CALL)
        yield from _remembered(name, memory, g)
        if name == "call1":
            yield from watch.items()
            yield from _last_layer(directory, nets, call, (rows, embedding, made, hidden))


def _call(
    nets: Nets, g: Stored, features: Stored, case: Case, before: Memories | None
) -> tuple[MemoCall, Memories]:
    net = nets.denoiser
    bank = {}
    for place in net.places():
        path = place.path("attentions" if place.attends else "resnets")
        (name,) = [n for n in features if n.partition(".")[2] == stored_name(path)]
        seen = features.float(name)
        bank[path] = seen if case.past is None else seen[list(case.past)]
    x, audio = g.float("call1.latent"), g.float("audio_embedding")
    frames, (height, width) = x.shape[2], x.shape[3:]
    pictures, past = split_past(net, bank, HALVES, (height, width))
    memory = before
    if case.writes or memory is None:
        memory = net.remember(past, None if case.fresh else before)
    call = MemoCall(
        frames,
        HALVES,
        net.read_bank(pictures),
        net.see_face(g.float("encoder_hidden_states"), frames),
        memory,
        g["audio_emotion"].repeat_interleave(frames),
        audio.flatten(0, 1),
        plain=frames if case.masked else 0,
    )
    return call, memory


def _remembered(name: str, memory: Memories, g: Stored) -> Iterator[Item]:
    """The memory after a call, where it is stored."""
    for stored in g:
        for kind, field in (("KV", 0), ("Z", 1)):
            prefix = f"{name}.memory_{kind}."
            if stored.startswith(prefix):
                path, _, number = stored.removeprefix(prefix).rpartition(".attention_blocks.")
                mine = memory[path][int(number)][field].flatten(0, 2)
                yield compare(stored, mine, g[stored], CALL)


def _last_layer(
    directory: Directory, nets: Nets, call: MemoCall, whole: tuple[Tensor, ...]
) -> Iterator[Item]:
    """Only the last layer: from this very call, and from the stored hidden state and stream."""
    rows, embedding, made, hidden = whole
    assert call.carried is not None
    call.stream = call.carried
    again = nets.denoiser.last(hidden, rows, embedding, call)
    yield compare("last_layer_again", again, made, 0.0)
    g = directory.golden("last_layer_rerun")
    if "out" not in g:
        yield absent("last_layer_rerun.out", f"no {g.path.name}")
        return
    call.stream = g.float("cached_audio_stream")
    rows = fold(g.float("latent")).repeat(HALVES, 1, 1, 1)
    embedding = nets.denoiser.embed(g.float("timestep").reshape(1), HALVES, call.frames)
    made = nets.denoiser.last(fold(g.float("cached_hidden")), rows, embedding, call)
    yield compare("last_layer_rerun.out", unfold(made, g["out"]), g["out"], CALL)
