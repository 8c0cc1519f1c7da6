"""Speech features of the published models: known and live speech, odd recordings, labels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.audio import SAMPLE_RATE
from models.audio.streaming import SpeechFeatures, SpeechStream, clamped_windows
from models.audio.wav2vec2 import Wav2VecFeatures
from models.audio.whisper import WhisperFeatures, log_mel, num_video_frames, row_indices
from models.checkpoints import build as shared
from models.checkpoints.random_init import randomise
from models.errors import AudioError
from tests.parity.emotion import label_of_clip, segments_of, timeline
from tests.support.small import CONFIGS

pytestmark = pytest.mark.unit

pytest.importorskip("transformers", reason="transformers is not installed")


def speech(seconds: float, seed: int = 0) -> NDArray[np.float32]:
    noise = np.random.default_rng(seed).standard_normal(round(seconds * SAMPLE_RATE))
    return (0.1 * noise).astype(np.float32)


def encoder(kind: str, fps: float) -> SpeechFeatures:
    """A small random encoder."""
    config = CONFIGS["hallo"]["wav2vec"] if kind == "wav2vec" else CONFIGS["echomimic"]["whisper"]
    network = shared.build_wav2vec(config) if kind == "wav2vec" else shared.build_whisper(config)
    randomise({kind: network}, 0, {kind: torch.float32})
    return Wav2VecFeatures(network, fps) if kind == "wav2vec" else WhisperFeatures(network, fps)


class Counting:
    """Features that tell which sample a frame begins at, so that cuts can be checked."""

    fps = 25.0

    def whole(self, speech: NDArray[np.float32], multiple: int) -> Tensor:
        frames = -(-speech.size * 25 // SAMPLE_RATE)
        return self.frames(speech, frames + -frames % multiple)

    def frames(self, speech: NDArray[np.float32], count: int) -> Tensor:
        index = (torch.arange(count) * 640).clamp(max=speech.size - 1)
        return torch.from_numpy(speech)[index][:, None]


@pytest.mark.parametrize("kind", ["wav2vec", "whisper"])
@pytest.mark.parametrize("fps", [24.0, 25.0, 30.0])
@pytest.mark.parametrize("seconds", [0.01, 0.3, 1.7])
def test_every_frame_of_a_recording_has_features(kind: str, fps: float, seconds: float) -> None:
    features = encoder(kind, fps).whole(speech(seconds), 16)
    assert len(features) >= seconds * fps
    assert torch.isfinite(features).all()
    if kind == "wav2vec":
        assert len(features) % 16 == 0


@pytest.mark.parametrize("kind", ["wav2vec", "whisper"])
@pytest.mark.parametrize("sound", [np.zeros(8000), np.ones(8000), np.sign(speech(0.5))])
def test_silence_and_clipped_sound_can_be_heard(kind: str, sound: NDArray[np.float64]) -> None:
    features = encoder(kind, 25.0).whole(sound.astype(np.float32), 16)
    assert torch.isfinite(features).all()


def test_known_speech_is_cut_into_chunks_of_the_whole() -> None:
    known = speech(1.0)
    stream = SpeechStream(Counting(), 4, known)
    chunks = [stream.next(np.zeros(2560, np.float32)) for _ in range(7)]
    whole = Counting().whole(known, 4)
    assert stream.length == len(whole) == 28
    assert torch.equal(torch.cat(chunks), whole)
    assert torch.equal(stream.next(np.zeros(2560, np.float32)), whole[-1:].expand(4, 1))


@pytest.mark.parametrize("lookahead", [0, 1280])
def test_live_speech_is_heard_at_its_own_frames_however_long_it_lasts(lookahead: int) -> None:
    spoken, stream = (
        np.linspace(-1, 1, 12 * SAMPLE_RATE, dtype=np.float32),
        SpeechStream(Counting(), 4),
    )
    for k in range(60):
        begin = 2560 * k
        made = stream.next(spoken[begin : begin + 2560 + lookahead])
        assert torch.equal(made[:, 0], torch.from_numpy(spoken[begin : begin + 2560 : 640]))
    assert stream._past.size <= 4.1 * SAMPLE_RATE


def test_live_features_are_near_those_of_the_whole() -> None:
    features, spoken = encoder("wav2vec", 25.0), speech(3.0)
    whole, stream = features.whole(spoken, 16), SpeechStream(features, 16)
    for k in range(4):
        made = stream.next(spoken[10240 * k : 10240 * (k + 1) + 1280])
        gap = (made - whole[16 * k : 16 * (k + 1)]).pow(2).mean().sqrt()
        assert gap < 0.5 * whole.std()


@pytest.mark.parametrize(
    ("audio", "named"),
    [
        (np.zeros(100, np.float32), "at least 2560"),
        (np.full(2560, np.nan, np.float32), "finite"),
        (np.zeros((2, 2560), np.float32), "at least 2560"),
    ],
)
def test_bad_audio_is_refused_and_leaves_the_stream(audio: NDArray[np.float32], named: str) -> None:
    stream, good = SpeechStream(Counting(), 4), speech(0.16)
    untouched = SpeechStream(Counting(), 4)
    with pytest.raises(AudioError, match=named):
        stream.next(audio)
    for _ in range(2):
        assert torch.equal(stream.next(good), untouched.next(good))
    with pytest.raises(AudioError):
        SpeechStream(Counting(), 4, np.zeros(0, np.float32))


def test_windows_repeat_the_first_and_last_frame() -> None:
    rows = clamped_windows(torch.arange(4.0)[:, None], 2)[:, :, 0]
    assert rows[0].tolist() == [0, 0, 0, 1, 2] and rows[3].tolist() == [1, 2, 3, 3, 3]


def test_whisper_rows_surround_a_frames_own() -> None:
    assert row_indices(torch.tensor([0, 24]), 60, 24.0)[1].tolist() == list(range(46, 56))
    assert row_indices(torch.tensor([0]), 60, 24.0)[0].tolist() == [0, 0, 0, 0, 0, 1, 2, 3, 4, 5]
    assert num_video_frames(50, 24.0) == 26


def test_the_spectrogram_follows_loudness() -> None:
    loud, quiet = log_mel(speech(0.5)), log_mel(0.1 * speech(0.5))
    assert loud.shape == (80, 50) and float((loud - quiet).mean()) > 0.3


def test_emotions_are_labelled_second_by_second() -> None:
    segments = segments_of(3 * SAMPLE_RATE + SAMPLE_RATE // 2)
    assert [end - begin for begin, end in segments] == [
        2 * SAMPLE_RATE,
        3 * SAMPLE_RATE,
        40_000,
        2 * SAMPLE_RATE,
    ]
    told = timeline(torch.tensor([1, 2, 3, 4]), 3 * SAMPLE_RATE + SAMPLE_RATE // 2, 35)
    assert told.tolist() == [1] * 10 + [2] * 10 + [3] * 5 + [4] * 10
    assert label_of_clip(torch.tensor([5, 5, 2, 2])) == 2
