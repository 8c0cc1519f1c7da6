"""Replays MEMO's stored values: networks, single modules, calls, clips, and audio features."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from models.audio.wav2vec2 import Wav2VecFeatures, zero_mean_unit_variance
from models.checkpoints import build as shared
from models.memo.audio_module import JointAudioModule
from models.memo.conditioning import MemoConditioning
from models.memo.memory_attention import Memories
from models.memo.unet import AUDIO, MemoUNet
from models.sd15.attention import ReferenceKV, SpatialTransformer
from models.sd15.cfg import CallContext
from models.sd15.reference_net import read_reference_features, split_motion_frames
from tests.parity import memo_clips
from tests.parity.capture import fold, unfold
from tests.parity.directory import Directory, Stored
from tests.parity.emotion import segments_of, timeline
from tests.parity.items import Item, Pair, absent, against, compare, guarded, measure
from tests.parity.memo_watch import Watch, remembered, statistics_over
from tests.parity.networks import MemoNetworks

SMALL = 1e-5
CALL = 1e-4  # tolerances as the notes give them
NUM_BRANCHES = 2
CHUNK = 16  # frames of a clip in the stored run
LATER_PAST_FRAMES = 2  # of call2 to call4, which use rows 0, 3, 4, 5, 8, 9 (the notes)


def _subnets(directory: Directory, nets: MemoNetworks) -> Iterator[Item]:
    g = directory.golden("subnets")
    yield measure("image_proj.out", SMALL, partial(_run, nets.image, g, "image_proj"))
    yield measure("image_proj.out_zero_input", SMALL, partial(_zero_face, nets, g))
    yield measure("audio_proj.out", SMALL, partial(_run, nets.audio, g, "audio_proj"))
    yield measure("emotion.out", SMALL, partial(_run, nets.emotion, g, "emotion"))
    yield against(g, "encoder_hidden_states", lambda _: _tokens(nets, g), SMALL)


def _run(network: nn.Module, g: Stored, name: str) -> Pair:
    return network(g.float(f"{name}.in")), g[f"{name}.out"]


def _zero_face(nets: MemoNetworks, g: Stored) -> Pair:
    output = nets.image(torch.zeros_like(g.float("image_proj.in")))
    return output, g["image_proj.out_zero_input"]


def _tokens(nets: MemoNetworks, g: Stored) -> Tensor:
    """Face tokens of both branches: of a zero face embedding, and of the face."""
    face = g.float("image_proj.in")
    return torch.cat([nets.image(torch.zeros_like(face)), nets.image(face)])


# ---- reference features --------------------------------------------------------------------------


def stored_name(path: str) -> str:
    """``down_blocks.1.attentions.0`` -> ``down.1.0``, as features are stored."""
    block, *rest = path.split(".")
    numbers = [part for part in rest if part.isdigit()]
    kind = block.removesuffix("_blocks").removesuffix("_block")
    return ".".join([kind, *(["0"] if kind == "mid" else []), *numbers])


def _features(directory: Directory, nets: MemoNetworks) -> Iterator[Item]:
    g, sub = directory.golden("reference_features"), directory.golden("subnets")
    named = [n for n in sub if n.startswith("reference.latents_")]
    if not named:
        yield absent("reference features", f"no reference.latents_* in {sub.path.name}")
        return
    latents = sub.float(named[0])
    features = read_reference_features(nets.reference, latents, sub.float("encoder_hidden_states"))
    prefix = f"ref{len(latents)}."
    for path, recorded in features.items():
        yield against(g, prefix + stored_name(path), recorded, CALL)


# ---- single modules ------------------------------------------------------------------------------


def _units(directory: Directory, nets: MemoNetworks) -> Iterator[Item]:
    g = directory.golden("unit_modules")
    if not len(g):
        yield absent("unit modules", f"no {g.path.name}")
        return
    yield from guarded("joint_audio_block", _joint(nets.denoiser, g))
    net = nets.denoiser
    yield against(g, "temporal_basic_block.out0", lambda _: _basic(net, g), CALL)
    yield against(g, "motion_module.out0", partial(_motion, net, g), CALL)
    yield against(g, "motion_attn0.out0", lambda _: _linear(net, g), CALL)


def _joint(net: MemoUNet, g: Stored) -> Iterator[Item]:
    """The joint audio block, and its norms and attention alone."""
    audio = net.get_submodule("down_blocks.2.audio_modules.0")
    assert isinstance(audio, JointAudioModule)
    block: Any = audio.transformer_blocks[0]
    for name, norm in (("emo_ada_norm1", block.norm1), ("emo_ada_audio_norm1", block.audio_norm1)):
        yield against(g, f"{name}.out0", partial(_normed, norm, g, name), SMALL)
    outputs = block.attn2(g.float("joint_attn2.arg0"), g.float("joint_attn2.arg1"))
    yield from _pair("joint_attn2", outputs, g)
    x, audio_tokens = (g.float(f"joint_audio_block.{n}") for n in ("arg0", "encoder_hidden_states"))
    labels = _rows(g["joint_audio_block.emotion"], x)
    yield from _pair("joint_audio_block", block(x, audio_tokens, labels), g)


def _rows(labels: Tensor, tokens: Tensor) -> Tensor:
    """A label of each branch -> of every row of tokens."""
    return labels.repeat_interleave(len(tokens) // len(labels))


def _normed(norm: nn.Module, g: Stored, name: str, _: Tensor) -> Tensor:
    x = g.float(f"{name}.arg0")
    output: Tensor = norm(x, _rows(g[f"{name}.arg1"], x))
    return output


def _pair(name: str, outputs: tuple[Tensor, Tensor], g: Stored) -> Iterator[Item]:
    for k, output in enumerate(outputs):
        yield against(g, f"{name}.out{k}", output, CALL)


def _motion(net: MemoUNet, g: Stored, out: Tensor) -> Tensor:
    """The motion module alone, its memory written by the stored past frames."""
    motion = net.motion_module("down_blocks.2.motion_modules.0")
    x, past = g.float("motion_module.hidden_states"), g.float("motion_module.motion_frames")
    return unfold(motion(fold(x), x.shape[2], motion.write(past.transpose(1, 2))), out)


def _basic(net: MemoUNet, g: Stored) -> Tensor:
    """The spatial block alone; the unconditional branch, the first half, has no reference."""
    transformer = net.get_submodule("down_blocks.2.attentions.0")
    assert isinstance(transformer, SpatialTransformer)
    block = transformer.block
    x = g.float("temporal_basic_block.hidden_states")
    half = len(x) // NUM_BRANCHES
    kv = block.attn1.project(g.float("temporal_basic_block.ref_img_feature"))
    reference = ReferenceKV(kv, torch.arange(half, len(x)) % NUM_BRANCHES, num_uncond=half)
    assert block.attn2 is not None
    context = block.attn2.project(g.float("temporal_basic_block.encoder_hidden_states"))
    output: Tensor = block(x, reference, context)
    return output


def _linear(net: MemoUNet, g: Stored) -> Tensor:
    """The first memory attention alone; stored by frame, computed by latent pixel."""
    attention: Any = net.motion_module("down_blocks.2.motion_modules.0").temporal_transformer.block
    attention = attention.attention_blocks[0]
    x, past = (
        g.float(f"motion_attn0.arg{k}").view(NUM_BRANCHES, -1, *g["motion_attn0.arg0"].shape[1:])
        for k in range(2)
    )
    memory = attention.write(past.transpose(1, 2))
    output: Tensor = attention(x.transpose(1, 2).flatten(0, 1), memory)
    frames, places = x.shape[1:3]
    return output.view(NUM_BRANCHES, places, frames, -1).transpose(1, 2).flatten(0, 1)


# ---- network calls -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """One stored call.

    Attributes:
        all_past: whether it uses all past frames, or only the last ``LATER_PAST_FRAMES``.
        fresh: whether the memory starts anew; writes: whether it is written at all.
        masked: whether unconditional rows read no reference; over_frames: norm over frames too.
        inputs: the call whose latents and time it takes.
    """

    all_past: bool
    fresh: bool
    writes: bool
    masked: bool = True
    over_frames: bool = False
    inputs: str | None = None


class _Unmasked(MemoConditioning):
    """Unconditional rows read the reference too."""

    @property
    def num_uncond(self) -> int:
        return 0


CASES = {
    "call1": Case(True, fresh=True, writes=True),
    "call2": Case(False, fresh=False, writes=True),
    "call3": Case(False, fresh=False, writes=False),
    "call4_new_audio_no_update_flag": Case(False, fresh=True, writes=True),
    "call5_no_uc_mask": Case(True, fresh=True, writes=True, masked=False),
    "call1_plain_groupnorm": Case(True, fresh=True, writes=True, over_frames=True, inputs="call1"),
}


def _calls(directory: Directory, nets: MemoNetworks) -> Iterator[Item]:
    g = directory.golden("unet_calls")
    features = directory.golden("reference_features")
    memory: Memories | None = None
    for name, case in CASES.items():
        cond, memory = _condition(nets, g, features, case, memory)
        yield from guarded(f"{name}.out", _called(directory, nets, name, cond))
        yield from remembered(name, memory, g, always=name in ("call1", "call2"))


def _called(
    directory: Directory, nets: MemoNetworks, name: str, cond: MemoConditioning
) -> Iterator[Item]:
    """One call's output; of the first one also the stored intermediates."""
    g, case = directory.golden("unet_calls"), CASES[name]
    x = g.float(f"{case.inputs or name}.latent")
    t = g.float(f"{case.inputs or name}.timestep").reshape(1)
    watch = Watch(nets.denoiser, directory.golden("unet_call1_intermediates"))
    context = CallContext(cond)
    with statistics_over(nets.denoiser, cond.frames if case.over_frames else 1), watch:
        rows = fold(x).repeat(NUM_BRANCHES, 1, 1, 1)
        embedding = nets.denoiser.embed(t, NUM_BRANCHES, cond.frames)
        output, hidden = nets.denoiser.full(rows, embedding, context)
    yield against(g, f"{name}.out", partial(unfold, output), CALL)
    if name == "call1":
        yield from guarded("intermediates", watch.items())
        whole = (rows, embedding, output, hidden)
        yield from guarded("last_layer_rerun.out", _last_layer(directory, nets, context, whole))


def _condition(
    nets: MemoNetworks, g: Stored, stored: Stored, case: Case, before: Memories | None
) -> tuple[MemoConditioning, Memories]:
    net = nets.denoiser
    features = {}
    for layer in net.layers():
        path = layer.path("attentions" if layer.has_attention else "resnets")
        wanted = stored_name(path)
        name = next((n for n in stored if n.partition(".")[2] == wanted), wanted)
        recorded = stored.float(name)
        features[path] = recorded if case.all_past else last_few(recorded, LATER_PAST_FRAMES)
    x, audio = g.float("call1.latent"), g.float("audio_embedding")
    frames, (height, width) = x.shape[2], x.shape[3:]
    portrait, motion_frames = split_motion_frames(net, features, NUM_BRANCHES, (height, width))
    memory = before
    if case.writes or memory is None:
        memory = net.write_memory(motion_frames, None if case.fresh else before)
    conditioning = MemoConditioning if case.masked else _Unmasked
    cond = conditioning(
        identity_ids=("portrait",),
        face_tokens=None,
        frames=frames,
        num_branches=NUM_BRANCHES,
        last_layer=net.last_layer(),
        reference_kv=net.project_reference(portrait),
        face_kv=net.project_face(g.float("encoder_hidden_states"), frames),
        memory=memory,
        labels=g["audio_emotion"].repeat_interleave(frames),
        audio=audio.flatten(0, 1),
    )
    return cond, memory


def last_few(features: Tensor, count: int) -> Tensor:
    """Features of the portrait and of the last ``count`` past frames, of both branches."""
    branches = features.view(NUM_BRANCHES, -1, *features.shape[1:])
    images = [0, *range(branches.shape[1] - count, branches.shape[1])]
    return branches[:, images].flatten(0, 1)


def _last_layer(
    directory: Directory,
    nets: MemoNetworks,
    context: CallContext[MemoConditioning],
    whole: tuple[Tensor, ...],
) -> Iterator[Item]:
    """The last layer alone, from this call's hidden state and audio, and from the stored ones."""
    rows, embedding, output, hidden = whole
    cond, net = context.cond, nets.denoiser
    again = net.light(hidden, rows, embedding, CallContext(cond, extra=dict(context.extra)))
    yield compare("last_layer_again", again, output, 0.0)
    g = directory.golden("last_layer_rerun")
    rows = fold(g.float("latent")).repeat(NUM_BRANCHES, 1, 1, 1)
    embedding = net.embed(g.float("timestep").reshape(1), NUM_BRANCHES, cond.frames)
    cached = CallContext(cond, extra={AUDIO: g.float("cached_audio_stream")})
    output = net.light(fold(g.float("cached_hidden")), rows, embedding, cached)
    yield against(g, "out", partial(unfold, output), CALL, label="last_layer_rerun.out")


# ---- audio ---------------------------------------------------------------------------------------


def _audio(directory: Directory, nets: MemoNetworks) -> Iterator[Item]:
    """Speech features, hidden states, emotion labels."""
    g = directory.golden("audio")
    if "waveform" not in g:
        yield absent("audio_emb", f"no waveform in {g.path.name}")
        return
    network = directory.build(lambda config: shared.build_wav2vec(config["wav2vec"]))
    directory.fill(network, "wav2vec")
    features = Wav2VecFeatures(network, float(directory.config["pipeline"]["fps"]))
    speech = g.float("waveform").numpy()
    windows = features.whole(speech, CHUNK)
    yield against(g, "audio_emb", windows, CALL)
    yield against(g, "audio_length", torch.tensor(len(windows)), 0.0)
    named = {n.partition(".")[0] for n in g if n.startswith("wav2vec_seq")}
    if not named:
        yield absent("wav2vec_seq", f"no wav2vec_seq* in {g.path.name}")
    for name in sorted(named):
        states = features.states(
            zero_mean_unit_variance(speech), int(name.removeprefix("wav2vec_seq"))
        )
        for k, state in enumerate(states):
            yield against(g, f"{name}.hidden_states.{k}", state, CALL)
        yield against(g, f"{name}.last_hidden_state", states[-1], CALL)
    named = {n.partition(".")[0] for n in g if n.startswith("emotion_")}
    if not named:
        yield absent("emotion", f"no emotion_* in {g.path.name}")
    for name in sorted(named):
        yield from guarded(name, _emotion(name, g, nets.emotion))


def _emotion(name: str, g: Stored, classifier: nn.Module) -> Iterator[Item]:
    """Segments of a recording, and the label of every frame."""
    samples = int(g[f"{name}.num_samples"])
    lengths = torch.tensor([end - begin for begin, end in segments_of(samples)])
    yield against(g, f"{name}.segment_lengths", lengths, 0.0)
    labels = classifier(g.float(f"{name}.pooled_features")).argmax(dim=-1)
    yield against(g, f"{name}.labels", lambda out: timeline(labels, samples, len(out)), 0.0)


SECTIONS = {
    "subnets": _subnets,
    "reference features": _features,
    "unit modules": _units,
    "unet calls": _calls,
    "pipeline": memo_clips.items,
    "audio_emb": _audio,
}
