"""Replays what EchoMimic does to sound and pictures before its networks see them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from models.audio.published.speech import RATE
from models.audio.published.whisper import (
    SEGMENT,
    WhisperFeatures,
    frames_of,
    log_mel,
    mel_filters,
    rows_of,
)
from models.parity.directory import Directory, Stored
from models.parity.report import Absent, Item, absent, compare
from models.portrait.published.echomimic import crop_of, mask_of, square_of
from models.weights.published import renames, shared

SMALL = 1e-5
FPS = 24.0
LONG = 31  # seconds of the long stored wave


def items(directory: Directory) -> Iterator[Item]:
    """Sound, index tables, pictures."""
    yield from _sound(directory)
    yield from _tables(directory)
    yield from _pictures(directory)


def _sound(directory: Directory) -> Iterator[Item]:
    g = directory.golden("audio")
    if "wave_int16" not in g:
        yield absent("feat", f"no wave_int16 in {g.path.name}")
        return
    yield compare("mel_filters", mel_filters(), g["mel_filters"], 1e-7)
    wave = g["wave_int16"].numpy()
    speech = wave.astype(np.float32) / np.float32(32768)
    mel = log_mel(speech)
    yield compare("mel", mel, g["mel"], SMALL)
    features = whisper_of(directory)
    padded = torch.nn.functional.pad(mel, (0, SEGMENT - mel.shape[1]))
    states = features.states(padded)
    first = g["enc_embeddings_first60"]
    count = first.shape[1]
    yield compare("enc_embeddings_first60", states[:count].transpose(0, 1), first, SMALL)
    last = features.network.layer_norm(states[:count, -1])
    yield compare("enc_final_postln_first60", last, g["enc_final_postln_first60"], SMALL)
    yield compare("feat", features.rows(speech), g["feat"], SMALL)
    yield from _long(features, g)


def whisper_of(directory: Directory) -> WhisperFeatures:
    """The tiny encoder; its table of positions is not stored, it is Whisper's own."""
    network: Any = shared.whisper(directory.config["whisper"])
    stored = directory.weights("whisper_encoder")
    state = {renames.whisper_name(name) or name: value for name, value in stored.items()}
    if "embed_positions.weight" not in state:
        state["embed_positions.weight"] = shared.whisper_positions(
            *network.embed_positions.weight.shape
        )
    network.load_state_dict(state, assign=True)
    return WhisperFeatures(network, FPS)


def _long(features: WhisperFeatures, g: Stored) -> Iterator[Item]:
    """Across the border of two segments."""
    if "long31s.mel_last8" not in g:
        yield absent("long31s", "no long31s.mel_last8")
        return
    speech = test_wave(LONG * RATE).astype(np.float32) / np.float32(32768)
    yield compare("long31s.mel_last8", log_mel(speech)[:, -8:], g["long31s.mel_last8"], SMALL)
    rows = features.rows(speech)
    for name in (n for n in g if n.startswith("long31s.feat_rows_")):
        begin, end = map(int, name.split("_")[-2:])
        yield compare(name, rows[begin:end], g[name], SMALL)
    yield compare("long31s.feat_last2", rows[-2:], g["long31s.feat_last2"], SMALL)


def test_wave(samples: int) -> np.ndarray[tuple[int], np.dtype[np.int16]]:
    """The wave of the notes: two tones, one rising in bursts, and a high one."""
    t = np.arange(samples) / RATE
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
    for case in tables["feature_slicing"]:
        stored = torch.tensor(case["indices"])
        mine = rows_of(torch.arange(len(stored)), case["T"], case["fps"])
        yield compare(f"feature_slicing.{case['T']}_{case['fps']}", mine, stored, 0.0)
    for case in tables["num_chunks"]:
        mine = torch.tensor(frames_of(case["T"], case["fps"]))
        stored = torch.tensor(case["n"])
        yield compare(f"num_chunks.{case['T']}_{case['fps']}", mine, stored, 0.0)
    for case in tables["mel_frames_to_feature_rows"]:
        mel = log_mel(np.zeros(case["samples"], np.float32)).shape[1]
        mine = torch.tensor([mel, mel // 2])
        stored = torch.tensor([case["mel"], case["rows"]])
        yield compare(f"mel_frames_to_feature_rows.{case['samples']}", mine, stored, 0.0)


def _pictures(directory: Directory) -> Iterator[Item]:
    """Boxes to masks and crops; the boxes themselves need pictures that are not stored."""
    try:
        cases = directory.json("golden_preprocess")["cases"]
    except Absent as error:
        yield absent("preprocess", str(error))
        return
    for case in cases:
        box, shape = np.array(case["box_xyxy"]), (case["H"], case["W"])
        crop = crop_of(box, shape)
        left, top, right, bottom = square = square_of(crop)
        mask = mask_of(box, shape, as_published=True)[top:bottom, left:right]
        spans = [np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0)]
        rows, columns = ([int(s[0]), int(s[-1]) + 1] if len(s) else None for s in spans)
        made = {
            "crop_rect": list(crop),
            "square_xyxy": list(square),
            "crop_shape": [bottom - top, right - left],
            "mask_in_crop_bbox_rows": rows,
            "mask_in_crop_bbox_cols": columns,
            "mask_area": int((mask > 0).sum()),
        }
        for name, got in made.items():
            stored = case[name]
            yield compare(f"preprocess.{case['name']}.{name}", got or [], stored or [], 0.0)
