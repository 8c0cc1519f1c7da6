"""Text to speech with phoneme times: Kokoro-82M after espeak-ng."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from scipy.signal import resample_poly

from models.audio import SAMPLE_RATE
from models.synth.articulation import Phoneme, loudness
from models.synth.assets import Assets, AssetsError

MODEL_SAMPLE_RATE = 24_000
"""Of the speech model, Hz."""
VOICES_FEMALE = (
    "af_heart",
    "af_nicole",
    "bf_emma",
    "af_kore",
    "af_nova",
    "bf_alice",
    "af_sky",
    "af_alloy",
    "bf_lily",
    "af_sarah",
    "af_aoede",
    "bf_isabella",
    "af_jessica",
    "af_river",
)
VOICES_MALE = (
    "am_michael",
    "bm_george",
    "am_puck",
    "am_liam",
    "bm_daniel",
    "am_onyx",
    "am_echo",
    "bm_lewis",
    "am_adam",
    "am_eric",
    "bm_fable",
    "am_santa",
)
VOICES_HELD_OUT = ("af_bella", "am_fenrir")

_DURATIONS = "/encoder/Clip_output_0"
_LONGEST = 508
# From the phonemiser's symbols to those of the speech model, in this order.
_SYMBOLS = (
    ("aɪ", "I"),
    ("aʊ", "W"),
    ("eɪ", "A"),
    ("ɔɪ", "Y"),
    ("oʊ", "O"),
    ("əʊ", "Q"),
    ("tʃ", "ʧ"),
    ("dʒ", "ʤ"),
    ("ɜː", "ɜɹ"),
    ("ɚ", "əɹ"),
    ("ɐ", "ə"),
    ("r", "ɹ"),
    ("ɹɹ", "ɹ"),
    ("ːɹ", "ɹ"),
    ("l̩", "əl"),
    ("n̩", "ən"),
)


@dataclass(frozen=True)
class Utterance:
    """Speech and its timing.

    Attributes:
        audio: mono float32 at 24 kHz; phonemes: from its start, seconds.
    """

    audio: NDArray[np.float32]
    phonemes: list[Phoneme]


@dataclass(frozen=True)
class SpokenText:
    """Several sentences with pauses, cut to an exact length.

    Attributes:
        audio: mono float32 at 16 kHz; phonemes: of all sentences, seconds.
        sentences: text, start and end, seconds; energy: loudness per frame, 0..about 1.
    """

    audio: NDArray[np.float32]
    phonemes: list[Phoneme]
    sentences: list[tuple[str, float, float]]
    energy: NDArray[np.float32]


class TextToSpeech:
    """The speech model, loaded.

    Raises:
        AssetsError: the phonemiser is not installed.
    """

    def __init__(self, assets: Assets, threads: int = 1) -> None:
        if shutil.which("espeak-ng") is None:
            raise AssetsError("expected the program espeak-ng; get it: apt install espeak-ng")
        words = json.loads(assets.vocabulary.read_text(encoding="utf-8"))
        self._vocabulary: dict[str, int] = words.get("vocab", words)
        self._voices = assets.voices
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        graph = _with_durations(assets.speech_graph)
        self._session = onnxruntime.InferenceSession(
            str(graph), options, providers=["CPUExecutionProvider"]
        )

    def synthesize(self, text: str, voice: str, speed: float = 1.0) -> Utterance:
        """Synthesize one sentence.

        Raises:
            ValueError: there is no such voice.
        """
        path = self._voices / f"{voice}.bin"
        if not path.is_file():
            raise ValueError(f"voice: expected one of {self._voices}, got {voice!r}")
        language = "en-gb" if voice.startswith("b") else "en-us"
        symbols = [c for c in phonemise(text, language) if c in self._vocabulary][:_LONGEST]
        styles = np.fromfile(path, np.float32).reshape(-1, 256)
        tokens = [0, *(self._vocabulary[c] for c in symbols), 0]
        audio, durations = self._session.run(
            None,
            {
                "tokens": np.array([tokens], np.int64),
                "style": styles[len(symbols)][None],
                "speed": np.array([speed], np.float32),
            },
        )
        audio, durations = audio.reshape(-1), durations.reshape(-1)
        times = np.concatenate([[0.0], np.cumsum(durations)]) / durations.sum()
        times = times * len(audio) / MODEL_SAMPLE_RATE
        phonemes = [
            Phoneme(symbol, float(times[k]), float(times[k + 1]))
            for k, symbol in enumerate([".", *symbols, "."])
        ]
        return Utterance(audio.astype(np.float32), phonemes)

    def synthesize_all(
        self,
        texts: Sequence[str],
        voice: str,
        speed: float,
        seconds: float,
        rng: np.random.Generator,
        fps: float = 25.0,
    ) -> SpokenText:
        """Synthesize texts in turn, with pauses, until ``seconds`` are full; the end is cut."""
        segments = [np.zeros(int(0.3 * MODEL_SAMPLE_RATE), np.float32)]
        phonemes: list[Phoneme] = []
        sentences: list[tuple[str, float, float]] = []
        samples, k = len(segments[0]), 0
        while samples < seconds * MODEL_SAMPLE_RATE:
            text = texts[k % len(texts)]
            k += 1
            utterance = self.synthesize(text, voice, speed)
            start = samples / MODEL_SAMPLE_RATE
            phonemes += [
                Phoneme(p.symbol, p.start + start, p.end + start) for p in utterance.phonemes
            ]
            end = start + len(utterance.audio) / MODEL_SAMPLE_RATE
            sentences.append((text, start, end))
            silence = np.zeros(int(_pause(rng) * MODEL_SAMPLE_RATE), np.float32)
            segments += [utterance.audio, silence]
            samples += len(segments[-1]) + len(segments[-2])
        joined = np.concatenate(segments)[: round(seconds * MODEL_SAMPLE_RATE)]
        audio = resample_poly(joined, 2, 3).astype(np.float32)[: round(seconds * SAMPLE_RATE)]
        peak = float(np.abs(audio).max())
        audio *= 0.7 / max(peak, 1e-3)
        return SpokenText(
            audio=audio,
            phonemes=[p for p in phonemes if p.start < seconds],
            sentences=[(text, a, min(b, seconds)) for text, a, b in sentences],
            energy=loudness(audio, round(seconds * fps), fps),
        )


def _pause(rng: np.random.Generator) -> float:
    long = float(rng.random()) < 0.2
    return float(rng.uniform(1.0, 1.5) if long else rng.uniform(0.2, 0.5))


def phonemise(text: str, language: str) -> str:
    """Phonemes of a text in the speech model's symbols, with its punctuation."""
    out = ""
    for clause in re.findall(r"[^,.!?;:]+|[,.!?;:]", text):
        if re.match(r"[,.!?;:]", clause):
            out = out.rstrip() + clause + " "
        elif clause.strip():
            command = ["espeak-ng", "-q", "--ipa=3", "-v", language, clause.strip()]
            ipa = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            ipa = " ".join(ipa.split())
            out += re.sub("[_\u200d\u0361]", "", ipa) + " "
    for old, new in _SYMBOLS:
        out = out.replace(old, new)
    return out.strip()


def _with_durations(graph: Path) -> Path:
    """Write a copy of the graph that also outputs the duration of each symbol."""
    path = graph.with_name("kokoro_durations.onnx")
    if not path.is_file():
        model = onnx.load(str(graph))
        float32 = onnx.TensorProto.FLOAT
        model.graph.output.append(onnx.helper.make_tensor_value_info(_DURATIONS, float32, None))
        scratch = path.with_suffix(f".part{os.getpid()}")  # several workers may start at once
        onnx.save(model, str(scratch))
        scratch.rename(path)
    return path
