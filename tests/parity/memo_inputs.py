"""Replays what MEMO does to sound before its networks hear it."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from models.audio.wav2vec2 import Wav2VecFeatures, zero_mean_unit_variance
from models.checkpoints import build as shared
from tests.parity.directory import Directory, Stored
from tests.parity.memo_emotion import segments_of, timeline
from tests.parity.report import Item, absent, against, guarded

SMALL = 1e-5
AUDIO = 1e-4
CHUNK = 16  # frames of a clip in the stored run


def items(directory: Directory, classifier: nn.Module) -> Iterator[Item]:
    """Speech features, hidden states, emotion labels."""
    g = directory.golden("audio")
    if "waveform" not in g:
        yield absent("audio_emb", f"no waveform in {g.path.name}")
        return
    network = directory.build(lambda config: shared.build_wav2vec(config["wav2vec"]))
    directory.fill(network, "wav2vec")
    features = Wav2VecFeatures(network, float(directory.config["pipeline"]["fps"]))
    speech = g.float("waveform").numpy()
    heard = features.whole(speech, CHUNK)
    yield against(g, "audio_emb", heard, AUDIO)
    yield against(g, "audio_length", torch.tensor(len(heard)), 0.0)
    named = {n.partition(".")[0] for n in g if n.startswith("wav2vec_seq")}
    if not named:
        yield absent("wav2vec_seq", f"no wav2vec_seq* in {g.path.name}")
    for name in sorted(named):
        states = features.states(
            zero_mean_unit_variance(speech), int(name.removeprefix("wav2vec_seq"))
        )
        for k, state in enumerate(states):
            yield against(g, f"{name}.hidden_states.{k}", state, AUDIO)
        yield against(g, f"{name}.last_hidden_state", states[-1], AUDIO)
    named = {n.partition(".")[0] for n in g if n.startswith("emotion_")}
    if not named:
        yield absent("emotion", f"no emotion_* in {g.path.name}")
    for name in sorted(named):
        yield from guarded(name, _emotion(name, g, classifier))


def _emotion(name: str, g: Stored, classifier: nn.Module) -> Iterator[Item]:
    """Pieces of a recording, and the label of every frame."""
    samples = int(g[f"{name}.num_samples"])
    lengths = torch.tensor([end - begin for begin, end in segments_of(samples)])
    yield against(g, f"{name}.segment_lengths", lengths, 0.0)
    told = classifier(g.float(f"{name}.pooled_features")).argmax(dim=-1)
    yield against(g, f"{name}.labels", lambda out: timeline(told, samples, len(out)), 0.0)
