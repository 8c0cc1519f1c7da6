"""What the mouth reader learns from: versions of a recording keep features and truth together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from models.audio import SAMPLE_RATE
from models.audio.level import level_audio
from models.dataset.clip_files import write_audio
from models.dataset.clips import FRAME_SAMPLES, read_audio
from models.mini.audio import CHUNK_FRAMES, AudioEncoder, chunk_features, windows_of
from models.mini.motion import MOUTH_UNITS
from models.synth.articulation import blendshape_track, loudness
from models.training import pool_speech
from models.training.pool_speech import VERSIONS, cut_speech, encode_pool, frame_windows, lip_frames
from tests.support.puppet import babble
from tests.support.spoken import PHONEMES, write_pool

pytestmark = pytest.mark.unit

FRAMES = 60
JAW = MOUTH_UNITS.index("jawOpen")


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    """One recording to train on and one held out."""
    return write_pool(tmp_path / "pool", 7, 900, frames=FRAMES)


def test_some_chunks_of_later_versions_are_heard_as_they_are_spoken(
    pool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: dict[float, list[torch.Tensor]] = {}
    for share in (0.0, 1.0):
        monkeypatch.setattr(pool_speech, "LIVE_SHARE", share)
        heard[share] = [h.features for h in encode_pool(pool, "train", tmp_path / f"{share}")]
    for version, (whole, live) in enumerate(zip(*heard.values(), strict=True)):
        assert torch.equal(whole, live) == (version < 2)
        assert whole.shape == live.shape
    windows = [np.arange(4 * FRAME_SAMPLES, dtype=np.float32) + 1]
    assert np.count_nonzero(pool_speech._as_spoken(windows[0])) == 3 * FRAME_SAMPLES


def test_windows_of_a_chunk_overlap() -> None:
    features = torch.arange(2 * 10 * 3).reshape(2, 10, 3)
    windows = frame_windows(features)
    assert windows.shape == (2, CHUNK_FRAMES, 7, 3)
    for frame in range(CHUNK_FRAMES):
        assert torch.equal(windows[:, frame], features[:, frame : frame + 7])


def test_the_recording_itself_has_the_truth_of_its_maker() -> None:
    audio = babble(FRAMES, 3)
    same, mouth, _ = cut_speech(audio, PHONEMES, 1.0, 0)
    assert np.array_equal(same, audio)
    made = blendshape_track(PHONEMES, FRAMES, energy=loudness(audio, FRAMES, 25.0))
    np.testing.assert_allclose(mouth, made, atol=1e-6)


def test_speech_that_begins_later_has_the_truth_of_later_frames() -> None:
    audio = babble(FRAMES, 3)
    _, whole, lips = cut_speech(audio, PHONEMES, 1.0, 0)
    rest, mouth, moved = cut_speech(audio, PHONEMES, 1.0, 3 * FRAME_SAMPLES)
    assert np.array_equal(rest, audio[3 * FRAME_SAMPLES :])
    inner = slice(6, 40)  # loudness is smoothed, and its maximum may be cut off
    assert np.corrcoef(mouth[inner, JAW], whole[3:][inner, JAW])[0, 1] > 0.999
    before = lip_frames(lips, FRAMES)
    assert np.array_equal(lip_frames(moved, FRAMES - 3), before[before >= 3] - 3)


def test_a_part_of_a_frame_is_left_out_at_the_end() -> None:
    audio, mouth, _ = cut_speech(babble(FRAMES, 3), PHONEMES, 1.0, 100)
    assert audio.size == (FRAMES - 1) * FRAME_SAMPLES and len(mouth) == FRAMES - 1


def test_a_faster_voice_is_higher_and_its_lips_are_earlier() -> None:
    times = np.arange(2 * SAMPLE_RATE) / SAMPLE_RATE
    tone = (0.3 * np.sin(2 * np.pi * 200 * times)).astype(np.float32)
    audio, mouth, moved = cut_speech(tone, PHONEMES, 1.25, 0)
    assert audio.size == len(mouth) * FRAME_SAMPLES == pytest.approx(tone.size / 1.25, abs=640)
    spectrum = np.abs(np.fft.rfft(audio * np.hanning(audio.size)))
    assert spectrum.argmax() * SAMPLE_RATE / audio.size == pytest.approx(250, abs=1)
    _, _, slow = cut_speech(tone, PHONEMES, 1.0, 0)
    assert [p.end for p in moved] == pytest.approx([p.end / 1.25 for p in slow])
    lips = lip_frames(moved, len(mouth))
    assert lips.size >= 2 and mouth[lips, JAW].max() < 0.1 < mouth[:, JAW].max()


def test_a_pool_is_encoded_as_a_session_hears_it(pool: Path, tmp_path: Path) -> None:
    heard = encode_pool(pool, "train", tmp_path / "cache")
    assert len(heard) == VERSIONS["train"]
    for one in heard:
        assert len(one.features) == len(one.mouth) > 5
        assert one.features.isfinite().all() and one.mouth.std() > 0
    audio = level_audio(read_audio(pool / "007" / "audio.wav"))
    encoder = AudioEncoder()
    window = list(windows_of(audio, levelled=True))[4]
    expected = torch.from_numpy(chunk_features(encoder, window))
    torch.testing.assert_close(
        frame_windows(heard[0].features)[4].float(), expected, atol=2e-3, rtol=2e-3
    )
    assert not torch.equal(heard[0].features[4], heard[1].features[4])


def test_what_was_encoded_is_kept_until_the_recording_changes(
    pool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = encode_pool(pool, "held_out", tmp_path / "cache")
    assert len(first) == VERSIONS["held_out"]
    with monkeypatch.context() as patch:
        patch.setattr(pool_speech, "_hear", None)  # would fail if it were called
        again = encode_pool(pool, "held_out", tmp_path / "cache")
    assert torch.equal(again[1].features, first[1].features)
    write_audio(pool / "900" / "audio.wav", babble(FRAMES, 5))
    assert not torch.equal(
        encode_pool(pool, "held_out", tmp_path / "cache")[0].features, first[0].features
    )
