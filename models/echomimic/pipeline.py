"""EchoMimic as the façade drives it: a portrait to an identity, speech to conditions, to frames.

With the whole speech known the published loop runs over all of it when the first chunk is asked
for; chunks are then cut from its result. Live speech, and recordings longer than the published
limit, are sampled window by window (``causal.py``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.audio.whisper import WhisperFeatures
from models.echomimic.conditioning import EchoMimicDenoiser
from models.echomimic.preprocess import prepare_echomimic_portrait
from models.echomimic.streaming import smooth_boundary
from models.echomimic.unet import EchoMimicUNet
from models.echomimic.windows import EchoMimicWindows
from models.lightning.devices import DeviceReplica
from models.lightning.sampler import Sampler
from models.nn.attention import KeyValue
from models.options import ModelOptions
from models.sd15.cfg import SD15Conditioning
from models.sd15.config import SD15Spec
from models.sd15.pipeline import SD15Pipeline, SD15Stream, identity_key
from models.sd15.preprocess import FaceDetector, face_tokens_of_mask, load_face_detector
from models.sd15.reference_net import ReferenceNet

CLAMP = 1.5  # of start noise, as published
LONGEST = 1200  # frames of a clip that the published loop takes
HEARD, NOISE, SHOWN, CLIP = "heard", "noise", "shown", "clip"


@dataclass(frozen=True)
class EchoMimicIdentity:
    """What is static for one portrait.

    Attributes:
        key: of its content.
        bank: keys and values of the reference, by path.
        face: the located face [1, C, H, W].
        foreground: face tokens' indices [1, K].
    """

    key: str
    bank: Mapping[str, KeyValue]
    face: Tensor
    foreground: Tensor


class EchoMimicPipeline(SD15Pipeline):
    """Networks with their weights; implements ``models.pipeline.Pipeline``."""

    spec: SD15Spec
    backbone: EchoMimicDenoiser

    def __init__(
        self, spec: SD15Spec, networks: Mapping[str, nn.Module], boxes: FaceDetector
    ) -> None:
        denoiser, reference = networks["denoising_unet"], networks["reference_unet"]
        assert isinstance(denoiser, EchoMimicUNet) and isinstance(reference, ReferenceNet)
        backbone = EchoMimicDenoiser(spec, denoiser, spec.guidance, spec.without_reference)
        features = WhisperFeatures(networks["whisper"], spec.fps)
        super().__init__(spec, backbone, networks["vae"], features)
        self.reference, self.locator = reference, networks["face_locator"]
        self.boxes = boxes

    @torch.inference_mode()
    def encode_portrait(self, picture: NDArray[np.uint8]) -> EchoMimicIdentity:
        """RGB uint8 [H, W, 3] -> what is static.

        Raises:
            PortraitError: the picture cannot be used.
        """
        prepared = prepare_echomimic_portrait(picture, self.boxes.box(picture), self.size[0])
        latent = self.here(self.vae.encode(prepared.pixels[None]))
        _, recording = self.reference.read(latent)
        _, height, width = self.spec.latent
        mask = (prepared.mask[0] * 255).byte().numpy()
        return EchoMimicIdentity(
            identity_key(picture),
            self.backbone.network.read_bank(recording.bank),
            self.locator(self.here(prepared.mask[None])),
            face_tokens_of_mask(mask, (height, width)).to(self.device),
        )

    @torch.inference_mode()
    def prepare_conditioning(
        self, stream: SD15Stream, audio: NDArray[np.float32]
    ) -> SD15Conditioning:
        """Conditions of the stream's next window; of a known recording those of all of it.

        Raises:
            AudioError: the audio cannot be used; the stream is then as it was.
        """
        new = stream.speech.next(audio)
        known = stream.speech.known
        if known is not None and len(known) <= LONGEST:
            if CLIP in stream.own:
                condition: SD15Conditioning = stream.own[CLIP]
                return condition
            condition = stream.own[CLIP] = self._hearing(stream, known)
            return condition
        overlap = self.spec.overlap
        before = stream.own.get(HEARD, new[:1].expand(overlap, *new.shape[1:]))
        heard = torch.cat([before, new])
        stream.own[HEARD] = heard[len(heard) - overlap :]
        return self._hearing(stream, heard)

    def _hearing(self, stream: SD15Stream, features: Tensor) -> SD15Conditioning:
        identity: EchoMimicIdentity = stream.identity
        audio = self.here(features[None])
        return self.backbone.hearing(
            identity.key, identity.foreground, identity.bank, identity.face, audio
        )

    def sample(
        self,
        sampler: Sampler,
        streams: Sequence[SD15Stream],
        conditions: Sequence[SD15Conditioning],
    ) -> Tensor:
        """Clean latents [B, C, F, H, W] of every stream's next chunk."""
        live = [k for k, stream in enumerate(streams) if CLIP not in stream.own]
        found: dict[int, Tensor] = {}
        if live:
            waiting = [streams[k] for k in live]
            cond = self.backbone.collate([conditions[k] for k in live])
            windows = sampler(self.backbone, self.init_latents(waiting), cond)
            found = {k: self._shown(streams[k], windows[j : j + 1]) for j, k in enumerate(live)}
        for k, stream in enumerate(streams):
            if k not in found:
                found[k] = self._cut(sampler, stream, conditions[k])
        return torch.cat([found[k] for k in range(len(streams))])

    def init_latents(self, streams: Sequence[SD15Stream]) -> Tensor:
        """Start noise of windows [B, C, overlap + F, H, W]: old frames keep what they had."""
        overlap, noises = self.spec.overlap, []
        for stream in streams:
            before = stream.own.get(NOISE)
            if before is None:
                before = self._noise(stream, overlap)
            whole = torch.cat([before, self._noise(stream, self.spec.chunk_frames)], dim=2)
            stream.own[NOISE] = whole[:, :, whole.shape[2] - overlap :]
            noises.append(whole)
        return torch.cat(noises)

    def _noise(self, stream: SD15Stream, frames: int) -> Tensor:
        channels, height, width = self.spec.latent
        shape = (1, channels, frames, height, width)
        drawn = torch.randn(shape, generator=stream.noise, dtype=self.dtype)
        return drawn.float().clamp(-CLAMP, CLAMP).to(self.device)

    def _shown(self, stream: SD15Stream, window: Tensor) -> Tensor:
        new = smooth_boundary(window, self.spec.overlap, stream.own.get(SHOWN))
        stream.own[SHOWN] = new[:, :, -1:]
        return new

    def _cut(self, sampler: Sampler, stream: SD15Stream, cond: SD15Conditioning) -> Tensor:
        """The next chunk of a clip that is sampled whole, once; its last frame repeats."""
        frames, count = cond.frames, self.spec.chunk_frames
        if SHOWN not in stream.own:
            length = count + self.spec.overlap
            windows = EchoMimicWindows(
                self.backbone,
                sampler.plan.steps,
                frames,
                window=length,
                overlap=self.spec.overlap,
            )
            lanes = [
                DeviceReplica(lane.device, windows.on(lane.backbone)) for lane in sampler.lanes
            ]
            whole = Sampler(self.spec.schedule, sampler.plan, lanes=lanes)
            noise = self._noise(stream, frames)
            stream.own[SHOWN] = whole(windows, noise, windows.condition(cond))
            stream.own["at"] = 0
        first = stream.own["at"]
        stream.own["at"] = first + count
        index = torch.arange(first, first + count, device=self.device).clamp(max=frames - 1)
        made: Tensor = stream.own[SHOWN].index_select(2, index)
        return made


def make(
    spec: SD15Spec,
    networks: Mapping[str, nn.Module],
    options: ModelOptions,
    *,
    folder: Path | None,
    small: bool,
) -> EchoMimicPipeline:
    """The family around networks with values; MTCNN frames portraits where ``folder`` has it."""
    return EchoMimicPipeline(spec, networks, load_face_detector(folder))
