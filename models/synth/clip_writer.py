"""Plans and writes clips: one folder per identity, finished when ``meta.json`` is there."""

from __future__ import annotations

import json
import shutil
import wave
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.audio import SAMPLE_RATE
from models.dataset.clips import FPS, MASK_SIZE, SIZE, Split, is_finished
from models.mini.motion import MOTION, MOUTH_UNITS, IdleMotion
from models.synth.appearance import sample_appearance
from models.synth.articulation import blendshape_track
from models.synth.assets import Assets
from models.synth.renderer import Renderer
from models.synth.sentences import HELD_OUT, TRAINING
from models.synth.text_to_speech import (
    VOICES_FEMALE,
    VOICES_HELD_OUT,
    VOICES_MALE,
    SpokenText,
    TextToSpeech,
)

FIRST_HELD_OUT = 900
HELD_OUT_SECONDS = 60.0
_HELD_OUT_POSITION = 7


@dataclass(frozen=True)
class ClipPlan:
    """What one clip will hold; ``identity`` is the number of its folder."""

    identity: int
    split: Split
    voice: str
    speed: float
    seconds: float
    speech_seconds: float


@dataclass(frozen=True)
class GroundTruth:
    """True tracks of all N frames: mouth [N, 13] and motion [N, 7]."""

    mouth: NDArray[np.float32]
    motion: NDArray[np.float32]


def plan_clips(
    identities: int, held_out: int, seconds: float, speech_seconds: float
) -> list[ClipPlan]:
    """All clips in the order in which they are written; the held-out ones follow the 7th.

    Raises:
        ValueError: a number is negative, or more than two clips are held out.
    """
    if identities < 0 or not 0 <= held_out <= len(VOICES_HELD_OUT):
        raise ValueError(
            f"expected identities >= 0 and 0 <= held-out <= {len(VOICES_HELD_OUT)}, "
            f"got {identities} and {held_out}"
        )
    speech_length = max(seconds, speech_seconds)
    plans = []
    for k in range(identities):
        voices = VOICES_MALE if k % 2 else VOICES_FEMALE
        speed = float(np.random.default_rng([k, 5]).uniform(0.9, 1.12))
        voice = voices[(k // 2) % len(voices)]
        plans.append(ClipPlan(k, "train", voice, round(speed, 3), seconds, speech_length))
    held_out_plans = [
        ClipPlan(FIRST_HELD_OUT + k, "held_out", voice, 1.0, HELD_OUT_SECONDS, HELD_OUT_SECONDS)
        for k, voice in enumerate(VOICES_HELD_OUT[:held_out])
    ]
    return plans[:_HELD_OUT_POSITION] + held_out_plans + plans[_HELD_OUT_POSITION:]


def clip_folder(out: Path, plan: ClipPlan) -> Path:
    """Folder of a clip inside the data folder ``out``."""
    return out / "clips" / f"{plan.identity:03d}"


class ClipWriter:
    """Writes clips with a renderer and a speech model that are loaded once."""

    def __init__(self, assets: Assets) -> None:
        self._assets = assets
        self._renderer = Renderer(assets, SIZE)
        self._text_to_speech = TextToSpeech(assets)

    def write(self, plan: ClipPlan, out: Path, on_frame: Callable[[], None]) -> bool:
        """Write one clip unless it is finished; ``on_frame`` is called after each frame.

        Returns:
            Whether it was written now.
        """
        folder = clip_folder(out, plan)
        if is_finished(folder):
            return False
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        spoken = self._speak(plan)
        truth = make_ground_truth(plan, spoken)
        _write_audio(folder / "audio.wav", spoken.audio)
        _write_speech(folder / "speech.json", plan, spoken)
        self._render(plan, truth, folder, on_frame)
        _write_meta(folder / "meta.json", plan)
        return True

    def _speak(self, plan: ClipPlan) -> SpokenText:
        rng = np.random.default_rng([plan.identity, 77])
        texts = TRAINING if plan.split == "train" else HELD_OUT
        order = rng.permutation(len(texts)).tolist()
        return self._text_to_speech.synthesize_all(
            [texts[k] for k in order], plan.voice, plan.speed, plan.speech_seconds, rng, FPS
        )

    def _render(
        self, plan: ClipPlan, truth: GroundTruth, folder: Path, on_frame: Callable[[], None]
    ) -> None:
        appearance = sample_appearance(plan.identity, self._assets.lights)
        character = self._renderer.load(appearance)
        neutral = character.render(
            np.zeros(len(MOUTH_UNITS), np.float32), np.zeros(len(MOTION), np.float32)
        )
        count = round(plan.seconds * FPS)
        shape = (count, SIZE, SIZE, 3)
        path = folder / "video.npy"
        video = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
        mask = np.zeros((count, MASK_SIZE, MASK_SIZE), np.uint8)
        mouth_xy = np.zeros((count, 2), np.float32)
        eyes_xy = np.zeros((count, 4), np.float32)
        for f in range(count):
            frame = character.render(truth.mouth[f], truth.motion[f])
            video[f], mask[f] = frame.rgb, frame.mask
            mouth_xy[f], eyes_xy[f] = frame.mouth, frame.eyes
            on_frame()
        video.flush()
        character.release()
        np.save(folder / "mask.npy", mask)
        np.savez(
            folder / "track.npz",
            mouth=truth.mouth,
            motion=truth.motion,
            mouth_xy=mouth_xy,
            eyes_xy=eyes_xy,
            neutral=neutral.rgb,
        )


def make_ground_truth(plan: ClipPlan, spoken: SpokenText) -> GroundTruth:
    """Mouth from the speech; motion from the identity's number."""
    count = round(plan.speech_seconds * FPS)
    mouth = blendshape_track(spoken.phonemes, count, FPS, spoken.energy)
    return GroundTruth(mouth, IdleMotion(plan.identity, FPS).frames(count))


def _write_audio(path: Path, audio: NDArray[np.float32]) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes(np.round(np.clip(audio, -1, 1) * 32767).astype("<i2").tobytes())


def _write_speech(path: Path, plan: ClipPlan, spoken: SpokenText) -> None:
    record = {
        "voice": plan.voice,
        "speed": plan.speed,
        "sentences": [
            {"text": text, "start": round(a, 3), "end": round(b, 3)}
            for text, a, b in spoken.sentences
        ],
        "phonemes": [[p.symbol, round(p.start, 4), round(p.end, 4)] for p in spoken.phonemes],
    }
    path.write_text(json.dumps(record, ensure_ascii=False), encoding="utf-8")


def _write_meta(path: Path, plan: ClipPlan) -> None:
    record = {**asdict(plan), "identity_seed": plan.identity, "fps": FPS, "complete": True}
    scratch = path.with_suffix(".part")
    scratch.write_text(json.dumps(record, indent=1), encoding="utf-8")
    scratch.rename(path)
