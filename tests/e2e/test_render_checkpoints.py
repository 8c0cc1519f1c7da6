"""The published models as a user runs them: a checkpoint, a portrait and speech to a video."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from models.commands.generator import load_diffusion_generator
from models.face.report import report_of
from models.generator import chunk_samples, frame_count, generate_all
from models.io.image import load_image
from models.lightning.plan import parse
from models.options import ModelOptions
from models.pipeline import DiffusionGenerator
from models.registry import measured_models
from models.weights.bundled import avatar_picture
from server.cli import main
from tests.models.io.test_audio import write
from tests.support.checkpoints import sd15_card
from tests.support.small import small_checkpoint

pytestmark = pytest.mark.e2e

SECONDS, RATE = 1.3, 16_000
SIZE = 64
FAST = "4:0,2+dfa+parallel"


def speech(seconds: float = SECONDS, seed: int = 0) -> NDArray[np.float32]:
    """Noise whose loudness rises and falls, as of syllables."""
    t = np.arange(round(seconds * RATE)) / RATE
    noise = np.random.default_rng(seed).standard_normal(t.size)
    return (0.2 * noise * np.abs(np.sin(8 * t))).astype(np.float32)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A small random checkpoint of each model in its publisher's layout."""
    top = tmp_path_factory.mktemp("published")
    return {name: small_checkpoint(name, top / name) for name in measured_models()}


def decoded(path: Path) -> tuple[list[NDArray[np.uint8]], float]:
    """Pictures of a video file, and the length of its sound in seconds."""
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    pictures = [np.asarray(frame, np.uint8) for frame in frames]
    with av.open(str(path)) as container:
        sounds = list(container.decode(audio=0))
    assert sounds[0].sample_rate
    return pictures, sum(s.samples for s in sounds) / sounds[0].sample_rate


def load(name: str, folder: Path, **options: Any) -> DiffusionGenerator[Any, Any]:
    """A model's generator of small frames."""
    return load_diffusion_generator(
        ModelOptions(name, weights=str(folder), threads=1, size=(SIZE, SIZE), **options)
    )


@pytest.mark.parametrize("name", measured_models())
@pytest.mark.parametrize("plan", ["2", FAST])
def test_a_checkpoint_a_portrait_and_speech_give_a_video(
    name: str, plan: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    audio = write(tmp_path / "speech.wav", "pcm_s16le", RATE, speech()[None])
    out = tmp_path / "out.mp4"
    words = ["render", "--model", name, "--weights", str(folders[name]), "--size", str(SIZE)]
    words += ["--plan", plan, "--portrait", str(avatar_picture())]
    assert main([*words, "--audio", str(audio), "--out", str(out)]) == 0
    pictures, sound = decoded(out)
    assert len(pictures) == int(np.ceil(SECONDS * sd15_card(name).spec.fps))
    assert pictures[0].shape == (SIZE, SIZE, 3)
    assert sound == pytest.approx(SECONDS, abs=0.1)


@pytest.fixture(scope="module", params=measured_models())
def generated(
    request: pytest.FixtureRequest, folders: dict[str, Path]
) -> Iterator[tuple[str, Path]]:
    """A model and its folder."""
    yield request.param, folders[request.param]


def test_streams_are_repeatable_and_do_not_notice_each_other(generated: tuple[str, Path]) -> None:
    name, folder = generated
    generator = load(name, folder, plan=FAST)
    identity = generator.prepare(load_image(avatar_picture()))
    said = [speech(2.0, seed) for seed in (1, 2)]
    samples, chunks = chunk_samples(generator), 2
    step = round(generator.chunk_frames * RATE / generator.fps)

    def cut(k: int, one: NDArray[np.float32]) -> NDArray[np.float32]:
        return one[k * step : k * step + samples]

    def alone(k: int) -> NDArray[np.uint8]:
        stream = generator.open(identity, seed=k)
        made = [generator.generate([stream], [cut(j, said[k])])[0] for j in range(chunks)]
        return np.concatenate(made)

    both = [generator.open(identity, seed=k) for k in range(2)]
    together = [generator.generate(both, [cut(j, one) for one in said]) for j in range(chunks)]
    apart = [alone(k) for k in range(2)]
    assert np.array_equal(apart[0], alone(0))
    for k in range(2):  # random networks magnify the rounding of another batch size
        mine = np.concatenate([frames[k] for frames in together])
        assert gap(mine, apart[k]) < 0.1 * gap(apart[0], apart[1])


def gap(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """Mean difference of pictures, grey levels."""
    return float(np.abs(one.astype(int) - other.astype(int)).mean())


def test_the_portrait_is_reported_on(generated: tuple[str, Path]) -> None:
    report = report_of(load(*generated).prepare(load_image(avatar_picture())))
    assert report is not None and report.faces == 1 and report.limits == ()


def test_a_known_recording_is_heard_whole(generated: tuple[str, Path]) -> None:
    name, folder = generated
    generator = load(name, folder, plan="2")
    identity, said = generator.prepare(load_image(avatar_picture())), speech()
    known = generator.open(identity, seed=1, speech=said)
    frames = np.concatenate(list(generate_all(generator, known, said)))
    assert len(frames) == frame_count(generator, said.size)
    live = np.concatenate(list(generate_all(generator, generator.open(identity, seed=1), said)))
    assert frames.shape == live.shape and not np.array_equal(frames, live)


def test_devices_share_light_steps_with_the_same_result(generated: tuple[str, Path]) -> None:
    name, folder = generated
    made = []
    for devices in (("cpu",), ("cpu", "cpu")):
        generator = load(name, folder, plan="4:0+parallel", devices=devices)
        identity = generator.prepare(load_image(avatar_picture()))
        stream = generator.open(identity, seed=1)
        made.append(generator.generate([stream], [speech()[: chunk_samples(generator)]])[0])
    assert gap(*made) < 0.5


@pytest.mark.parametrize("name", measured_models())
def test_a_model_brings_its_own_plan(name: str, folders: dict[str, Path]) -> None:
    last, own = "up_blocks.3.attentions.2", parse(sd15_card(name).plan)
    one = load(name, folders[name])
    assert one.plan == own and not one.pipeline.backbone.without_reference
    several = load(name, folders[name], devices=("cpu", "cpu"), without_reference=(last,))
    assert several.plan == own.at_once()
    assert several.pipeline.backbone.without_reference == {last}


def test_a_missing_file_is_one_error_that_names_it(
    folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = tmp_path / "weights"
    empty.mkdir()
    audio = write(tmp_path / "speech.wav", "pcm_s16le", RATE, speech(0.3)[None])
    words = ["render", "--model", "hallo", "--weights", str(empty), "--audio", str(audio)]
    assert main([*words, "--out", str(tmp_path / "out.mp4")]) == 1
    said = capsys.readouterr().err
    assert "hallo/net.pth" in said and "Traceback" not in said
