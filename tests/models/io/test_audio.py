"""Reading sound files: every container, rate and channel count, and files that are none."""

from __future__ import annotations

import io
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from models.errors import AudioError
from models.io.audio import read_original, read_speech

pytestmark = pytest.mark.unit

FORMATS = [
    ("wav", "pcm_s16le", 44_100),
    ("wav", "pcm_f32le", 8_000),
    ("flac", "flac", 48_000),
    ("mp3", "libmp3lame", 44_100),
    ("m4a", "aac", 48_000),
    ("ogg", "libopus", 48_000),
    ("webm", "libopus", 48_000),
]


def tone(rate: int, seconds: float = 2.0, hertz: float = 440.0) -> NDArray[np.float32]:
    """A tone at half of full scale."""
    times = np.arange(round(seconds * rate)) / rate
    return (0.5 * np.sin(2 * np.pi * hertz * times)).astype(np.float32)


def write(path: Path, codec: str, rate: int, channels: NDArray[np.float32]) -> Path:
    """Encode float32 [C, N] into ``path``."""
    layout = {1: "mono", 2: "stereo", 6: "5.1"}[len(channels)]
    memory = io.BytesIO()
    kind = {"m4a": "mp4"}.get(path.suffix[1:], path.suffix[1:])
    with av.open(memory, "w", format=kind) as container:
        stream = container.add_stream(codec, rate=rate, layout=layout)
        assert isinstance(stream, av.AudioStream)
        stream.bit_rate = 192_000
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(channels), format="fltp", layout=layout
        )
        frame.sample_rate = rate
        convert = av.AudioResampler(
            format=stream.format, layout=layout, rate=rate, frame_size=stream.frame_size or None
        )
        for piece in [*convert.resample(frame), *convert.resample(None)]:
            container.mux(stream.encode(piece))
        container.mux(stream.encode(None))
    path.write_bytes(memory.getvalue())
    return path


def loudest_hertz(samples: NDArray[np.float32], rate: int) -> float:
    """The frequency of the strongest partial."""
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(samples.size)))
    return float(spectrum.argmax()) * rate / samples.size


@pytest.mark.parametrize(("suffix", "codec", "rate"), FORMATS)
def test_every_container_is_read(tmp_path: Path, suffix: str, codec: str, rate: int) -> None:
    path = write(tmp_path / f"tone.{suffix}", codec, rate, np.stack([tone(rate)]))
    speech = read_speech(path)
    assert speech.dtype == np.float32
    assert speech.ndim == 1
    assert speech.size / 16_000 == pytest.approx(2.0, abs=0.06)
    assert loudest_hertz(speech, 16_000) == pytest.approx(440, abs=2)
    middle = speech[8000:24000]
    assert np.sqrt((middle**2).mean()) == pytest.approx(0.5 / 2**0.5, rel=0.1)


@pytest.mark.parametrize("channels", [2, 6])
def test_channels_are_averaged(tmp_path: Path, channels: int) -> None:
    sound = np.zeros((channels, 48_000), np.float32)
    sound[0] = tone(48_000, 1.0)
    path = write(tmp_path / "many.wav", "pcm_s16le", 48_000, sound)
    assert np.abs(read_speech(path)).max() == pytest.approx(0.5 / channels, abs=0.01)


def test_the_original_is_untouched(tmp_path: Path) -> None:
    sound = np.stack([tone(22_050), -tone(22_050)])
    original, rate = read_original(write(tmp_path / "two.wav", "pcm_f32le", 22_050, sound))
    assert rate == 22_050
    assert np.array_equal(original, sound.T)


def test_clipped_sound_stays_in_range(tmp_path: Path) -> None:
    sound = np.stack([3 * tone(44_100)])
    speech = read_speech(write(tmp_path / "hot.wav", "pcm_f32le", 44_100, sound))
    assert np.abs(speech).max() == 1


def test_silent_and_very_short_sound_is_sound(tmp_path: Path) -> None:
    silent = write(tmp_path / "silent.wav", "pcm_s16le", 16_000, np.zeros((1, 16_000), np.float32))
    assert not read_speech(silent).any()
    short = write(tmp_path / "short.wav", "pcm_s16le", 8_000, np.full((1, 4), 0.1, np.float32))
    assert read_speech(short).size == 8


def test_what_is_too_long_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "long.wav", "pcm_s16le", 8_000, np.stack([tone(8_000, 3.0)]))
    with pytest.raises(AudioError, match="at most 2 s") as caught:
        read_speech(path, max_seconds=2.0)
    assert caught.value.code == "audio_too_long"


def test_an_empty_track_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "one.wav", "pcm_s16le", 16_000, np.zeros((1, 1), np.float32))
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b"data") + 4] + bytes(4))
    with pytest.raises(AudioError) as caught:
        read_speech(path)
    assert caught.value.code == "empty_audio"


@pytest.mark.parametrize("content", [b"", b"\x00" * 5000, b"hello, this is text\n" * 50])
def test_what_is_no_sound_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file.wav"
    path.write_bytes(content)
    with pytest.raises(AudioError) as caught:
        read_speech(path)
    assert caught.value.code == "bad_audio"
    assert str(tmp_path) not in str(caught.value) and "Errno" not in str(caught.value)


def test_absent_files_and_folders_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent.wav"):
        with pytest.raises(AudioError) as caught:
            read_original(path)
        assert caught.value.code == "bad_audio"


def test_a_playlist_cannot_name_other_files(tmp_path: Path) -> None:
    target = write(tmp_path / "tone.wav", "pcm_s16le", 16_000, np.stack([tone(16_000)]))
    playlist = tmp_path / "list.wav"
    playlist.write_text(f"ffconcat version 1.0\nfile {target.name}\n")
    with pytest.raises(AudioError) as caught:
        read_speech(playlist)
    assert caught.value.code == "bad_audio"


def test_damaged_packets_are_left_out(tmp_path: Path) -> None:
    path = write(tmp_path / "tone.mp3", "libmp3lame", 44_100, np.stack([tone(44_100)]))
    data = bytearray(path.read_bytes())
    data[4000:6000] = bytes(2000)
    path.write_bytes(data)
    assert read_speech(path).size > 16_000
