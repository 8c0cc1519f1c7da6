"""Windows and features: streaming equals offline, layout and time axis are as documented."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from models.errors import AudioError, WeightsError
from models.mini.audio import (
    CHUNK_FRAMES,
    CONTEXT,
    FIRST_CENTRE,
    FRAME_SAMPLES,
    HOP,
    LOOKAHEAD_FRAMES,
    MIN_SAMPLES,
    PAST_FRAMES,
    AudioEncoder,
    StreamingWindow,
    chunk_features,
    window_samples,
    windows_of,
)

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def encoder() -> AudioEncoder:
    """One encoder for the module."""
    return AudioEncoder()


def babble(frames: float, seed: int = 3) -> NDArray[np.float32]:
    """Loud and quiet noise with pauses, ``frames`` video frames long."""
    random = np.random.default_rng(seed)
    count = round(frames * FRAME_SAMPLES)
    levels = np.repeat(random.choice([0.0, 0.003, 0.05, 0.3], count // 1600 + 1), 1600)[:count]
    return (levels * random.standard_normal(count)).clip(-1, 1).astype(np.float32)


@pytest.mark.parametrize("chunk_frames", [1, CHUNK_FRAMES, 8])
@pytest.mark.parametrize("frames", [1, 30, 47.3])
def test_streaming_gives_the_offline_windows_bit_for_bit(frames: float, chunk_frames: int) -> None:
    audio = babble(frames)
    offline = list(windows_of(audio, chunk_frames))
    room = (len(offline) * chunk_frames + LOOKAHEAD_FRAMES) * FRAME_SAMPLES
    padded = np.concatenate([audio, np.zeros(room - audio.size, np.float32)])
    stream = StreamingWindow(chunk_frames)
    step = chunk_frames * FRAME_SAMPLES
    for index, window in enumerate(offline):
        begin = index * step
        piece = padded[begin : begin + step + LOOKAHEAD_FRAMES * FRAME_SAMPLES]
        assert np.array_equal(stream.push(piece), window)


def test_a_wrong_look_ahead_does_not_stay() -> None:
    """Look-ahead that turns out otherwise changes one window's end and nothing later."""
    audio = babble(20)
    first, second = StreamingWindow(), StreamingWindow()
    own = CHUNK_FRAMES * FRAME_SAMPLES
    ahead = LOOKAHEAD_FRAMES * FRAME_SAMPLES
    unknown = np.concatenate([audio[:own], np.zeros(ahead, np.float32)])
    known = first.push(audio[: own + ahead])
    assert np.array_equal(second.push(unknown)[:-ahead], known[:-ahead])
    rest = audio[own : 2 * own + ahead]
    assert np.array_equal(first.push(rest), second.push(rest))


def test_windows_start_in_zeros_and_can_start_anywhere() -> None:
    audio = babble(40)
    windows = list(windows_of(audio))
    assert len(windows) == 10
    assert all(window.shape == (window_samples(),) for window in windows)
    assert not windows[0][: PAST_FRAMES * FRAME_SAMPLES].any()
    later = next(windows_of(audio, start_frame=8))
    assert np.array_equal(later, windows[2])


def test_refused_samples_leave_the_stream_unchanged() -> None:
    audio = babble(12)
    stream, spoilt = StreamingWindow(), StreamingWindow()
    size = (CHUNK_FRAMES + LOOKAHEAD_FRAMES) * FRAME_SAMPLES
    with pytest.raises(AudioError):
        spoilt.push(audio[: size - 1])
    with pytest.raises(AudioError):
        spoilt.push(np.full(size, np.nan, np.float32))
    assert np.array_equal(spoilt.push(audio[:size]), stream.push(audio[:size]))


@pytest.mark.parametrize("frames", [1, CHUNK_FRAMES])
def test_features_have_the_documented_shape(encoder: AudioEncoder, frames: int) -> None:
    features = chunk_features(encoder, next(windows_of(babble(40), frames)), frames)
    assert features.shape == (frames, 2 * CONTEXT + 1, 288)
    assert features.dtype == np.float32
    assert np.isfinite(features).all()


def test_features_repeat_exactly(encoder: AudioEncoder) -> None:
    window = next(windows_of(babble(40), start_frame=20))
    assert np.array_equal(chunk_features(encoder, window), chunk_features(encoder, window))


def test_neighbouring_frames_share_their_context(encoder: AudioEncoder) -> None:
    features = chunk_features(encoder, next(windows_of(babble(40), start_frame=20)))
    assert np.allclose(features[0, CONTEXT + 1], features[1, CONTEXT], atol=1e-6)


class Ruler(AudioEncoder):
    """Gives as each feature the sample that it stands for."""

    def __init__(self) -> None:
        pass

    def features(self, window: NDArray[np.float32]) -> NDArray[np.float32]:
        """[M, 1]: FIRST_CENTRE + m * HOP."""
        count = (window.size - MIN_SAMPLES) // HOP + 1
        return (FIRST_CENTRE + HOP * np.arange(count, dtype=np.float32))[:, None]


def test_features_are_taken_around_the_middle_of_each_frame() -> None:
    window = np.zeros(window_samples(), np.float32)
    places = chunk_features(Ruler(), window)[..., 0] / FRAME_SAMPLES - PAST_FRAMES
    wanted = np.arange(CHUNK_FRAMES)[:, None] + 0.5 + np.arange(-CONTEXT, CONTEXT + 1)
    last = Ruler().features(window)[-1, 0] / FRAME_SAMPLES - PAST_FRAMES
    assert np.allclose(places, np.minimum(wanted, last), atol=1e-3)
    assert CHUNK_FRAMES + LOOKAHEAD_FRAMES - last < 1.5


def test_a_click_in_speech_moves_the_features_at_its_own_time(encoder: AudioEncoder) -> None:
    window = babble(31)
    clicked = window.copy()
    at = FIRST_CENTRE + 40 * HOP
    clicked[at - 64 : at + 64] += 0.3 * np.random.default_rng(5).standard_normal(128)
    change = np.linalg.norm(encoder.features(clicked) - encoder.features(window), axis=1)
    assert abs(int(change.argmax()) - 40) <= 1


def test_silence_gives_one_stable_input(encoder: AudioEncoder) -> None:
    features = chunk_features(encoder, np.zeros(window_samples(), np.float32))
    assert np.abs(features - features[0, 0]).max() < 1e-4


def test_wrong_windows_are_refused(encoder: AudioEncoder) -> None:
    with pytest.raises(AudioError):
        chunk_features(encoder, np.zeros(window_samples() - 1, np.float32))
    with pytest.raises(AudioError):
        encoder.features(np.zeros(MIN_SAMPLES - 1, np.float32))
    with pytest.raises(AudioError):
        encoder.features(np.zeros((1, MIN_SAMPLES), np.float32))


def test_foreign_or_missing_weights_are_refused(tmp_path: Path) -> None:
    other = tmp_path / "encoder.ort"
    other.write_bytes(b"not the encoder")
    with pytest.raises(WeightsError, match="SHA-256") as caught:
        AudioEncoder(other)
    assert caught.value.code == "bad_weights"
    with pytest.raises(WeightsError) as caught:
        AudioEncoder(tmp_path / "absent.ort")
    assert caught.value.code == "missing_weights"
