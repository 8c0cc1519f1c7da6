"""Plans and writes clips: one folder per identity, finished when ``meta.json`` is there."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.dataset.clip_files import finish_clip, to_cover, write_audio, write_portrait
from models.dataset.clips import FPS, Split, is_finished
from models.dataset.frames import write_frames
from models.face.geometry import Similarity, cut
from models.face.landmarks import steady_landmarks
from models.face.portrait import find_face
from models.face.window import SIDE, face_cover, window_around
from models.mini.motion import HEAD, MOTION, MOUTH_UNITS, IdleMotion
from models.synth.appearance import sample_appearance
from models.synth.articulation import blendshape_track
from models.synth.assets import Assets
from models.synth.renderer import RenderedFrame, Renderer
from models.synth.sentences import HELD_OUT, TRAINING
from models.synth.speech_file import write_speech
from models.synth.text_to_speech import (
    VOICES_FEMALE,
    VOICES_HELD_OUT,
    VOICES_MALE,
    SpokenText,
    TextToSpeech,
)

FIRST_HELD_OUT = 900
HELD_OUT_SECONDS = 60.0
PICTURE_SIDE = 512
"""Side of the rendered portrait that the face window is cut out of, pixels."""
MAX_YAW, MAX_PITCH = 0.12, 0.06
"""How far the head of an identity is turned, either way, radians; it stays so."""
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
    """True tracks of all N frames: mouth [N, 13]; motion [N, 7], whose head pose is zero."""

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
        self._renderer = Renderer(assets, PICTURE_SIDE)
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
        write_audio(folder / "audio.wav", spoken.audio)
        write_speech(folder / "speech.json", spoken, voice=plan.voice, speed=plan.speed)
        self._render(plan, truth, folder, on_frame)
        finish_clip(folder, self._record(plan))
        return True

    def _record(self, plan: ClipPlan) -> dict[str, object]:
        photographic = self._assets.photos is not None
        return {**asdict(plan), "identity_seed": plan.identity, "photographic": photographic}

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
        character = self._renderer.load(sample_appearance(plan.identity, self._assets.lights))
        pose = head_pose(plan.identity)
        still = np.concatenate([pose, np.zeros(len(MOTION) - HEAD, np.float32)])
        rest = character.render(np.zeros(len(MOUTH_UNITS), np.float32), still)
        window = window_of(rest)
        neutral = cut(rest.rgb, window, SIDE, "edge")
        mouths: list[NDArray[np.float32]] = []
        eyes: list[NDArray[np.float32]] = []

        def pictures() -> Iterator[NDArray[np.uint8]]:
            for f in range(round(plan.seconds * FPS)):
                motion = np.concatenate([pose, truth.motion[f, HEAD:]])
                frame = character.render(truth.mouth[f], motion)
                mouths.append(frame.mouth)
                eyes.append(frame.eyes)
                yield cut(frame.rgb, window, SIDE, "edge")
                on_frame()

        write_frames(folder / "video.npz", pictures())
        character.release()
        landmarks = steady_landmarks(rest.rgb, find_face(rest.rgb))
        np.savez(
            folder / "track.npz",
            mouth=truth.mouth,
            motion=truth.motion,
            mouth_xy=window.apply(np.stack(mouths)).astype(np.float32),
            eyes_xy=window.apply(np.stack(eyes).reshape(-1, 2, 2))
            .reshape(-1, 4)
            .astype(np.float32),
            neutral=neutral,
            photo=neutral,
            cover=to_cover(face_cover(window.apply(landmarks.points[:, :2]))),
            window=window.matrix,
        )
        write_portrait(folder, rest.rgb)


def head_pose(identity: int) -> NDArray[np.float32]:
    """Yaw, pitch and roll of an identity's head, [3], radians; it does not tilt."""
    rng = np.random.default_rng([identity, 91])
    yaw, pitch = rng.uniform(-1, 1, 2) * (MAX_YAW, MAX_PITCH)
    return np.array([yaw, pitch, 0.0], np.float32)


def window_of(frame: RenderedFrame) -> Similarity:
    """From pixels of a rendered picture to the face window, by the true eyes and mouth."""
    eyes = frame.eyes.reshape(2, 2)
    across = eyes[1] - eyes[0]
    return window_around(eyes.mean(0), frame.mouth, float(np.arctan2(across[1], across[0])))


def make_ground_truth(plan: ClipPlan, spoken: SpokenText) -> GroundTruth:
    """Mouth from the speech; blinks, gaze and brows from the identity's number."""
    count = round(plan.speech_seconds * FPS)
    mouth = blendshape_track(spoken.phonemes, count, FPS, spoken.energy)
    return GroundTruth(mouth, IdleMotion(plan.identity, FPS, head=0.0).frames(count))
