"""MEMO as the façade drives it: a portrait to an identity, speech to conditions, to frames."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.audio.wav2vec2 import Wav2VecFeatures
from models.face.landmarks import FACE_OVAL
from models.hallo.preprocess import FACE_RATIO, rectangle, resized
from models.memo.audio_module import NO_EMOTION
from models.memo.conditioning import (
    MemoDenoiser,
    audio_for_branches,
    labels_for_branches,
    read_clip_reference,
)
from models.memo.config import emotion_label
from models.memo.unet import MemoReferenceNet, MemoUNet
from models.nn.attention import KeyValue
from models.options import ModelOptions
from models.sd15.cfg import SD15Conditioning
from models.sd15.config import SD15Spec
from models.sd15.pipeline import SD15Pipeline, SD15Stream, identity_key
from models.sd15.preprocess import (
    FaceEmbedder,
    detect_landmarks,
    face_tokens_of_mask,
    load_face_embedder,
)

MEMORY = "memory"


@dataclass(frozen=True)
class MemoIdentity:
    """What is static for one portrait.

    Attributes:
        key: of its content.
        latent: [1, 4, H, W].
        faces: face tokens of both branches [num_branches, M, D]; seen: their keys and values.
        foreground: face tokens' indices [1, K].
    """

    key: str
    latent: Tensor
    faces: Tensor
    seen: Mapping[str, KeyValue]
    foreground: Tensor


class MemoPipeline(SD15Pipeline):
    """Networks with their weights; implements ``models.pipeline.Pipeline``.

    Emotion: the published labels come from features of emotion2vec, a model that is not among the
    publisher's files. Every clip gets ``label``; by default that of no emotion, which the networks
    know from training.
    """

    spec: SD15Spec
    backbone: MemoDenoiser

    def __init__(
        self,
        spec: SD15Spec,
        networks: Mapping[str, nn.Module],
        vectors: FaceEmbedder,
        label: int = NO_EMOTION,
    ) -> None:
        denoiser, reference = networks["diffusion_net"], networks["reference_net"]
        assert isinstance(denoiser, MemoUNet) and isinstance(reference, MemoReferenceNet)
        backbone = MemoDenoiser(spec, denoiser, spec.guidance, spec.without_reference)
        features = Wav2VecFeatures(networks["wav2vec"], spec.fps)
        super().__init__(spec, backbone, networks["vae"], features)
        self.reference, self.vectors, self.label = reference, vectors, label
        self.image, self.audio = networks["image_proj"], networks["audio_proj"]

    @torch.inference_mode()
    def encode_portrait(self, picture: NDArray[np.uint8]) -> MemoIdentity:
        """RGB uint8 [H, W, 3] -> what is static.

        Raises:
            PortraitError: the picture cannot be used.
        """
        points = detect_landmarks(picture)
        pixels = torch.from_numpy(resized(picture, self.size[0])).permute(2, 0, 1).float()
        face = torch.from_numpy(self.vectors.vector(picture))[None]
        mask = rectangle(points[list(FACE_OVAL)], picture.shape[:2], FACE_RATIO)
        _, height, width = self.spec.latent
        tokens = face_tokens_of_mask(mask, (height, width))
        return self.identity_from_tensors(
            identity_key(picture), pixels[None] / 127.5 - 1, face, tokens
        )

    @torch.inference_mode()
    def identity_from_tensors(
        self, key: str, pixels: Tensor, face: Tensor, tokens: Tensor
    ) -> MemoIdentity:
        """From a picture [1, 3, H, W] from -1 to 1, a face vector [1, D], face tokens [1, K]."""
        face = self.here(face)
        faces = torch.cat([self.image(torch.zeros_like(face)), self.image(face)])
        return MemoIdentity(
            key,
            self.here(self.vae.encode(pixels)),
            faces,
            self.backbone.network.see_face(faces, self.spec.chunk_frames),
            tokens.to(self.device),
        )

    def label_of(self, _: SD15Stream) -> int:
        """The emotion of the stream's next chunk."""
        return self.label

    @torch.inference_mode()
    def prepare_conditioning(
        self, stream: SD15Stream, audio: NDArray[np.float32]
    ) -> SD15Conditioning:
        """Conditions of the stream's next chunk; advances its speech and its memory.

        Raises:
            AudioError: the audio cannot be used; the stream is then as it was.
        """
        identity: MemoIdentity = stream.identity
        net, num_branches, frames = (
            self.backbone.network,
            self.backbone.num_branches,
            self.spec.chunk_frames,
        )
        windows = stream.speech.next(audio)[None].to(self.device)
        tokens = self.here(self.audio(windows))  # projected in float32, as published
        clip = read_clip_reference(
            net,
            self.reference,
            self.seen(stream, identity.latent),
            identity.faces,
            stream.own.get(MEMORY),
        )
        stream.own[MEMORY] = clip.memory
        parts: dict[str, Any] = {
            "bank": clip.bank,
            "face": identity.seen,
            "memory": clip.memory,
            "labels": labels_for_branches(
                self.label_of(stream), NO_EMOTION, frames, num_branches
            ).to(self.device),
            "audio": audio_for_branches(tokens, num_branches),
        }
        return self.backbone.condition(identity.key, identity.foreground, parts)


def make(
    spec: SD15Spec,
    networks: Mapping[str, nn.Module],
    options: ModelOptions,
    *,
    folder: Path | None,
    small: bool,
) -> MemoPipeline:
    """The family around networks with values; ``small``: of other sizes than the published."""
    size = networks["image_proj"].get_submodule("proj").in_features
    assert isinstance(size, int)
    embedder = load_face_embedder(folder, size, small=small)
    return MemoPipeline(spec, networks, embedder, emotion_label(options.emotion))
