"""MEMO pipeline: encodes the portrait, builds per-chunk conditioning, decodes frames."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.audio.wav2vec2 import Wav2VecFeatures
from models.face.landmarks import FACE_OVAL
from models.face.report import PortraitReport
from models.io.face_box import FaceBox
from models.lightning.dfa import FaceTokens
from models.memo.conditioning import MemoConditioning, labels_for_branches
from models.memo.config import NO_EMOTION, emotion_label
from models.memo.memory_attention import Memories
from models.memo.unet import MemoDenoiser, MemoReferenceNet, MemoUNet, read_clip_reference
from models.nn.attention import KeyValue
from models.options import ModelOptions
from models.sd15.cfg import zeros_for_uncond
from models.sd15.config import SD15Spec
from models.sd15.pipeline import SD15Pipeline, SD15Stream, identity_key
from models.sd15.preprocess import (
    FACE_RATIO,
    FaceEmbedder,
    detect_landmarks,
    face_tokens_of_mask,
    load_face_embedder,
    part_around,
    rectangle,
    report_of_picture,
    resized,
)


@dataclass(frozen=True)
class MemoIdentity:
    """What is static for one portrait.

    Attributes:
        key: of its content.
        latent: [1, 4, H, W].
        faces: face embedding tokens of all branches [num_branches, M, D].
        face_kv: their keys and values of all rows, by path of the transformer.
        face_tokens: where the face is.
        report: what was found in the picture; None where that is not known.
    """

    key: str
    latent: Tensor
    faces: Tensor
    face_kv: Mapping[str, KeyValue]
    face_tokens: FaceTokens
    report: PortraitReport | None = None


@dataclass
class MemoStream(SD15Stream[MemoIdentity]):
    """What one session carries from chunk to chunk.

    Attributes:
        memory: of the motion modules, as the chunk before left it; None before the first.
    """

    memory: Memories | None = None

    def close(self) -> None:
        """Release speech features, frames and the memory."""
        super().close()
        self.memory = None


class MemoPipeline(SD15Pipeline[MemoIdentity, MemoStream, MemoConditioning]):
    """Networks with their weights; implements ``models.pipeline.Pipeline``.

    Args:
        emotion: label of every clip. The published labels come from features of emotion2vec, a
            model that is not among the publisher's files; the default is that of no emotion, which
            the networks know from training.
    """

    backbone: MemoDenoiser
    stream_type = MemoStream

    def __init__(
        self,
        spec: SD15Spec,
        networks: Mapping[str, nn.Module],
        embedder: FaceEmbedder,
        emotion: int = NO_EMOTION,
    ) -> None:
        denoiser, reference = networks["diffusion_net"], networks["reference_net"]
        assert isinstance(denoiser, MemoUNet) and isinstance(reference, MemoReferenceNet)
        backbone = MemoDenoiser(spec, denoiser, spec.guidance, spec.without_reference)
        features = Wav2VecFeatures(networks["wav2vec"], spec.fps)
        super().__init__(spec, backbone, networks["vae"], features)
        self.reference, self.embedder, self.emotion = reference, embedder, emotion
        self.image, self.audio = networks["image_proj"], networks["audio_proj"]

    @torch.inference_mode()
    def encode_portrait(
        self, picture: NDArray[np.uint8], box: FaceBox | None = None
    ) -> MemoIdentity:
        """RGB uint8 [H, W, 3], or its part around a box -> what is static.

        Raises:
            PortraitError: the picture cannot be used.
        """
        part = part_around(picture, box)
        points = detect_landmarks(part)
        pixels = torch.from_numpy(resized(part, self.size[0])).permute(2, 0, 1).float()
        face = torch.from_numpy(self.embedder.embed(part))[None]
        mask = rectangle(points[list(FACE_OVAL)], part.shape[:2], FACE_RATIO)
        _, height, width = self.spec.latent
        tokens = face_tokens_of_mask(mask, (height, width))
        identity = self.identity_from_tensors(
            identity_key(part), pixels[None] / 127.5 - 1, face, tokens
        )
        aspect = part.shape[1] / part.shape[0]
        return replace(identity, report=report_of_picture(picture, box, aspect=aspect))

    @torch.inference_mode()
    def identity_from_tensors(
        self, key: str, pixels: Tensor, face: Tensor, tokens: Tensor
    ) -> MemoIdentity:
        """From a picture [1, 3, H, W] from -1 to 1, a face embedding [1, D], face tokens [1, K]."""
        face = self.to_denoiser(face)
        faces = torch.cat([self.image(torch.zeros_like(face)), self.image(face)])
        return MemoIdentity(
            key,
            self.to_denoiser(self.vae.encode(pixels)),
            faces,
            self.backbone.network.project_face(faces, self.spec.chunk_frames),
            FaceTokens(tokens.to(self.device)),
        )

    @torch.inference_mode()
    def prepare_conditioning(
        self, stream: MemoStream, audio: NDArray[np.float32]
    ) -> MemoConditioning:
        """Conditioning of the stream's next chunk; advances its speech and its memory.

        Raises:
            AudioError: the audio cannot be used; the stream is then as it was.
        """
        identity, backbone = stream.identity, self.backbone
        num_branches, frames = backbone.num_branches, self.spec.chunk_frames
        windows = stream.speech.next(audio)[None].to(self.device)
        tokens = self.to_denoiser(self.audio(windows))  # projected in float32, as published
        latents = self.encode_pictures(stream, identity.latent)
        pictures = read_clip_reference(
            backbone.network, self.reference, latents, identity.faces, stream.memory
        )
        stream.memory = pictures.memory
        labels = labels_for_branches(self.emotion, NO_EMOTION, frames, num_branches)
        return backbone.conditioning(
            identity.key,
            identity.face_tokens,
            pictures=pictures,
            face_kv=identity.face_kv,
            labels=labels.to(self.device),
            audio=zeros_for_uncond(tokens.flatten(0, 1), num_branches),
        )


def make(
    spec: SD15Spec,
    networks: Mapping[str, nn.Module],
    options: ModelOptions,
    *,
    folder: Path | None,
    small: bool,
) -> MemoPipeline:
    """The pipeline around loaded networks; ``small``: of other sizes than the published."""
    size = networks["image_proj"].get_submodule("proj").in_features
    assert isinstance(size, int)
    embedder = load_face_embedder(folder, size, small=small)
    return MemoPipeline(spec, networks, embedder, emotion_label(options.emotion))
