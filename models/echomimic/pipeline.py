"""EchoMimic pipeline: encodes the portrait, builds conditioning, samples, decodes frames.

With the whole speech known the published loop runs over all of it when the first chunk is asked
for; chunks are then cut from its result. Live speech, and recordings longer than the published
limit, are sampled window by window (``streaming.py``).
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
from models.echomimic.conditioning import EchoMimicConditioning
from models.echomimic.preprocess import (
    FaceDetector,
    load_face_detector,
    prepare_echomimic_portrait,
)
from models.echomimic.streaming import smooth_boundary
from models.echomimic.unet import EchoMimicDenoiser, EchoMimicUNet
from models.echomimic.windows import EchoMimicWindows
from models.face.report import PortraitReport
from models.io.face_box import FaceBox
from models.lightning.dfa import FaceTokens
from models.lightning.sampler import Sampler
from models.nn.attention import KeyValue
from models.options import ModelOptions
from models.sd15.config import SD15Spec
from models.sd15.pipeline import SD15Pipeline, SD15Stream, identity_key
from models.sd15.preprocess import face_tokens_of_mask, part_around, report_of_picture
from models.sd15.reference_net import ReferenceNet

CLAMP = 1.5  # of start noise, as published
LONGEST = 1200  # frames of a clip that the published loop takes


@dataclass(frozen=True)
class EchoMimicIdentity:
    """What is static for one portrait.

    Attributes:
        key: of its content.
        reference_kv: keys and values of the portrait, by path of the transformer.
        face: the located face [1, C, H, W].
        face_tokens: where the face is.
        report: what was found in the picture; None where that is not known.
    """

    key: str
    reference_kv: Mapping[str, KeyValue]
    face: Tensor
    face_tokens: FaceTokens
    report: PortraitReport | None = None


@dataclass
class EchoMimicStream(SD15Stream[EchoMimicIdentity]):
    """What one session carries from chunk to chunk.

    Attributes:
        audio_context: audio tokens of the window's last ``overlap`` frames [overlap, M, D]; None
            before the first window.
        latent_noise: initial latents of the same frames [1, C, overlap, H, W]; None before.
        last_frame: latents of the last frame shown [1, C, 1, H, W]; None before.
        clip: conditioning of the whole clip, where the speech is known and not too long.
        clip_latents: the whole clip [1, C, F, H, W] once it is sampled.
        clip_position: the next frame of the clip to show.
    """

    audio_context: Tensor | None = None
    latent_noise: Tensor | None = None
    last_frame: Tensor | None = None
    clip: EchoMimicConditioning | None = None
    clip_latents: Tensor | None = None
    clip_position: int = 0

    def close(self) -> None:
        """Release speech features, frames, latents and conditioning."""
        super().close()
        self.audio_context = self.latent_noise = self.last_frame = None
        self.clip = self.clip_latents = None


class EchoMimicPipeline(SD15Pipeline[EchoMimicIdentity, EchoMimicStream, EchoMimicConditioning]):
    """Networks with their weights; implements ``models.pipeline.Pipeline``."""

    backbone: EchoMimicDenoiser
    stream_type = EchoMimicStream

    def __init__(
        self, spec: SD15Spec, networks: Mapping[str, nn.Module], detector: FaceDetector
    ) -> None:
        denoiser, reference = networks["denoising_unet"], networks["reference_unet"]
        assert isinstance(denoiser, EchoMimicUNet) and isinstance(reference, ReferenceNet)
        backbone = EchoMimicDenoiser(spec, denoiser, spec.guidance, spec.without_reference)
        features = WhisperFeatures(networks["whisper"], spec.fps)
        super().__init__(spec, backbone, networks["vae"], features)
        self.reference, self.locator = reference, networks["face_locator"]
        self.detector = detector

    @torch.inference_mode()
    def encode_portrait(
        self, picture: NDArray[np.uint8], box: FaceBox | None = None
    ) -> EchoMimicIdentity:
        """RGB uint8 [H, W, 3], or its part around a box -> what is static.

        Raises:
            PortraitError: the picture cannot be used.
        """
        part = part_around(picture, box)
        prepared = prepare_echomimic_portrait(part, self.detector.detect(part), self.size[0])
        latent = self.to_denoiser(self.vae.encode(prepared.pixels[None]))
        _, recorded = self.reference.read(latent)
        _, height, width = self.spec.latent
        mask = (prepared.mask[0] * 255).byte().numpy()
        return EchoMimicIdentity(
            identity_key(part),
            self.backbone.network.project_reference(recorded.features),
            self.locator(self.to_denoiser(prepared.mask[None])),
            FaceTokens(face_tokens_of_mask(mask, (height, width)).to(self.device)),
            report_of_picture(picture, box),
        )

    @torch.inference_mode()
    def prepare_conditioning(
        self, stream: EchoMimicStream, audio: NDArray[np.float32]
    ) -> EchoMimicConditioning:
        """Conditioning of the stream's next window; of a known recording that of all of it.

        Raises:
            AudioError: the audio cannot be used; the stream is then as it was.
        """
        new = stream.speech.next(audio)
        known = stream.speech.known
        if known is not None and len(known) <= LONGEST:
            if stream.clip is None:
                stream.clip = self._conditioning(stream.identity, known)
            return stream.clip
        overlap = self.spec.overlap
        before = stream.audio_context
        if before is None:
            before = new[:1].expand(overlap, *new.shape[1:])
        window = torch.cat([before, new])
        stream.audio_context = window[len(window) - overlap :]
        return self._conditioning(stream.identity, window)

    def _conditioning(self, identity: EchoMimicIdentity, features: Tensor) -> EchoMimicConditioning:
        return self.backbone.conditioning(
            identity.key,
            identity.face_tokens,
            reference_kv=identity.reference_kv,
            face=identity.face,
            audio=self.to_denoiser(features[None]),
        )

    def sample(
        self,
        sampler: Sampler,
        streams: Sequence[EchoMimicStream],
        conditions: Sequence[EchoMimicConditioning],
    ) -> Tensor:
        """Clean latents [B, C, F, H, W] of every stream's next chunk."""
        live = [k for k, stream in enumerate(streams) if stream.clip is None]
        chunks: dict[int, Tensor] = {}
        if live:
            live_streams = [streams[k] for k in live]
            cond = self.backbone.collate([conditions[k] for k in live])
            windows = sampler(self.backbone, self.init_latents(live_streams), cond)
            for row, k in enumerate(live):
                chunks[k] = self._new_frames(streams[k], windows[row : row + 1])
        for k, stream in enumerate(streams):
            if k not in chunks:
                chunks[k] = self._cut(sampler, stream, conditions[k])
        return torch.cat([chunks[k] for k in range(len(streams))])

    def init_latents(self, streams: Sequence[EchoMimicStream]) -> Tensor:
        """Start noise of windows [B, C, overlap + F, H, W]: old frames keep what they had."""
        overlap, noises = self.spec.overlap, []
        for stream in streams:
            before = stream.latent_noise
            if before is None:
                before = self._noise(stream, overlap)
            window = torch.cat([before, self._noise(stream, self.spec.chunk_frames)], dim=2)
            stream.latent_noise = window[:, :, window.shape[2] - overlap :]
            noises.append(window)
        return torch.cat(noises)

    def _noise(self, stream: EchoMimicStream, frames: int) -> Tensor:
        channels, height, width = self.spec.latent
        shape = (1, channels, frames, height, width)
        noise = torch.randn(shape, generator=stream.noise, dtype=self.dtype)
        return noise.float().clamp(-CLAMP, CLAMP).to(self.device)

    def _new_frames(self, stream: EchoMimicStream, window: Tensor) -> Tensor:
        new = smooth_boundary(window, self.spec.overlap, stream.last_frame)
        stream.last_frame = new[:, :, -1:]
        return new

    def _cut(
        self, sampler: Sampler, stream: EchoMimicStream, cond: EchoMimicConditioning
    ) -> Tensor:
        """The next chunk of a clip that is sampled whole, once; its last frame repeats."""
        if stream.clip_latents is None:
            stream.clip_latents = self._sample_clip(sampler, stream, cond)
        first, count = stream.clip_position, self.spec.chunk_frames
        stream.clip_position = first + count
        index = torch.arange(first, first + count, device=self.device).clamp(max=cond.frames - 1)
        return stream.clip_latents.index_select(2, index)

    def _sample_clip(
        self, sampler: Sampler, stream: EchoMimicStream, cond: EchoMimicConditioning
    ) -> Tensor:
        overlap, frames = self.spec.overlap, cond.frames
        window = self.spec.chunk_frames + overlap
        windows = EchoMimicWindows(self.backbone, frames, window=window, overlap=overlap)
        replicas = [windows.on_replica(replica) for replica in sampler.replicas]
        clip_sampler = Sampler(self.spec.schedule, sampler.plan, replicas=replicas)
        clip_sampler.on_call = sampler.on_call
        noise = self._noise(stream, frames)
        return clip_sampler(windows, noise, windows.condition(cond))


def make(
    spec: SD15Spec,
    networks: Mapping[str, nn.Module],
    options: ModelOptions,
    *,
    folder: Path | None,
    small: bool,
) -> EchoMimicPipeline:
    """The pipeline around loaded networks; MTCNN frames portraits where ``folder`` has it."""
    return EchoMimicPipeline(spec, networks, load_face_detector(folder))
