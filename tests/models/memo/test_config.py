"""MEMO's card: which emotion a chunk is conditioned on, and what need not be on disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.errors import LiveheadError
from models.memo.config import CARD, NO_EMOTION, emotion_label
from models.memo.pipeline import MemoPipeline
from models.options import ModelOptions, read_options
from models.registry import load_generator
from models.sd15.load import load_pipeline
from tests.support.small import small_checkpoint

pytestmark = pytest.mark.unit


def test_the_emotion_is_a_class_or_none() -> None:
    assert emotion_label(None) == NO_EMOTION == 9
    assert [emotion_label(k) for k in range(9)] == list(range(9))
    for wrong in (-1, 9):
        with pytest.raises(LiveheadError, match="--emotion"):
            emotion_label(wrong)


def test_the_option_chooses_it_and_no_classifier_is_needed(tmp_path: Path) -> None:
    folder = small_checkpoint("memo", tmp_path)
    assert not list(folder.rglob("*classifier*"))
    labels = []
    for given in ({}, {"emotion": "3"}):
        options = read_options({"model": "memo", "weights": str(folder), "size": "64", **given})
        pipeline = load_pipeline(CARD, options)
        assert isinstance(pipeline, MemoPipeline)
        labels.append(pipeline.emotion)
    assert labels == [NO_EMOTION, 3]


def test_other_models_know_no_emotion() -> None:
    with pytest.raises(LiveheadError, match="--emotion"):
        load_generator(ModelOptions("hallo", weights="random:0", emotion=3))
