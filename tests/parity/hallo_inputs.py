"""Replays what Hallo computes from audio and images before its networks run."""

from __future__ import annotations

import math
from collections.abc import Iterator

from models.audio import SAMPLE_RATE
from models.audio.streaming import clamped_windows
from models.audio.wav2vec2 import RADIUS, Wav2VecFeatures, zero_mean_unit_variance
from models.checkpoints import build as shared
from models.face.landmarks import FACE_OVAL
from models.hallo.audio_module import REGIONS
from models.hallo.preprocess import (
    FACE_BLUR,
    LIP_BLUR,
    LIP_RATIO,
    LIPS,
    blurred,
    prepare_hallo_portrait,
    region_of,
    separate,
)
from models.sd15.preprocess import FACE_RATIO, rectangle, resized
from tests.parity.directory import Directory
from tests.parity.items import Item, absent, against, compare, guarded
from tests.parity.networks import HalloNetworks

SMALL = 1e-5
WAV2VEC_CONFIG = "wav2vec (Wav2Vec2Config overrides)"
FPS = 25.0


def items(directory: Directory, _: HalloNetworks) -> Iterator[Item]:
    """Audio, then images."""
    yield from guarded("audio_emb", _audio(directory))
    yield from guarded("pixel_values_ref_u8", _image(directory))


def _audio(directory: Directory) -> Iterator[Item]:
    g = directory.golden("preprocess_audio")
    if "wav" not in g:
        yield absent("audio_emb", f"no wav in {g.path.name}")
        return
    network = directory.build(lambda config: shared.build_wav2vec(config[WAV2VEC_CONFIG]))
    directory.fill(network, "wav2vec")
    features = Wav2VecFeatures(network, FPS)
    speech = g.float("wav").numpy()
    yield against(g, "wav_normalized", zero_mean_unit_variance(speech), SMALL)
    length = directory.config.get("audio_length_frames")
    if length is not None:
        yield compare(
            "audio_length_frames", math.ceil(speech.size / SAMPLE_RATE * FPS), length, 0.0
        )
    windows = features.whole(speech, int(directory.config["frames"]))
    yield against(g, "audio_emb", windows[:, RADIUS], SMALL)
    yield against(g, "audio_emb_windowed", windows, SMALL)
    yield against(
        g,
        "audio_emb_windowed",
        lambda _: clamped_windows(g["audio_emb"], RADIUS),
        0.0,
        label="windows of audio_emb",
    )


def _image(directory: Directory) -> Iterator[Item]:
    g = directory.golden("preprocess_image")
    if "src_image_u8" not in g:
        yield absent("pixel_values_ref_u8", f"no src_image_u8 in {g.path.name}")
        return
    image, points = g["src_image_u8"].numpy(), g["landmarks"].numpy()
    size = int(directory.config["image_size"])
    face = rectangle(points[list(FACE_OVAL)], image.shape[:2], FACE_RATIO)
    lips = rectangle(points[list(LIPS)], image.shape[:2], LIP_RATIO)
    soft = blurred(face, FACE_BLUR)
    parts = separate(soft, blurred(lips, LIP_BLUR))
    computed = {
        "png_face_mask": face,
        "png_lip_mask": lips,
        "png_face_mask_blur": soft,
        "png_sep_background": parts.full,
        "png_sep_face": parts.face,
        "png_sep_lip": parts.lip,
        "pixel_values_ref_u8": resized(image, size).transpose(2, 0, 1),
        "face_region_u8": region_of(face, size).transpose(2, 0, 1),
    }
    for name, got in computed.items():
        yield against(g, name, got, 0.0)
    prepared = prepare_hallo_portrait(image, points, size)
    for level, masks in enumerate(prepared.masks):
        for region, mask in zip(REGIONS, masks, strict=True):
            name = f"{region}_mask_{level}"
            yield against(g, name, mask[None], 1e-6)
    pixels = (prepared.pixels * 0.5 + 0.5) * 255
    yield against(g, "pixel_values_ref_u8", pixels, 1e-4, label="pixel values")
