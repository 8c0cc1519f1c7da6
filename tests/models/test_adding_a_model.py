"""A model is a folder and a line: the toy of docs/adding-a-model.md runs everywhere by its name."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

import av
import numpy as np
import pytest

from models.errors import LiveheadError
from models.generator import Generator, chunk_samples
from models.io.image import load_image
from models.options import ModelOptions, add_model_arguments
from models.pipeline import DiffusionGenerator
from models.registry import MODELS, find_card, load_generator
from models.weights.bundled import WEIGHTS
from server.assets import draw_portrait
from server.cli import main
from server.settings import Settings
from server.worker.messages import WorkerConfig
from server.worker.process import Worker
from tests.support.toy_model.config import CARD

pytestmark = pytest.mark.unit

LINE = "tests.support.toy_model.config:CARD"
SPEECH = min((WEIGHTS / "clips").glob("*.wav"))


@pytest.fixture(autouse=True)
def _the_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """What ``models/registry.py`` gets when a model is added."""
    monkeypatch.setitem(MODELS, "toy", LINE)


def test_the_card_is_found_and_the_generator_loaded() -> None:
    assert find_card("toy") is CARD
    generator = load_generator(ModelOptions("toy"))
    assert isinstance(generator, Generator) and isinstance(generator, DiffusionGenerator)
    assert generator.size == (64, 64) and str(generator.plan) == CARD.plan
    with pytest.raises(LiveheadError, match="--devices"):
        load_generator(ModelOptions("toy", devices=("cuda:0",)))
    with pytest.raises(LiveheadError, match="engine"):
        load_generator(ModelOptions("toy", engine="compiled"))


def test_command_line_and_environment_know_it() -> None:
    parser = argparse.ArgumentParser()
    add_model_arguments(parser, MODELS)
    assert parser.parse_args(["--model", "toy"]).model == "toy"
    settings = Settings.read({"LIVEHEAD_MODEL": "toy", "LIVEHEAD_PLAN": "4"})
    assert settings.options == ModelOptions("toy", plan="4")


def test_chunks_are_batched_and_light_steps_come_near_full_ones() -> None:
    frames = {}
    for plan in ("4", "4:0,2", "4:0,2+parallel"):
        generator = load_generator(ModelOptions("toy", plan=plan))
        identity = generator.prepare(load_image(draw_portrait()))
        streams = [generator.open(identity, seed=k) for k in range(2)]
        random = np.random.default_rng(0)
        audio = [random.standard_normal(chunk_samples(generator)).astype(np.float32) * 0.1] * 2
        together = generator.generate(streams, audio)
        alone = generator.generate([generator.open(identity, seed=1)], audio[1:])
        assert together[0].shape == (4, 64, 64, 3) and together[0].dtype == np.uint8
        assert np.abs(together[1].astype(int) - alone[0]).max() <= 1
        assert not np.array_equal(together[0], together[1])
        for stream in streams:
            generator.close(stream)
        frames[plan] = together[0].astype(int)
    assert 0 < np.abs(frames["4"] - frames["4:0,2"]).mean() < 8
    assert np.abs(frames["4"] - frames["4:0,2+parallel"]).mean() < 8


def test_render_writes_its_video(tmp_path: Path) -> None:
    out = tmp_path / "toy.mp4"
    assert main(["render", "--model", "toy", "--audio", str(SPEECH), "--out", str(out)]) == 0
    with av.open(str(out)) as container:
        video = container.streams.video[0]
        assert (video.width, video.height) == (64, 64) and video.frames > 100


async def test_a_worker_serves_it() -> None:
    replies: list[object] = []
    config = WorkerConfig(ModelOptions("toy"))
    worker = Worker(load_generator(config.options), replies.append)
    await asyncio.to_thread(worker.warm_up, draw_portrait())
    assert not replies
