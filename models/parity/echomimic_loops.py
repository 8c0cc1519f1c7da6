"""Replays EchoMimic's whole loops: walking windows through the one sampler."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from models.backbones.echomimic.backbone import EchoBackbone
from models.backbones.echomimic.windows import EchoWindows, windows_of
from models.codec.vae import PublishedVae
from models.lightning.plan import plain
from models.lightning.sampler import Sampler
from models.lightning.schedule import make_schedule, make_trajectory
from models.parity.directory import Directory, Stored
from models.parity.echomimic_nets import Nets
from models.parity.outputs import outputs_of
from models.parity.report import Absent, Item, absent, compare
from models.spec import PUBLISHED_DDIM, BackboneSpec

LOOP = 2e-4
ONE = 2e-5
SMALL = 1e-5

CLAMP = 1.5
FPS = 24.0


def items(directory: Directory, nets: Nets) -> Iterator[Item]:
    """The schedule, window lists, inputs, then every loop."""
    g = directory.golden("loops")
    yield from _schedule(directory)
    try:
        meta = directory.json("golden_meta")
    except Absent as error:
        yield absent("loops", str(error))
        return
    yield from _lists(meta)
    if not len(g):
        yield absent("loops", f"no {g.path.name}")
        return
    inputs = _Inputs(directory, nets, g)
    yield from inputs.items()
    for name, settings in meta["loops"].items():
        yield from _Loop(name, settings, inputs).items()


def _schedule(directory: Directory) -> Iterator[Item]:
    g = directory.golden("scheduler")
    a, s = make_schedule(PUBLISHED_DDIM)
    if "alphas_cumprod" not in g:
        yield absent("alphas_cumprod", f"no {g.path.name}")
        return
    yield compare("alphas_cumprod", a**2, g["alphas_cumprod"], 2e-6)
    ratio = (a[1:] ** 2 / a[:-1] ** 2).clamp(min=0.0)
    betas = 1 - torch.cat([a[:1] ** 2, ratio])
    yield compare("betas", betas, g["betas"], SMALL)


def _lists(meta: dict[str, Any]) -> Iterator[Item]:
    for name, times in meta.get("scheduler", {}).items():
        if name.startswith("timesteps_"):
            told = make_trajectory(PUBLISHED_DDIM, int(name.rpartition("_")[2])).times
            yield compare(f"scheduler.{name}", torch.tensor(told), torch.tensor(times), 0.0)
    for case in meta.get("context_queues", []):
        frames, window, overlap = (case[k] for k in ("num_frames", "context_frames", "overlap"))
        mine = torch.tensor(windows_of(frames, window, overlap))
        label = f"windows.{frames}_{window}_{overlap}"
        yield compare(label, mine, torch.tensor(case["queue"]), 0.0)


class _Inputs:
    """What all loops share."""

    def __init__(self, directory: Directory, nets: Nets, g: Stored) -> None:
        self.nets, self.g = nets, g
        self.vae = PublishedVae(nets.vae)
        pixels = g.float("in.ref_image_rgb_uint8_hwc").permute(2, 0, 1)[None] / 127.5 - 1
        self.latent = self.vae.encode(pixels)
        self.face = nets.locator(g.float("in.face_mask")[:, :, 0])

    def items(self) -> Iterator[Item]:
        yield compare("in.ref_latents", self.latent, self.g["in.ref_latents"], SMALL)
        stored = self.g["in.face_locator_out"]
        yield compare("in.face_locator_out", self.face[:, :, None], stored, SMALL)


class _Loop:
    """One loop; every setting from the directory's record of it."""

    def __init__(self, name: str, settings: dict[str, Any], inputs: _Inputs) -> None:
        self.name, self.settings, self.inputs = name, settings, inputs
        self.g = inputs.g
        frames, steps = int(settings["video_length"]), int(settings["steps"])
        channels, height, width = inputs.latent.shape[1:]
        size = (channels, height, width)
        spec = BackboneSpec(name, FPS, frames, 0, steps, size, PUBLISHED_DDIM)
        self.backbone = EchoBackbone(spec, inputs.nets.denoiser, float(settings["cfg"]))
        self.windows = EchoWindows(
            self.backbone,
            steps,
            frames,
            window=int(settings["context_frames"]),
            overlap=int(settings["context_overlap"]),
            counted="uncounted" not in name,
        )

    def items(self) -> Iterator[Item]:
        """Windows, start noise, every step, the first frame."""
        steps = int(self.settings["steps"])
        walked = torch.tensor([self.windows.at(step) for step in range(steps)])
        stored = torch.tensor(self.settings["windows_per_step"])
        yield compare(f"{self.name}.windows_per_step", walked, stored, 0.0)
        noise = torch.Generator().manual_seed(int(self.settings.get("seed", 420)))
        shape = self.g[f"{self.name}.init_latents"].shape
        z = torch.randn(shape, generator=noise).clamp(-CLAMP, CLAMP)
        yield from self._judge("init_latents", z, 0.0)
        half = bool(self.settings.get("bank_rounded_to_fp16"))
        states: list[Tensor] = []
        sampler = Sampler(PUBLISHED_DDIM, plain(steps))
        with outputs_of(self.windows.raw) as outputs:
            clean = sampler(
                self.windows, z, self._condition(half), observe=lambda _, x, __: states.append(x)
            )
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

    def _condition(self, half: bool) -> Any:
        net = self.inputs.nets.denoiser
        _, recording = self.inputs.nets.reference.read(self.inputs.latent)
        seen = recording.bank
        if half:
            seen = {path: n.half().float() for path, n in seen.items()}
        frames = int(self.settings["video_length"])
        audio = self.g.float("in.audio_features")[None, :frames]
        whole = self.backbone.hearing(
            "portrait", None, net.read_bank(seen), self.inputs.face, audio
        )
        return self.windows.condition(whole)

    def _prediction(self, sampler: Sampler, k: int, before: Tensor, after: Tensor) -> Tensor:
        """v of a step, from the states around it: z' = a' (a z - s v) + s' (a v + s z)."""
        (a, s), (a1, s1) = sampler.path.at[k], sampler.path.after[k]
        return (after - (a1 * a + s1 * s) * before) / (s1 * a - a1 * s)

    def _judge(self, item: str, got: Tensor, tolerance: float) -> Iterator[Item]:
        name = f"{self.name}.{item}"
        if name in self.g:
            yield compare(name, got, self.g[name], tolerance)
