"""Replays Hallo's complete runs: chunk after chunk through the sampler."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.audio import SAMPLE_RATE
from models.hallo.audio_module import REGIONS
from models.hallo.conditioning import HalloConditioning
from models.hallo.pipeline import HalloPipeline
from models.hallo.preprocess import HalloPortrait
from models.hallo.unet import HalloDenoiser, read_chunk_reference
from models.lightning.plan import full_plan
from models.lightning.sampler import Sampler
from models.lightning.schedule import make_schedule, make_trajectory
from models.sd15.cfg import zeros_for_uncond
from models.sd15.config import SD15Spec
from models.sd15.encoders import StableDiffusionVAE
from models.sd15.preprocess import NoFaceEmbedder
from models.spec import DiffusionSpec, ScheduleSpec
from tests.parity.capture import outputs_of
from tests.parity.directory import Directory, Stored, ddim
from tests.parity.items import Item, absent, against, compare, guarded
from tests.parity.networks import HalloNetworks

LATENTS = {"bank_fp32": (2e-4, 2e-3), "bank_fp16": (5e-3, 5e-2)}  # first chunk, later ones
VIDEO = (1e-3, 3e-3)
TOKENS = 1e-5
FPS = 25.0
WHOLE = "bank_fp32"  # the run of which everything is stored; of the other at least ``ALWAYS``
ALWAYS = ("latents_init", "latents_steps")
NUM_BRANCHES = 2


@dataclass(frozen=True)
class Run:
    """What all chunks of a run share."""

    directory: Directory
    nets: HalloNetworks
    g: Stored

    @property
    def settings(self) -> dict[str, Any]:
        settings: dict[str, Any] = self.directory.config["pipeline"]
        return settings

    @property
    def schedule(self) -> ScheduleSpec:
        return ddim(self.settings.get("scheduler", {}))

    @property
    def weights(self) -> tuple[float, ...]:
        """Of the audio attention in background, face and lips."""
        return tuple(float(weight) for weight in self.settings["motion_scale"])

    def shape(self, k: int) -> torch.Size:
        """The shape of a chunk's initial latents: the stored one, else that of another chunk."""
        names = (f"{kind}.chunk{j}.latents_init" for j in (k, 0) for kind in LATENTS)
        found = next((name for name in names if name in self.g), f"{WHOLE}.chunk{k}.latents_init")
        return self.g[found].shape

    def pixels(self) -> Tensor:
        """The portrait [1, 3, H, W] from -1 to 1."""
        image = self.directory.golden("preprocess_image").float("pixel_values_ref_u8")
        return (image[None] / 255 - 0.5) / 0.5

    def masks(self) -> tuple[Tensor, ...]:
        """Of every resolution, the same in both branches."""
        g = self.directory.golden("preprocess_image")
        levels = range(len(self.nets.denoiser.sizes.channels))
        stacked = [torch.stack([g.float(f"{r}_mask_{k}") for r in REGIONS], 1) for k in levels]
        return tuple(level.repeat(NUM_BRANCHES, 1, 1) for level in stacked)


def items(directory: Directory, nets: HalloNetworks) -> Iterator[Item]:
    """The schedule, then every stored value of every chunk of both runs."""
    g = directory.golden("pipeline")
    if not len(g):
        yield absent("pipeline", f"no {g.path.name}")
        return
    run = Run(directory, nets, g)
    yield from guarded("schedule", _schedule(run))
    for kind in LATENTS:
        yield from guarded(f"{kind}.chunks", _chunks(run, kind))
    yield from guarded("stream", _stream(run))


def _schedule(run: Run) -> Iterator[Item]:
    """Alphas of all training steps; timesteps of the runs and of the published run."""
    alpha, _ = make_schedule(run.schedule)
    yield against(run.g, "alphas_cumprod", alpha**2, 2e-6)
    meta = run.directory.config.get("meta", {})
    for name in (n for n in meta if n.startswith("timesteps_")):
        trajectory = make_trajectory(run.schedule, int(name.removeprefix("timesteps_")))
        timesteps = torch.tensor(trajectory.timesteps)
        yield compare(f"meta.{name}", timesteps, torch.tensor(meta[name]), 0.0)
    some = meta.get("alphas_cumprod_at", {})
    if some:
        mine = alpha[[int(t) for t in some]] ** 2
        yield compare("meta.alphas_cumprod_at", mine, torch.tensor([*some.values()]), 2e-6)


def _chunks(run: Run, kind: str) -> Iterator[Item]:
    noise = torch.Generator().manual_seed(int(run.settings["seed"]))
    last_frames: Tensor | None = None
    for k in range(int(run.settings["chunks"])):
        last_frames = yield from _chunk(run, kind, k, noise, last_frames)


def _stream(run: Run) -> Iterator[Item]:
    """The same run as a session makes it: the pipeline's stream, chunk after chunk."""
    g, image = run.g, run.directory.golden("preprocess_image")
    windows = run.directory.golden("preprocess_audio").float("audio_emb_windowed")
    shape = run.shape(0)
    steps, motion = int(run.settings["steps"]), int(run.directory.config["n_motion_frames"])
    spec = SD15Spec(
        "hallo",
        FPS,
        shape[2],
        0,
        steps,
        (shape[1], shape[3], shape[4]),
        run.schedule,
        guidance=float(run.settings["cfg_scale"]),
        past=motion,
        first_past=motion,
    )
    nets = run.nets
    networks = {
        "denoising_unet": nets.denoiser,
        "reference_unet": nets.reference,
        "imageproj": nets.image,
        "audioproj": nets.audio,
        "face_locator": nets.locator,
        "vae": nets.vae,
        "wav2vec": torch.nn.Module(),  # features are the stored ones
    }
    pipeline = HalloPipeline(spec, networks, NoFaceEmbedder(0))
    pipeline.backbone.audio_weights = run.weights
    prepared = HalloPortrait(
        run.pixels()[0],
        image.float("face_region_u8") / 255,
        tuple(level[0] for level in run.masks()),
    )
    face = image.float("face_emb").reshape(1, -1)
    stream = pipeline.new_stream(
        pipeline.identity_from_tensors("portrait", prepared, face), int(run.settings["seed"])
    )
    stream.speech.known = windows
    sampler = Sampler(run.schedule, full_plan(steps))
    silence = np.zeros(round(spec.chunk_frames * SAMPLE_RATE / spec.fps), np.float32)
    for k in range(int(run.settings["chunks"])):
        latents = pipeline.sample(
            sampler, [stream], [pipeline.prepare_conditioning(stream, silence)]
        )
        name = f"bank_fp32.chunk{k}.latents_steps"
        computed = partial(_last_of, latents)
        tolerance = LATENTS["bank_fp32"][min(k, 1)]
        yield against(g, name, computed, tolerance, label=f"stream.chunk{k}.latents")
        frames = pipeline.decode([stream], latents)[0].permute(3, 0, 1, 2)[None].float() / 255
        name = f"bank_fp32.chunk{k}.video"
        tolerance = VIDEO[min(k, 1)] + 1 / 255  # frames are truncated to uint8
        yield against(g, name, frames, tolerance, label=f"stream.chunk{k}.frames")


def _chunk(
    run: Run, kind: str, k: int, noise: torch.Generator, last_frames: Tensor | None
) -> Generator[Item, None, Tensor]:
    g, vae, prefix = run.g, StableDiffusionVAE(run.nets.vae), f"{kind}.chunk{k}."
    later = min(k, 1)

    def judge(name: str, got: Tensor, tolerance: float) -> Iterator[Item]:
        if kind == WHOLE or name in ALWAYS or prefix + name in g:
            yield against(g, prefix + name, got, tolerance)

    z = torch.randn(run.shape(k), generator=noise)
    yield from judge("latents_init", z, 0.0)
    z = g.get(prefix + "latents_init", z).float()  # other noise is one failure, not all of them
    motion = int(run.directory.config["n_motion_frames"])
    past = run.pixels().repeat(motion, 1, 1, 1) if last_frames is None else last_frames * 2 - 1
    latents = vae.encode(torch.cat([run.pixels(), past]))
    yield from judge("ref_latents", latents, (TOKENS, VIDEO[1])[later])
    frames = z.shape[2]
    windows = run.directory.golden("preprocess_audio").float("audio_emb_windowed")
    tokens = run.nets.audio(windows[None, k * frames : (k + 1) * frames])
    yield from judge("audio_tokens", tokens, TOKENS)
    backbone, condition = _condition(run, latents, tokens, kind == "bank_fp16")
    states: list[Tensor] = []
    sampler = Sampler(run.schedule, full_plan(int(run.settings["steps"])))
    with outputs_of(backbone) as outputs:
        clean = sampler(backbone, z, condition, observe=lambda _, x, __: states.append(x))
    meta = run.directory.config.get("meta", {}).get(f"{prefix}timesteps")
    if meta:
        timesteps = torch.tensor(sampler.timesteps)
        yield compare(prefix + "timesteps", timesteps, torch.tensor(meta), 0.0)
    tolerance = LATENTS[kind][later]
    yield from judge("latents_steps", torch.stack([*states[1:], clean]), tolerance)
    yield from judge("model_out_steps", torch.stack(outputs), tolerance)
    video = vae.decode(clean)
    yield from judge("video", video.transpose(1, 2), VIDEO[later])
    return video[0, -motion:]


def _condition(
    run: Run, latents: Tensor, tokens: Tensor, half_precision: bool
) -> tuple[HalloDenoiser, HalloConditioning]:
    nets, settings = run.nets, run.settings
    frames, steps = tokens.shape[1], int(settings["steps"])
    channels, height, width = latents.shape[1:]
    spec = DiffusionSpec("hallo", FPS, frames, 0, steps, (channels, height, width), run.schedule)
    backbone = HalloDenoiser(spec, nets.denoiser, float(settings["cfg_scale"]), run.weights)
    image = run.directory.golden("preprocess_image")
    face = image.float("face_emb").reshape(1, -1)
    faces = torch.cat([nets.image(torch.zeros_like(face)), nets.image(face)])
    region = nets.locator(image.float("face_region_u8")[None] / 255)
    return backbone, backbone.conditioning(
        "portrait",
        None,
        pictures=read_chunk_reference(
            nets.denoiser, nets.reference, latents, faces, half_precision=half_precision
        ),
        face_kv=nets.denoiser.project_face(faces, frames),
        audio=zeros_for_uncond(tokens, NUM_BRANCHES).flatten(0, 1),
        masks=run.masks(),
        region=zeros_for_uncond(region, NUM_BRANCHES),
    )


def _last_of(latents: Tensor, steps: Tensor) -> Tensor:
    """The stored latents of all steps with the final ones replaced: only these are compared."""
    return torch.cat([steps[:-1].to(latents.dtype), latents[None]])
