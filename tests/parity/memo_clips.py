"""Replays MEMO's complete run: clip after clip through the sampler, the memory carried over."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.audio import SAMPLE_RATE
from models.lightning.plan import full_plan
from models.lightning.sampler import Sampler
from models.lightning.schedule import make_trajectory
from models.memo.conditioning import labels_for_branches
from models.memo.config import NO_EMOTION
from models.memo.memory_attention import Memories
from models.memo.pipeline import MemoPipeline
from models.memo.unet import MemoDenoiser, read_clip_reference
from models.sd15.cfg import zeros_for_uncond
from models.sd15.config import FLOW_MATCHING, SD15Spec
from models.sd15.encoders import StableDiffusionVAE
from models.sd15.preprocess import NoFaceEmbedder
from models.spec import DiffusionSpec
from tests.parity.capture import outputs_of
from tests.parity.directory import Directory, Stored
from tests.parity.emotion import label_of_clip
from tests.parity.items import Item, absent, against, guarded
from tests.parity.memo_watch import remembered
from tests.parity.networks import MemoNetworks

LATENTS = 5e-4
VIDEO = 2e-3
SMALL = 1e-5
CALL = 1e-4
PREDICTION = 5e-4  # raw outputs follow the latents
# A sum over many frames, each decoded and encoded again by the run: computed in float64 it already
# differs from the stored one by 1.2e-4.
MEMORY_KV = 2e-3
NUM_BRANCHES = 2
PUBLISHED_STEPS = 20


def items(directory: Directory, nets: MemoNetworks) -> Iterator[Item]:
    """Schedules, then every stored value of every clip."""
    g = directory.golden("pipeline")
    if not len(g):
        yield absent("pipeline", f"no {g.path.name}")
        return
    run = directory.config["pipeline"]
    yield from guarded("scheduler", _schedules(g, run))
    clips = [f"clip{k}" for k in range(int(run["clips"]))]
    yield from guarded("clips", _clips(g, nets, run, clips))
    yield from guarded("stream", _stream(g, nets, run, clips))


def _clips(g: Stored, nets: MemoNetworks, run: dict[str, Any], clips: list[str]) -> Iterator[Item]:
    memory: Memories | None = None
    last_frames: Tensor | None = None
    noise = torch.Generator().manual_seed(run["generator_seed"])
    for clip in clips:
        replay = _Clip(g, clip, nets, run)
        yield from replay.inputs(noise)
        memory = yield from replay.start(last_frames, memory)
        yield from replay.steps()
        last_frames = yield from replay.video()


def _stream(g: Stored, nets: MemoNetworks, run: dict[str, Any], clips: list[str]) -> Iterator[Item]:
    """The same run as a session makes it: the pipeline's stream, clip after clip."""
    shape = g["clip0.init_latents"].shape
    spec = SD15Spec(
        "memo",
        float(run["fps"]),
        shape[2],
        0,
        int(run["steps"]),
        (shape[1], shape[3], shape[4]),
        FLOW_MATCHING,
        guidance=run["guidance_scale"],
        past=int(run["past_frames"]),
        first_past=int(run["init_past_frames"]),
    )
    networks = {
        "diffusion_net": nets.denoiser,
        "reference_net": nets.reference,
        "image_proj": nets.image,
        "audio_proj": nets.audio,
        "vae": nets.vae,
        "wav2vec": torch.nn.Module(),  # features are the stored ones
    }
    pipeline = MemoPipeline(spec, networks, NoFaceEmbedder(0))
    tokens = torch.arange(shape[3] * shape[4])[None]
    identity = pipeline.identity_from_tensors(
        "portrait", g.float("pixel_values"), g.float("face_emb"), tokens
    )
    stream = pipeline.new_stream(identity, int(run["generator_seed"]))
    stream.speech.known = g.float("audio_emb")
    sampler = Sampler(FLOW_MATCHING, full_plan(spec.steps))
    silence = np.zeros(round(spec.chunk_frames * SAMPLE_RATE / spec.fps), np.float32)
    labels = g["audio_emotion_labels"].view(len(clips), -1)
    for clip, emotions in zip(clips, labels, strict=True):
        pipeline.emotion = label_of_clip(emotions)
        latents = pipeline.sample(
            sampler, [stream], [pipeline.prepare_conditioning(stream, silence)]
        )
        name = f"{clip}.step{spec.steps - 1}.latents"
        yield against(g, name, latents, LATENTS, label=f"stream.{clip}.latents")
        frames = pipeline.decode([stream], latents)[0].permute(3, 0, 1, 2)[None].float() / 255
        tolerance = VIDEO + 1 / 255  # frames are truncated to uint8
        yield against(g, f"{clip}.video", frames, tolerance, label=f"stream.{clip}.frames")


def _schedules(g: Stored, run: dict[str, Any]) -> Iterator[Item]:
    named = {n for n in g if n.startswith("scheduler.timesteps_")}
    always = {f"scheduler.timesteps_{steps}" for steps in (run["steps"], PUBLISHED_STEPS)}
    for name in sorted(named | always):
        trajectory = make_trajectory(FLOW_MATCHING, int(name.rpartition("_")[2]))
        yield against(g, name, torch.tensor(trajectory.timesteps), 1e-3)
        sigmas = name.replace("timesteps", "sigmas")
        levels = (*trajectory.levels, trajectory.next_levels[-1])
        yield against(g, sigmas, torch.tensor([sigma for _, sigma in levels]), 1e-6)


class _Clip:
    """One clip's replay; ``start`` before ``steps`` before ``video``."""

    def __init__(self, g: Stored, name: str, nets: MemoNetworks, run: dict[str, Any]) -> None:
        self.g, self.name, self.nets, self.run = g, name, nets, run
        self.vae = StableDiffusionVAE(nets.vae)
        found = name if f"{name}.init_latents" in g else "clip0"
        z = g.float(f"{found}.init_latents")
        steps, fps = int(run["steps"]), float(run["fps"])
        spec = DiffusionSpec(name, fps, z.shape[2], 0, steps, (z.shape[1], *z.shape[3:]))
        self.backbone = MemoDenoiser(spec, nets.denoiser, run["guidance_scale"])
        self.z = z

    def judge(self, item: str, got: Tensor, tolerance: float) -> Item:
        return against(self.g, f"{self.name}.{item}", got, tolerance)

    def inputs(self, noise: torch.Generator) -> Iterator[Item]:
        """Initial latents from the seed, and audio tokens."""
        yield self.judge("init_latents", torch.randn(self.z.shape, generator=noise), 0.0)
        windows = self.g.float("audio_emb")
        frames = self.z.shape[2]
        first = int(self.name.removeprefix("clip")) * frames
        self.audio = self.nets.audio(windows[None, first : first + frames])
        yield self.judge("audio_tensor", self.audio, SMALL)
        labels = self.g["audio_emotion_labels"][first : first + frames]
        self.label = label_of_clip(labels)

    def start(
        self, last_frames: Tensor | None, memory: Memories | None
    ) -> Generator[Item, None, Memories]:
        """Reference latents, the memory, and the conditioning."""
        pixels = self.g.float("pixel_values")
        past = (
            pixels.repeat(int(self.run["init_past_frames"]), 1, 1, 1)
            if last_frames is None
            else last_frames * 2 - 1
        )
        latents = self.vae.encode(torch.cat([pixels, past]))
        yield self.judge("ref_latents", latents, CALL)
        face = self.g.float("face_emb")
        faces = torch.cat([self.nets.image(torch.zeros_like(face)), self.nets.image(face)])
        net = self.nets.denoiser
        frames = self.z.shape[2]
        pictures = read_clip_reference(net, self.nets.reference, latents, faces, memory)
        self.condition = self.backbone.conditioning(
            "portrait",
            None,
            pictures=pictures,
            face_kv=net.project_face(faces, frames),
            labels=labels_for_branches(self.label, NO_EMOTION, frames, NUM_BRANCHES),
            audio=zeros_for_uncond(self.audio.flatten(0, 1), NUM_BRANCHES),
        )
        yield from remembered(self.name, pictures.memory, self.g, kv_tolerance=MEMORY_KV)
        return pictures.memory

    def steps(self) -> Iterator[Item]:
        """The full sampling loop, step by step."""
        states: list[Tensor] = []
        sampler = Sampler(FLOW_MATCHING, full_plan(int(self.run["steps"])))
        with outputs_of(self.backbone) as outputs:
            self.clean = sampler(
                self.backbone, self.z, self.condition, observe=lambda _, z, __: states.append(z)
            )
        for k, after in enumerate([*states[1:], self.clean]):
            yield self.judge(f"step{k}.t", torch.tensor(sampler.timesteps[k]), 1e-3)
            emotions = torch.tensor([NO_EMOTION, self.label])
            yield self.judge(f"step{k}.audio_emotion", emotions, 0.0)
            yield self.judge(f"step{k}.model_output", outputs[k], PREDICTION)
            yield self.judge(f"step{k}.latents", after, LATENTS)

    def video(self) -> Generator[Item, None, Tensor]:
        """Decoded frames; returns the past frames of the next clip."""
        frames = self.vae.decode(self.clean)
        yield self.judge("video", frames.transpose(1, 2), VIDEO)
        return frames[0, -int(self.run["past_frames"]) :]
