"""The pipeline of ``mini``: encodes the portrait, builds per-chunk conditioning, decodes frames."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from models.face.landmarks import move_landmarks
from models.face.portrait import Portrait, prepare_portrait
from models.face.tone import in_tone
from models.io.face_box import FaceBox
from models.lightning.dfa import token_indices
from models.lightning.sampler import Sampler
from models.mini.audio import (
    FRAME_SAMPLES,
    PAST_FRAMES,
    AudioEncoder,
    StreamingWindow,
    chunk_features,
)
from models.mini.autoencoder import Autoencoder, FrameDecoder
from models.mini.compiled import CompiledMini
from models.mini.conditioning import MiniConditioning, Reference
from models.mini.config import MiniSpec
from models.mini.life.life import LIVELINESS, Life
from models.mini.mouth import BlendshapeRegressor, opening_gains
from models.mini.prior import Prior, geometry_planes, sigma_map
from models.mini.scene.head_warp import BODY_SIZE, POSE
from models.mini.scene.mouth_gamut import MouthGamut
from models.mini.scene.scene import PortraitScene
from models.mini.scene.skin_motion import SkinMotion
from models.mini.unet import MiniUNet
from models.options import SIZE
from models.runtime.eager import for_inference
from models.runtime.engine import Engine

BOUNDARY_SHARE = 0.2
"""Share of the excess step at a chunk boundary that the first frame gives up; measured."""


@dataclass(frozen=True)
class MiniIdentity:
    """What is static for one portrait.

    Attributes:
        key: content hash of the framed picture.
        portrait: the framed picture, its face window and landmarks.
        reference: reference features of the window.
        scene: draws frames: the portrait with another window and another pose.
        skin: how face units move its skin.
        gamut: which colours the inside of its mouth can have.
    """

    key: str
    portrait: Portrait
    reference: Reference
    scene: PortraitScene
    skin: SkinMotion
    gamut: MouthGamut

    def colour(self, window: NDArray[np.uint8], mouth: NDArray[np.floating]) -> NDArray[np.uint8]:
        """A generated window RGB uint8 [256, 256, 3] in colours that the portrait can have.

        A face of one tone gives it to all that is drawn, others bound the inside of the mouth.

        Args:
            mouth: units that it shows, [13], columns ``MOUTH_UNITS``.
        """
        tone = self.portrait.tone
        return self.gamut.limit(window, mouth) if tone is None else in_tone(window, tone)

    def draw(self, window: NDArray[np.uint8], look: ChunkLook, k: int) -> NDArray[np.uint8]:
        """The frame RGB uint8 [H, W, 3] of a generated window, with the k-th look of a chunk."""
        moved = self.skin.displacement(look.mouth[k], look.expression[k])
        return self.scene.draw(self.colour(window, look.mouth[k]), look.poses[k], moved)


@dataclass(frozen=True)
class ChunkLook:
    """How the face and head of one chunk's F frames are.

    Attributes:
        mouth: blendshapes heard in the speech, float32 [F, U].
        expression: blink, gaze and brow, float32 [F, E].
        poses: of head and body, float32 [F, 5], columns ``scene.head_warp.POSE``.
    """

    mouth: NDArray[np.float32]
    expression: NDArray[np.float32]
    poses: NDArray[np.float32]


@dataclass
class MiniStream:
    """What one session carries from chunk to chunk.

    Attributes:
        identity: the portrait that it animates.
        window: past audio.
        life: procedural movement of eyes, brows, head and body, led by the speech.
        noise: initial noise [1, C, F, H, W], the same for every frame and chunk, so that nothing
            but the conditioning moves the picture.
        look: of the last chunk that was conditioned, which is the next to be decoded.
        last: latents of the previous chunk's last two frames, [1, C, 2, H, W]; None before the
            first chunk.
    """

    identity: MiniIdentity
    window: StreamingWindow
    life: Life
    noise: Tensor
    look: ChunkLook
    last: Tensor | None = None

    def listen(self, caller_speaks: bool) -> None:
        """Say whether the caller speaks; see ``models.generator.Listener``."""
        self.life.listen(caller_speaks)

    def close(self) -> None:
        """Release the latents; the rest is small or shared."""
        self.last = None
        self.noise = self.noise.new_empty(0)


class MiniPipeline:
    """The networks of ``mini`` with their weights; implements ``models.pipeline.Pipeline``.

    Attributes:
        liveliness: of the streams that are opened from now on; see ``Life``.
    """

    liveliness = LIVELINESS

    def __init__(
        self,
        spec: MiniSpec,
        backbone: MiniUNet,
        autoencoder: Autoencoder,
        regressor: BlendshapeRegressor,
        audio_encoder: AudioEncoder,
        dtype: torch.dtype,
        engine: Engine | None = None,
        size: tuple[int, int] = (SIZE, SIZE),
    ) -> None:
        """``dtype`` is what PyTorch computes in where there is no ``engine``; ``size`` is
        (height, width) of a frame, pixels."""
        self.spec = spec
        self.engine = engine
        self.dtype = torch.float32 if engine else dtype
        self.backbone: MiniUNet | CompiledMini = (
            CompiledMini(backbone, engine) if engine else for_inference(backbone, dtype)
        )
        # encodes portraits: only once each, therefore in full precision
        self.autoencoder = for_inference(autoencoder, torch.float32)
        self.frame_decoder = FrameDecoder(autoencoder, dtype, spec.chunk_frames, engine)
        self.regressor = regressor.eval()
        self.audio_encoder = audio_encoder
        self.size = size
        self._gain = opening_gains(spec.mouth_gain)

    @torch.inference_mode()
    def encode_portrait(
        self, picture: NDArray[np.uint8], box: FaceBox | None = None
    ) -> MiniIdentity:
        """Find the face, encode its window, compute reference features; once per portrait.

        Raises:
            PortraitError: the picture cannot be used.
        """
        portrait = prepare_portrait(picture, self.size, box)
        key = sha256(portrait.picture.tobytes() + portrait.window.tobytes()).hexdigest()[:16]
        pixels = torch.from_numpy(portrait.window).permute(2, 0, 1)[None].float() / 255
        latent = self.autoencoder.encode(pixels.contiguous(memory_format=torch.channels_last))
        mask = torch.from_numpy(portrait.cover)[None, None]
        mask = F.adaptive_avg_pool2d(mask, self.spec.latent[1:])
        stride = self.autoencoder.spec.stride
        to_window = portrait.to_window.apply
        mouth = torch.from_numpy(to_window(portrait.mouth_xy))[None].float() / stride
        eyes_xy = to_window(portrait.eyes_xy.reshape(2, 2)).reshape(1, 4)
        eyes = torch.from_numpy(eyes_xy).float() / stride
        sigma = sigma_map(mask[:, 0], mouth, eyes, self.spec)
        geometry = geometry_planes(mask[:, 0], mouth, eyes).to(self.dtype)
        reference = self.backbone.reference([key], Prior(latent[:, None], sigma[:, None]), geometry)
        face = (sigma[0, 0] > self.spec.sigma_background).float()
        reference = replace(reference, foreground=token_indices(face))
        still = self._decode_still(latent)
        scene = PortraitScene(
            portrait.picture,
            portrait.person,
            portrait.landmarks,
            portrait.to_window,
            portrait.cover,
            still if portrait.tone is None else in_tone(still, portrait.tone),
        )
        inside = move_landmarks(portrait.landmarks, portrait.to_window)
        skin = SkinMotion(inside.points, portrait.cover)
        gamut = MouthGamut(portrait.mouth_colours, inside.points)
        return MiniIdentity(key, portrait, reference, scene, skin, gamut)

    def _decode_still(self, latent: Tensor) -> NDArray[np.uint8]:
        """What the frame decoder makes of one latent [1, C, H, W]: RGB uint8 [8H, 8W, 3]."""
        frames = latent.expand(self.spec.chunk_frames, -1, -1, -1)
        still: NDArray[np.uint8] = self.frame_decoder(frames)[0].cpu().numpy()
        return still

    def new_stream(
        self, identity: MiniIdentity, seed: int, speech: NDArray[np.float32] | None = None
    ) -> MiniStream:
        """Start a stream; ``seed`` is of its motion and noise.

        Audio is encoded chunk by chunk, whether or not the whole ``speech`` is known.
        """
        generator = torch.Generator().manual_seed(seed)
        channels, height, width = self.spec.latent
        noise = torch.randn(1, channels, 1, height, width, generator=generator)
        noise = noise.expand(-1, -1, self.spec.chunk_frames, -1, -1)
        sizes = (self.spec.mouth_units, self.spec.motion, len(POSE))
        return MiniStream(
            identity,
            StreamingWindow(self.spec.chunk_frames),
            Life(seed, self.spec.fps, self.liveliness, head=self.spec.head_motion),
            noise * self.spec.schedule.start_noise,
            ChunkLook(*(np.zeros((self.spec.chunk_frames, n), np.float32) for n in sizes)),
        )

    @torch.inference_mode()
    def prepare_conditioning(
        self, stream: MiniStream, audio: NDArray[np.float32]
    ) -> MiniConditioning:
        """Conditioning of the stream's next chunk; advances its audio and motion.

        Raises:
            AudioError: the audio is misshapen; the stream is then as it was.
        """
        window = stream.window.push(audio)
        features = self.regressor.normalise(
            torch.from_numpy(chunk_features(self.audio_encoder, window))
        )
        mouth = (self._gain * self.regressor(features)).clamp(0.0, 1.0)
        track = stream.life.frames(window[PAST_FRAMES * FRAME_SAMPLES :])
        poses = np.concatenate([track.pose, track.body * np.array(BODY_SIZE, np.float32)], 1)
        stream.look = ChunkLook(mouth.numpy(), track.expression, poses)
        return self.backbone.condition(
            stream.identity.reference,
            features[None].to(self.dtype),
            mouth[None].to(self.dtype),
            torch.from_numpy(track.expression)[None].to(self.dtype),
        )

    def sample(
        self,
        sampler: Sampler,
        streams: Sequence[MiniStream],
        conditions: Sequence[MiniConditioning],
    ) -> Tensor:
        """Clean latents [B, C, F, H, W] of every stream's next chunk, in one batch."""
        cond = self.backbone.collate(conditions)
        latents = sampler(self.backbone, self.init_latents(streams), cond)
        return self.smooth_boundary(streams, latents)

    @torch.inference_mode()
    def smooth_boundary(self, streams: Sequence[MiniStream], latents: Tensor) -> Tensor:
        """Smooth the boundary between each stream's previous chunk and this one, [B, C, F, H, W].

        Frames attend to the frames of their own chunk only, so that movement accumulates at the
        boundaries. The step over a boundary beyond the movement on both sides of it is spread over
        the new chunk, halving from frame to frame.
        """
        smoothed = [
            spread_excess_step(chunk[None], stream.last)
            for stream, chunk in zip(streams, latents.unbind(0), strict=True)
        ]
        for stream, chunk in zip(streams, smoothed, strict=True):
            stream.last = chunk[:, :, -2:]
        return torch.cat(smoothed)

    @torch.inference_mode()
    def decode(self, streams: Sequence[MiniStream], latents: Tensor) -> Tensor:
        """Latents [B, C, F, H, W] of B streams -> RGB uint8 [B, F, H, W, 3].

        Each window is laid into its stream's portrait, whose head then takes the chunk's poses.
        """
        windows = self.frame_decoder(latents.transpose(1, 2).flatten(0, 1)).cpu().numpy()
        windows = windows.reshape(len(streams), -1, *windows.shape[1:])
        frames = np.empty((*windows.shape[:2], *self.size, 3), np.uint8)
        for out, chunk, stream in zip(frames, windows, streams, strict=True):
            for k, window in enumerate(chunk):
                out[k] = stream.identity.draw(window, stream.look, k)
        return torch.from_numpy(frames)

    def draw(
        self, streams: Sequence[MiniStream], latents: Tensor
    ) -> list[Iterator[NDArray[np.uint8]]]:
        """The frames of ``decode`` one by one; see ``models.pipeline.DrawingPipeline``."""
        return [
            self._draw_chunk(stream.identity, stream.look, chunk.transpose(0, 1))
            for stream, chunk in zip(streams, latents, strict=True)
        ]

    def _draw_chunk(
        self, identity: MiniIdentity, look: ChunkLook, latents: Tensor
    ) -> Iterator[NDArray[np.uint8]]:
        """Frames of latents [F, C, H, W]. The first is decoded alone, so that it is there soon."""
        whole = self.engine is not None  # whose program has the shape of a chunk
        parts = [latents] if whole else [latents[:1], latents[1:]]
        k = 0
        for part in parts:
            with torch.inference_mode():
                windows = self.frame_decoder(part).cpu().numpy()
            for window in windows:
                yield identity.draw(window, look, k)
                k += 1

    def init_latents(self, streams: Sequence[MiniStream]) -> Tensor:
        """Initial noise of a batch of streams, [B, C, F, H, W]."""
        return torch.cat([stream.noise for stream in streams])


def spread_excess_step(chunk: Tensor, last: Tensor | None) -> Tensor:
    """Spread the excess step between two chunks over the second one.

    Args:
        chunk: latents [1, C, F, H, W].
        last: the previous chunk's last two frames [1, C, 2, H, W]; None for a first chunk.
    """
    if last is None:
        return chunk
    movement = (last[:, :, 1] - last[:, :, 0] + chunk[:, :, 1] - chunk[:, :, 0]) / 2
    excess = chunk[:, :, 0] - last[:, :, 1] - movement
    weights = BOUNDARY_SHARE * 0.5 ** torch.arange(chunk.shape[2], dtype=chunk.dtype)
    return chunk - excess[:, :, None] * weights[:, None, None]
