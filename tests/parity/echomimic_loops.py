"""Replays EchoMimic's complete loops: moving windows through the shared sampler."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from models.echomimic.unet import EchoMimicDenoiser
from models.echomimic.windows import ClipConditioning, EchoMimicWindows, ring_windows
from models.lightning.plan import full_plan
from models.lightning.sampler import Sampler
from models.lightning.schedule import make_schedule, make_trajectory
from models.sd15.encoders import StableDiffusionVAE
from models.spec import DiffusionSpec, ScheduleSpec
from tests.parity.capture import outputs_of
from tests.parity.directory import Directory, Stored, ddim
from tests.parity.items import Absent, Item, absent, against, compare, guarded
from tests.parity.networks import EchoMimicNetworks

LOOP = 2e-4
ONE = 2e-5
SMALL = 1e-5

CLAMP = 1.5
SEED = 420  # the published one, if the directory has none
WHOLE = ("normal", "acc")  # loops of which everything is stored; of the others at least ``ALWAYS``
ALWAYS = ("init_latents", "final_latents")
FPS = 24.0


def items(directory: Directory, nets: EchoMimicNetworks) -> Iterator[Item]:
    """The schedule, window lists, inputs, then every loop."""
    schedule = ddim(directory.config.get("noise_scheduler", {}))
    yield from guarded("alphas_cumprod", _schedule(directory, schedule))
    try:
        meta = directory.json("golden_meta")
    except Absent as error:
        yield absent("loops", str(error))
        return
    yield from guarded("scheduler", _lists(meta, schedule))
    yield from guarded("loops", _loops(directory, nets, meta, schedule))


def _loops(
    directory: Directory, nets: EchoMimicNetworks, meta: dict[str, Any], schedule: ScheduleSpec
) -> Iterator[Item]:
    g = directory.golden("loops")
    if not len(g):
        yield absent("loops", f"no {g.path.name}")
        return
    seed = next((record["seed"] for record in (meta, directory.config) if "seed" in record), SEED)
    inputs = _Inputs(nets, g, schedule, seed)
    yield from inputs.items()
    for name, settings in meta["loops"].items():
        yield from guarded(name, _Loop(name, settings, inputs).items())


def _schedule(directory: Directory, schedule: ScheduleSpec) -> Iterator[Item]:
    g = directory.golden("scheduler")
    alpha, _ = make_schedule(schedule)
    yield against(g, "alphas_cumprod", alpha**2, 2e-6)
    ratio = (alpha[1:] ** 2 / alpha[:-1] ** 2).clamp(min=0.0)
    yield against(g, "betas", 1 - torch.cat([alpha[:1] ** 2, ratio]), SMALL)


def _lists(meta: dict[str, Any], schedule: ScheduleSpec) -> Iterator[Item]:
    for name, times in meta.get("scheduler", {}).items():
        if name.startswith("timesteps_"):
            timesteps = make_trajectory(schedule, int(name.rpartition("_")[2])).timesteps
            yield compare(f"scheduler.{name}", torch.tensor(timesteps), torch.tensor(times), 0.0)
    for case in meta.get("context_queues", []):
        frames, window, overlap = (case[k] for k in ("num_frames", "context_frames", "overlap"))
        computed = torch.tensor(ring_windows(frames, window, overlap))
        label = f"windows.{frames}_{window}_{overlap}"
        yield compare(label, computed, torch.tensor(case["queue"]), 0.0)


class _Inputs:
    """What all loops share."""

    def __init__(
        self, nets: EchoMimicNetworks, g: Stored, schedule: ScheduleSpec, seed: int
    ) -> None:
        self.nets, self.g, self.schedule, self.seed = nets, g, schedule, seed
        self.vae = StableDiffusionVAE(nets.vae)
        pixels = g.float("in.ref_image_rgb_uint8_hwc").permute(2, 0, 1)[None] / 127.5 - 1
        self.latent = self.vae.encode(pixels)
        self.face = nets.locator(g.float("in.face_mask")[:, :, 0])

    def items(self) -> Iterator[Item]:
        yield against(self.g, "in.ref_latents", self.latent, SMALL)
        yield against(self.g, "in.face_locator_out", self.face[:, :, None], SMALL)


class _Loop:
    """One loop; every setting from the directory's record of it."""

    def __init__(self, name: str, settings: dict[str, Any], inputs: _Inputs) -> None:
        self.name, self.settings, self.inputs = name, settings, inputs
        self.g = inputs.g

    def _build(self) -> None:
        settings, inputs, name = self.settings, self.inputs, self.name
        frames, steps = int(settings["video_length"]), int(settings["steps"])
        channels, height, width = inputs.latent.shape[1:]
        size = (channels, height, width)
        spec = DiffusionSpec(name, FPS, frames, 0, steps, size, inputs.schedule)
        self.backbone = EchoMimicDenoiser(spec, inputs.nets.denoiser, float(settings["cfg"]))
        self.windows = EchoMimicWindows(
            self.backbone,
            frames,
            window=int(settings["context_frames"]),
            overlap=int(settings["context_overlap"]),
            counted="uncounted" not in name,
        )

    def items(self) -> Iterator[Item]:
        """Windows, initial latents, every step, the first frame."""
        self._build()
        steps = int(self.settings["steps"])
        windows = torch.tensor([self.windows.windows_at(step) for step in range(steps)])
        stored = torch.tensor(self.settings["windows_per_step"])
        yield compare(f"{self.name}.windows_per_step", windows, stored, 0.0)
        noise = torch.Generator().manual_seed(int(self.settings.get("seed", self.inputs.seed)))
        channels, height, width = self.backbone.spec.latent
        shape = (1, channels, self.windows.frames, height, width)
        z = torch.randn(shape, generator=noise).clamp(-CLAMP, CLAMP)
        yield from self._judge("init_latents", z, 0.0)
        # Other noise is one failure, not all of them.
        z = self.g.get(f"{self.name}.init_latents", z).float()
        half = bool(self.settings.get("bank_rounded_to_fp16"))
        states: list[Tensor] = []
        sampler = Sampler(self.inputs.schedule, full_plan(steps))
        with outputs_of(self.windows.raw) as outputs:
            clean = sampler(
                self.windows, z, self._condition(half), observe=lambda _, x, __: states.append(x)
            )
        yield from self._recorded(sampler.timesteps, outputs)
        after = [*states[1:], clean]
        tolerance = LOOP
        first = torch.stack(outputs[: len(self.windows.base)])
        yield from self._judge("raw_pred_first_step_windows", first, ONE)
        yield from self._judge("latents_after_step", torch.cat(after), tolerance)
        predicted = [
            self._prediction(sampler, k, before, then)
            for k, (before, then) in enumerate(zip(states, after, strict=True))
        ]
        yield from self._judge("model_output_per_step", torch.cat(predicted), tolerance)
        yield from self._judge("final_latents", clean, tolerance)
        yield from self._judge("video_frame0", self.inputs.vae.decode(clean[:, :, :1])[0], LOOP)

    def _condition(self, half_precision: bool) -> ClipConditioning:
        net = self.inputs.nets.denoiser
        _, recorded = self.inputs.nets.reference.read(self.inputs.latent)
        features = recorded.features
        if half_precision:
            features = {path: n.half().float() for path, n in features.items()}
        frames = int(self.settings["video_length"])
        all_frames = self.backbone.conditioning(
            "portrait",
            None,
            reference_kv=net.project_reference(features),
            face=self.inputs.face,
            audio=self.g.float("in.audio_features")[None, :frames],
        )
        return self.windows.condition(all_frames)

    def _prediction(self, sampler: Sampler, k: int, before: Tensor, after: Tensor) -> Tensor:
        """v of a step, from the states around it: z' = alpha' x0 + sigma' eps."""
        trajectory = sampler.trajectory
        (alpha, sigma), (alpha1, sigma1) = trajectory.levels[k], trajectory.next_levels[k]
        of_v = sigma1 * alpha - alpha1 * sigma
        return (after - (alpha1 * alpha + sigma1 * sigma) * before) / of_v

    def _judge(self, item: str, got: Tensor, tolerance: float) -> Iterator[Item]:
        name = f"{self.name}.{item}"
        if item in ALWAYS or self.name in WHOLE or name in self.g:
            yield against(self.g, name, got, tolerance)

    def _recorded(self, times: Sequence[float], outputs: list[Tensor]) -> Iterator[Item]:
        """What the directory records of the loop: timesteps, windows, calls."""
        computed: dict[str, Any] = {
            "timesteps": times,
            "context_queue": self.windows.base,
            "unet_calls": len(outputs),
            "unet_batch_shape": tuple(outputs[0].shape),
        }
        for item, value in computed.items():
            if item in self.settings:
                stored = self.settings[item]
                yield compare(f"{self.name}.{item}", value, stored, 0.0)
