"""Replays what MEMO does to sound before its networks hear it."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from models.audio.published.emotion import segments_of, timeline
from models.audio.published.wav2vec import Wav2VecFeatures, normalised
from models.parity.directory import Directory
from models.parity.report import Item, absent, compare
from models.weights.published import shared

SMALL = 1e-5
AUDIO = 1e-4
CHUNK = 16  # frames of a clip in the stored run


def items(directory: Directory, classifier: nn.Module) -> Iterator[Item]:
    """Speech features, hidden states, emotion labels."""
    g = directory.golden("audio")
    if "waveform" not in g:
        yield absent("audio_emb", f"no waveform in {g.path.name}")
        return
    network = shared.wav2vec(directory.config["wav2vec"])
    network.load_state_dict(directory.weights("wav2vec"), assign=True)
    features = Wav2VecFeatures(network, float(directory.config["pipeline"]["fps"]))
    speech = g.float("waveform").numpy()
    heard = features.whole(speech, CHUNK)
    yield compare("audio_emb", heard, g["audio_emb"], AUDIO)
    yield compare("audio_length", torch.tensor(len(heard)), g["audio_length"], 0.0)
    for name in sorted({n.partition(".")[0] for n in g if n.startswith("wav2vec_seq")}):
        states = features.states(normalised(speech), int(name.removeprefix("wav2vec_seq")))
        for k, state in enumerate(states):
            yield compare(f"{name}.hidden_states.{k}", state, g[f"{name}.hidden_states.{k}"], AUDIO)
        stored = g[f"{name}.last_hidden_state"]
        yield compare(f"{name}.last_hidden_state", states[-1], stored, AUDIO)
    for name in sorted({n.partition(".")[0] for n in g if n.startswith("emotion_")}):
        samples = int(g[f"{name}.num_samples"])
        lengths = torch.tensor([end - begin for begin, end in segments_of(samples)])
        yield compare(f"{name}.segment_lengths", lengths, g[f"{name}.segment_lengths"], 0.0)
        told = classifier(g.float(f"{name}.pooled_features")).argmax(dim=-1)
        stored = g[f"{name}.labels"]
        yield compare(f"{name}.labels", timeline(told, samples, len(stored)), stored, 0.0)
