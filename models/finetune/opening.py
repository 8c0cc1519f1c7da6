"""Calibrates how wide a person's mouth opens when it is heard: the gain of their weights.

Reading units from speech shrinks them, and pictures show less of an opening than they are told.
By how much differs from person to person. So a part of the video that was not trained on is drawn
from its sound alone, and the gap between the lips is compared with that in the video.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from models.dataset.clips import Clip
from models.evaluation.face_track import track_face
from models.finetune.rest import draw_clip
from models.lightning.plan import StepPlan
from models.mini.autoencoder import Autoencoder
from models.mini.config import MINI
from models.mini.mouth import opening_gains
from models.mini.unet import MiniUNet
from models.training.latents import Variant
from models.training.speech_features import ClipSpeech

LIMITS = (0.9, 1.5)
"""Of the gain; beyond them the tracking is more likely at fault than the opening."""
BATCH = 16  # pictures decoded at once


@torch.no_grad()
def calibrate_gain(
    net: MiniUNet,
    codec: Autoencoder,
    plan: StepPlan,
    clips: Sequence[tuple[Clip, Variant, ClipSpeech]],
) -> float:
    """The gain at which lips move as far as in the clips; the usual one if none can be tracked."""
    drawn: list[NDArray[np.float64]] = []
    true: list[NDArray[np.float64]] = []
    for clip, variant, speech in clips:
        heard = opening_gains(MINI.mouth_gain) * speech.predicted[0].flatten(0, 1)
        pictures = _decode(codec, draw_clip(net, plan, variant, speech, heard.clamp(0, 1)))
        filmed = np.stack([clip.video[k] for k in range(len(pictures))])
        seen, wanted = track_face(pictures), track_face(filmed)
        if seen is None or wanted is None:  # the gaps of other clips would be compared
            continue
        for track, gaps in ((seen, drawn), (wanted, true)):
            gaps.append(track.gap[np.isfinite(track.gap)])
    return gain_of(np.concatenate([*drawn, []]), np.concatenate([*true, []]))


def gain_of(drawn: NDArray[np.floating], true: NDArray[np.floating]) -> float:
    """The gain that takes the movement of drawn gaps to that of true ones."""
    if min(len(drawn), len(true)) < 2 or np.std(drawn) < 1e-6:
        return MINI.mouth_gain
    return float(np.clip(MINI.mouth_gain * np.std(true) / np.std(drawn), *LIMITS))


def _decode(codec: Autoencoder, latents: torch.Tensor) -> NDArray[np.uint8]:
    """RGB uint8 [T, H, W, 3]."""
    pictures = []
    for start in range(0, len(latents), BATCH):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            decoded = codec.decode(latents[start : start + BATCH].float()).float().clamp(0, 1)
        pictures.append((decoded * 255 + 0.5).byte().permute(0, 2, 3, 1))
    return np.asarray(torch.cat(pictures).numpy(), np.uint8)
