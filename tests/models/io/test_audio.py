"""Reading sound files: every container, rate and channel count, and files that are none."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
import wave
from pathlib import Path

import av
import numpy as np
import pytest
import soxr
from numpy.typing import NDArray

from models.errors import AudioError
from models.io import audio
from models.io.audio import SoundFile, read_speech

pytestmark = pytest.mark.unit

FORMATS = [
    ("avi", "pcm_s16le", 44_100),
    ("ts", "aac", 48_000),
    ("wma", "wmav2", 44_100),
    ("flv", "aac", 44_100),
    ("ac3", "ac3", 48_000),
    ("mp2", "mp2", 48_000),
    ("aiff", "pcm_s16be", 44_100),
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
    kind = {"m4a": "mp4", "ts": "mpegts", "wma": "asf"}.get(path.suffix[1:], path.suffix[1:])
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


def read_original(path: Path) -> tuple[NDArray[np.float32], int]:
    """The sound of a file as it begins, float32 [N, 1 or 2], and its rate in Hz."""
    with SoundFile(path) as file:
        return np.concatenate(list(file.pieces())), file.rate


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
    assert speech.size / 16_000 == pytest.approx(2.0, abs=0.1)
    assert loudest_hertz(speech, 16_000) == pytest.approx(440, abs=2)
    middle = speech[8000:24000]
    assert np.sqrt((middle**2).mean()) == pytest.approx(0.5 / 2**0.5, rel=0.1)


@pytest.mark.parametrize("live", range(6))
@pytest.mark.parametrize("channels", [2, 6])
def test_one_channel_of_many_is_as_loud_as_alone(tmp_path: Path, channels: int, live: int) -> None:
    sound = np.zeros((channels, 48_000), np.float32)
    sound[live % channels] = tone(48_000, 1.0)
    speech = read_speech(write(tmp_path / "many.wav", "pcm_s16le", 48_000, sound))
    assert np.abs(speech[4000:-400]).max() == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("channels", [3, 4, 8, 16])
def test_channels_without_a_known_layout_are_mixed(tmp_path: Path, channels: int) -> None:
    sound = np.zeros((48_000, channels), np.int16)
    sound[:, -1] = 32_767 * tone(48_000, 1.0)
    with wave.open(str(tmp_path / "many.wav"), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(48_000)
        file.writeframes(sound.tobytes())
    speech = read_speech(tmp_path / "many.wav")
    assert np.abs(speech[4000:-400]).max() == pytest.approx(0.5, abs=0.01)


def test_stereo_that_cancels_is_heard(tmp_path: Path) -> None:
    sound = np.stack([tone(22_050), -tone(22_050)])
    path = write(tmp_path / "two.wav", "pcm_f32le", 22_050, sound)
    assert np.abs(read_speech(path)[4000:-400]).max() == pytest.approx(0.5, abs=0.01)
    original, rate = read_original(path)
    assert rate == 22_050
    assert np.array_equal(original, sound.T)


@pytest.mark.parametrize("forms", [[(44_100, 1), (24_000, 1)], [(44_100, 1), (44_100, 2)],
                                   [(48_000, 2), (22_050, 1), (48_000, 2)]])  # fmt: skip
def test_the_form_may_change_inside_a_file(tmp_path: Path, forms: list[tuple[int, int]]) -> None:
    joined = tmp_path / "joined.mp3"
    with joined.open("wb") as file:
        for k, (rate, channels) in enumerate(forms):
            sound = np.stack([tone(rate, 1.0, 400 + 200 * k)] * channels)
            part = write(tmp_path / f"{k}.mp3", "libmp3lame", rate, sound)
            file.write(part.read_bytes())
    speech = read_speech(joined)
    assert speech.size / 16_000 == pytest.approx(len(forms), abs=0.1 * len(forms))
    for k in range(len(forms)):
        middle = speech[16_000 * k + 6000 : 16_000 * k + 12_000]
        assert loudest_hertz(middle, 16_000) == pytest.approx(400 + 200 * k, abs=4)
        assert np.abs(middle).max() == pytest.approx(0.5, abs=0.05)
    original, rate = read_original(joined)
    assert (rate, original.shape[1]) == forms[0]
    assert len(original) / rate == pytest.approx(speech.size / 16_000, abs=0.001)


def test_pieces_are_what_the_whole_is(tmp_path: Path) -> None:
    sound = np.stack([tone(44_100), tone(44_100, hertz=700)])
    path = write(tmp_path / "two.wav", "pcm_f32le", 44_100, sound)
    whole = np.asarray(soxr.resample(sound.T, 44_100, 48_000), np.float32)
    with SoundFile(path) as file:
        for _ in range(2):
            pieces = list(file.pieces(48_000))
            assert max(len(piece) for piece in pieces) < 10_000
            np.testing.assert_allclose(np.concatenate(pieces), whole, atol=1e-6)


def test_a_pipe_is_read_as_often_as_a_file(tmp_path: Path) -> None:
    path = write(tmp_path / "tone.m4a", "aac", 44_100, np.stack([tone(44_100)]))
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    feeder = threading.Thread(target=lambda: pipe.write_bytes(path.read_bytes()))
    feeder.start()
    with SoundFile(pipe) as file:
        assert [file.speech().size for _ in range(2)] == [read_speech(path).size] * 2
    feeder.join()


def test_a_pipe_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audio, "MAX_PIPE_BYTES", 10_000)
    reader, writer = os.pipe()
    os.write(writer, bytes(20_000))
    os.close(writer)
    with pytest.raises(AudioError, match="from a pipe") as caught:
        read_speech(f"/dev/fd/{reader}")
    os.close(reader)
    assert caught.value.code == "audio_too_long"


def test_a_closed_standard_input_is_refused_and_files_do_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "tone.wav", "pcm_s16le", 16_000, np.stack([tone(16_000)]))
    monkeypatch.setattr(sys, "stdin", None)  # as Python has it when descriptor 0 is closed
    assert read_speech(path).size == 32_000
    with pytest.raises(AudioError, match="nothing to read from standard input") as caught:
        read_speech("-")
    assert caught.value.code == "bad_audio"


@pytest.mark.slow
def test_reading_holds_the_speech_once_and_little_else(tmp_path: Path) -> None:
    """Five minutes of 48 kHz stereo: 19 MB as speech, 115 MB as it is."""
    path, rate = tmp_path / "long.flac", 48_000
    block = np.random.default_rng(0).integers(-3000, 3000, (1, 2 * rate), np.int16)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("flac", rate=rate, layout="stereo")
        assert isinstance(stream, av.AudioStream)
        for k in range(300):
            frame = av.AudioFrame.from_ndarray(block, format="s16", layout="stereo")
            frame.sample_rate, frame.pts = rate, k * rate
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    code = (
        "import resource, sys; from models.io.audio import read_speech, SoundFile;"
        "used = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024;"
        "before = used(); read_speech(sys.argv[1]);"
        "file = SoundFile(sys.argv[1]); count = sum(len(piece) for piece in file.pieces());"
        "print(used() - before, count)"
    )
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, check=True)
    megabytes, samples = map(int, done.stdout.split())
    assert samples == 300 * rate
    assert megabytes < 19 + 30


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


def test_a_track_of_damaged_packets_alone_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "tone.flac", "flac", 44_100, np.stack([tone(44_100)]))
    data = bytearray(path.read_bytes())
    first = data.index(b"\xff\xf8")
    noise = np.random.default_rng(0).integers(0, 255, len(data) - first - 2, np.uint8)
    data[first + 2 :] = noise.tobytes()
    path.write_bytes(data)
    with pytest.raises(AudioError) as caught:
        read_speech(path)
    assert caught.value.code in ("bad_audio", "empty_audio")
    assert "Errno" not in str(caught.value)
