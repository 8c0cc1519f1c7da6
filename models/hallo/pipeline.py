"""Hallo pipeline: encodes the portrait, builds per-chunk conditioning, decodes frames."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.audio.wav2vec2 import Wav2VecFeatures
from models.face.report import PortraitReport
from models.hallo.conditioning import HalloConditioning
from models.hallo.preprocess import HalloPortrait, prepare_hallo_portrait
from models.hallo.unet import HalloDenoiser, HalloUNet, read_chunk_reference
from models.io.face_box import FaceBox
from models.lightning.dfa import FaceTokens, token_indices
from models.nn.attention import KeyValue
from models.options import ModelOptions
from models.sd15.cfg import zeros_for_uncond
from models.sd15.config import SD15Spec
from models.sd15.pipeline import SD15Pipeline, SD15Stream, identity_key
from models.sd15.preprocess import (
    FaceEmbedder,
    detect_landmarks,
    load_face_embedder,
    part_around,
    report_of_picture,
)
from models.sd15.reference_net import ReferenceNet

FACE = 1  # of the masks: background, face, lips


@dataclass(frozen=True)
class HalloIdentity:
    """What is static for one portrait, of all guidance branches where they differ.

    Attributes:
        key: of its content.
        latent: [1, 4, H, W].
        faces: face embedding tokens [num_branches, M, D].
        face_kv: their keys and values of all rows, by path of the transformer.
        region: the located face [num_branches, C, H, W]; masks: [num_branches, 3, L] at each level.
        face_tokens: where the face is.
        report: what was found in the picture; None where that is not known.
    """

    key: str
    latent: Tensor
    faces: Tensor
    face_kv: Mapping[str, KeyValue]
    region: Tensor
    masks: tuple[Tensor, ...]
    face_tokens: FaceTokens
    report: PortraitReport | None = None


class HalloPipeline(SD15Pipeline[HalloIdentity, SD15Stream[HalloIdentity], HalloConditioning]):
    """Networks with their weights; implements ``models.pipeline.Pipeline``."""

    backbone: HalloDenoiser
    stream_type = SD15Stream[HalloIdentity]

    def __init__(
        self, spec: SD15Spec, networks: Mapping[str, nn.Module], embedder: FaceEmbedder
    ) -> None:
        denoiser, reference = networks["denoising_unet"], networks["reference_unet"]
        assert isinstance(denoiser, HalloUNet) and isinstance(reference, ReferenceNet)
        backbone = HalloDenoiser(
            spec, denoiser, spec.guidance, without_reference=spec.without_reference
        )
        features = Wav2VecFeatures(networks["wav2vec"], spec.fps)
        super().__init__(spec, backbone, networks["vae"], features)
        self.reference, self.embedder = reference, embedder
        self.image, self.audio = networks["imageproj"], networks["audioproj"]
        self.locator = networks["face_locator"]

    @torch.inference_mode()
    def encode_portrait(
        self, picture: NDArray[np.uint8], box: FaceBox | None = None
    ) -> HalloIdentity:
        """RGB uint8 [H, W, 3], or its part around a box -> what is static.

        Raises:
            PortraitError: the picture cannot be used.
        """
        part = part_around(picture, box)
        prepared = prepare_hallo_portrait(part, detect_landmarks(part), self.size[0])
        face = torch.from_numpy(self.embedder.embed(part))[None]
        identity = self.identity_from_tensors(identity_key(part), prepared, face)
        aspect = part.shape[1] / part.shape[0]
        return replace(identity, report=report_of_picture(picture, box, aspect=aspect))

    @torch.inference_mode()
    def identity_from_tensors(
        self, key: str, prepared: HalloPortrait, face: Tensor
    ) -> HalloIdentity:
        """From a prepared portrait and its face embedding [1, D]."""
        face = self.to_denoiser(face)
        faces = torch.cat([self.image(torch.zeros_like(face)), self.image(face)])
        num_branches = self.backbone.num_branches
        region = self.locator(self.to_denoiser(prepared.region[None]))
        masks = tuple(
            self.to_denoiser(level).expand(num_branches, -1, -1) for level in prepared.masks
        )
        _, height, width = self.spec.latent
        face_map = prepared.masks[0][FACE:].amax(0).view(height, width)
        return HalloIdentity(
            key,
            self.to_denoiser(self.vae.encode(prepared.pixels[None])),
            faces,
            self.backbone.network.project_face(faces, self.spec.chunk_frames),
            zeros_for_uncond(region, num_branches),
            masks,
            FaceTokens(token_indices(face_map, multiple=1).to(self.device)),
        )

    @torch.inference_mode()
    def prepare_conditioning(
        self, stream: SD15Stream[HalloIdentity], audio: NDArray[np.float32]
    ) -> HalloConditioning:
        """Conditioning of the stream's next chunk; advances its speech.

        Raises:
            AudioError: the audio cannot be used; the stream is then as it was.
        """
        identity, backbone = stream.identity, self.backbone
        tokens = self.audio(self.to_denoiser(stream.speech.next(audio)[None]))
        latents = self.encode_pictures(stream, identity.latent)
        return backbone.conditioning(
            identity.key,
            identity.face_tokens,
            pictures=read_chunk_reference(
                backbone.network, self.reference, latents, identity.faces
            ),
            face_kv=identity.face_kv,
            audio=zeros_for_uncond(tokens, backbone.num_branches).flatten(0, 1),
            masks=identity.masks,
            region=identity.region,
        )


def make(
    spec: SD15Spec,
    networks: Mapping[str, nn.Module],
    options: ModelOptions,
    *,
    folder: Path | None,
    small: bool,
) -> HalloPipeline:
    """The pipeline around loaded networks; ``small``: of other sizes than the published."""
    size = networks["imageproj"].get_submodule("proj").in_features
    assert isinstance(size, int)
    return HalloPipeline(spec, networks, load_face_embedder(folder, size, small=small))
