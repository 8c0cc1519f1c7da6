"""Replays what EchoMimic computes from audio and images before its networks run."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from models.audio import SAMPLE_RATE
from models.audio.whisper import (
    WhisperFeatures,
    log_mel,
    mel_filters,
    num_video_frames,
    row_indices,
)
from models.checkpoints import build as shared
from models.checkpoints import rename as renames
from models.echomimic.preprocess import crop_of, mask_of, square_of
from tests.parity.directory import Directory, Stored
from tests.parity.items import Absent, Item, absent, against, compare, guarded
from tests.parity.networks import EchoMimicNetworks

SMALL = 1e-5
FPS = 24.0
TABLES = ("feature_slicing", "num_chunks", "mel_frames_to_feature_rows")
MEL = 1e-4  # logarithms of the quietest bands: stored ones are up to 4.2e-5 from the exact values
_LONG = re.compile(r"long(\d+)s\.")  # stored values of a wave of so many seconds


def items(directory: Directory, _: EchoMimicNetworks) -> Iterator[Item]:
    """Audio, index tables, images."""
    yield from guarded("feat", _audio(directory))
    yield from guarded("audio_index", _tables(directory))
    yield from guarded("preprocess", _images(directory))


def _audio(directory: Directory) -> Iterator[Item]:
    g = directory.golden("audio")
    if "wave_int16" not in g:
        yield absent("feat", f"no wave_int16 in {g.path.name}")
        return
    yield against(g, "mel_filters", mel_filters(), 1e-7)
    wave = g["wave_int16"].numpy()
    speech = wave.astype(np.float32) / np.float32(32768)
    mel = log_mel(speech)
    yield against(g, "mel", mel, MEL)
    features = whisper_of(directory)
    padded = torch.nn.functional.pad(mel, (0, features.segment - mel.shape[1]))
    states = features.states(padded[:, : features.segment])
    normed = features.network.layer_norm(states[:, -1])
    for name in _named(g, "enc_embeddings_first", "60"):
        count = int(name.rpartition("first")[2])
        yield against(g, name, states[:count].transpose(0, 1), SMALL)
    for name in _named(g, "enc_final_postln_first", "60"):
        count = int(name.rpartition("first")[2])
        yield against(g, name, normed[:count], SMALL)
    yield against(g, "feat", features.rows(speech), SMALL)
    lengths = {int(found[1]) for name in g if (found := _LONG.match(name))}
    for seconds in sorted(lengths or {31}):
        yield from guarded(f"long{seconds}s", _long(features, g, seconds))


def _named(g: Stored, prefix: str, otherwise: str) -> list[str]:
    """Stored names that begin with ``prefix``; the one in the notes if there is none."""
    return sorted(n for n in g if n.startswith(prefix)) or [prefix + otherwise]


def whisper_of(directory: Directory) -> WhisperFeatures:
    """The tiny encoder; its position embeddings are not stored, they are Whisper's sinusoids."""
    network: Any = directory.build(lambda config: shared.build_whisper(config["whisper"]))
    stored = directory.weights("whisper_encoder")
    state = {renames.whisper_name(name) or name: value for name, value in stored.items()}
    if "embed_positions.weight" not in state:
        state["embed_positions.weight"] = shared.whisper_positions(
            *network.embed_positions.weight.shape
        )
    directory.fill(network, "whisper_encoder", state)
    return WhisperFeatures(network, FPS)


def _long(features: WhisperFeatures, g: Stored, seconds: int) -> Iterator[Item]:
    """Across the border of two segments."""
    prefix = f"long{seconds}s."
    speech = test_wave(seconds * SAMPLE_RATE).astype(np.float32) / np.float32(32768)
    mel, rows = log_mel(speech), features.rows(speech)
    for name in _named(g, prefix + "mel_last", "8"):
        yield against(g, name, mel[:, -int(name.rpartition("last")[2]) :], MEL)
    for name in _named(g, prefix + "feat_rows_", "1495_1505"):
        begin, end = map(int, name.split("_")[-2:])
        yield against(g, name, rows[begin:end], SMALL)
    for name in _named(g, prefix + "feat_last", "2"):
        yield against(g, name, rows[-int(name.rpartition("last")[2]) :], SMALL)


def test_wave(samples: int) -> np.ndarray[tuple[int], np.dtype[np.int16]]:
    """The wave of the notes: two tones, one rising in bursts, and a high one."""
    t = np.arange(samples) / SAMPLE_RATE
    low, high = np.sin(2 * np.pi * 220 * t), np.sin(2 * np.pi * 3100 * t)
    rising = np.sin(2 * np.pi * (440 + 300 * t) * t) * np.exp(-4 * np.mod(t, 0.5))
    wave: np.ndarray[tuple[int], np.dtype[np.int16]] = np.round(
        32767 * (0.3 * low + 0.2 * rising + 0.05 * high)
    ).astype(np.int16)
    return wave


def _tables(directory: Directory) -> Iterator[Item]:
    try:
        tables = directory.json("golden_audio_index")
    except Absent as error:
        yield absent("feature_slicing", str(error))
        return
    for table in TABLES:
        if table not in tables:
            yield absent(table, f"no {table} in golden_audio_index.json")
    for case in tables.get(TABLES[0], []):
        stored = torch.tensor(case["indices"])
        computed = row_indices(torch.arange(len(stored)), case["T"], case["fps"])
        yield compare(f"feature_slicing.{case['T']}_{case['fps']}", computed, stored, 0.0)
    for case in tables.get(TABLES[1], []):
        computed = torch.tensor(num_video_frames(case["T"], case["fps"]))
        stored = torch.tensor(case["n"])
        yield compare(f"num_chunks.{case['T']}_{case['fps']}", computed, stored, 0.0)
    for case in tables.get(TABLES[2], []):
        mel = log_mel(np.zeros(case["samples"], np.float32)).shape[1]
        computed = torch.tensor([mel, mel // 2])
        stored = torch.tensor([case["mel"], case["rows"]])
        yield compare(f"mel_frames_to_feature_rows.{case['samples']}", computed, stored, 0.0)


def _images(directory: Directory) -> Iterator[Item]:
    """Boxes to masks and crops; the boxes themselves need images that are not stored."""
    try:
        cases = directory.json("golden_preprocess")["cases"]
    except Absent as error:
        yield absent("preprocess", str(error))
        return
    for case in cases:
        label = f"preprocess.{case['name']}"
        yield from guarded(label, crop_items(label, case))


def crop_items(label: str, case: dict[str, Any]) -> Iterator[Item]:
    """The crop and the mask of one box, grown by the shares that the case states."""
    box, shape = np.array(case["box_xyxy"]), (case["H"], case["W"])
    crop = crop_of(box, shape, growth=case["crop_dilation"])
    left, top, right, bottom = square = square_of(crop)
    mask = mask_of(box, shape, growth=case["mask_dilation"], as_published=True)
    mask = mask[top:bottom, left:right]
    spans = [np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0)]
    rows, columns = ([int(s[0]), int(s[-1]) + 1] if len(s) else None for s in spans)
    computed = {
        "crop_rect": list(crop),
        "square_xyxy": list(square),
        "crop_shape": [bottom - top, right - left],
        "mask_in_crop_bbox_rows": rows,
        "mask_in_crop_bbox_cols": columns,
        "mask_area": int((mask > 0).sum()),
    }
    for name, got in computed.items():
        if name in case:
            yield compare(f"{label}.{name}", got or [], case[name] or [], 0.0)
        else:
            yield absent(f"{label}.{name}", f"no {name} in golden_preprocess.json")
