"""Options of the published models and what is refused before anything is loaded."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import pytest

from models.commands.generator import make_generator
from models.errors import LiveheadError, WeightsError
from models.mini.life.life import LIVELINESS
from models.options import ModelOptionError, ModelOptions, add_model_arguments, read_options
from models.registry import MODELS, load_generator, measured_models
from models.sd15.load import load_pipeline
from tests.support.checkpoints import sd15_card

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"size": (721, 720)}, "--size"),
        ({"size": (62, 512)}, "--size"),
        ({"size": (512, 4096)}, "--size"),
        ({"dtype": "int8"}, "--dtype"),
        ({"devices": ("cpu", "")}, "--devices"),
        ({"liveliness": 1.5}, "--liveliness"),
        ({"liveliness": float("nan")}, "--liveliness"),
    ],
)
def test_wrong_options_are_named(wrong: dict[str, object], named: str) -> None:
    with pytest.raises(LiveheadError, match=named):
        ModelOptions(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "size"),
    [("256", (256, 256)), ("720", (720, 720)), ("720x1280", (1280, 720)), ("640X480", (480, 640))],
)
def test_sizes_are_sides_or_width_by_height(text: str, size: tuple[int, int]) -> None:
    assert read_options({"size": text}).size == size
    parser = argparse.ArgumentParser()
    add_model_arguments(parser, MODELS)
    assert parser.parse_args(["--size", text]).size == size


@pytest.mark.parametrize("text", ["big", "x", "720x", "1x2x3", "-64", "511", "512x513", "10"])
def test_other_sizes_are_refused_in_one_line(text: str) -> None:
    with pytest.raises(ModelOptionError, match="--size as a side or WIDTHxHEIGHT") as caught:
        read_options({"size": text})
    assert "\n" not in str(caught.value) and text in str(caught.value)


@pytest.mark.parametrize("size", [(512, 768), (360, 360)])
def test_networks_that_draw_the_whole_square_keep_their_step(size: tuple[int, int]) -> None:
    with pytest.raises(ModelOptionError, match="a multiple of 64, with hallo"):
        load_generator(ModelOptions("hallo", weights="random:0", size=size))


def test_liveliness_is_minis_alone_and_by_default_as_it_is_written() -> None:
    assert ModelOptions().liveliness == LIVELINESS
    assert read_options({"liveliness": "0.25"}).liveliness == 0.25
    with pytest.raises(ModelOptionError, match="a number"):
        read_options({"liveliness": "much"})
    with pytest.raises(LiveheadError, match="leave it out"):
        load_generator(ModelOptions("hallo", weights="random:0", liveliness=0.1))


@pytest.mark.parametrize("name", measured_models())
def test_weights_must_be_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="random:SEED"):
        load_generator(ModelOptions(model=name))
    with pytest.raises(WeightsError, match="no folder"):
        load_generator(ModelOptions(model=name, weights=str(tmp_path / "none")))
    with pytest.raises(WeightsError, match="nothing is downloaded"):
        load_generator(ModelOptions(model=name, weights=str(tmp_path)))
    with pytest.raises(LiveheadError, match="eager"):
        load_generator(ModelOptions(model=name, weights=str(tmp_path), engine="openvino"))


def test_a_device_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(LiveheadError, match="--devices"):
        load_pipeline(
            sd15_card("hallo"), ModelOptions(weights=str(tmp_path), devices=("nonsense",))
        )


def test_a_missing_library_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(LiveheadError, match="diffusers.*livehead.published") as caught:
        load_generator(ModelOptions("hallo", weights="random:0"))
    assert caught.value.code == "missing_extra"


def test_threads_of_a_command_are_a_number_above_zero(capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    add_model_arguments(parser, MODELS)
    with pytest.raises(SystemExit):
        parser.parse_args(["--threads", "two"])
    assert "invalid thread_count value: 'two'" in capsys.readouterr().err
    with pytest.raises(LiveheadError, match="at least one thread"):
        parser.parse_args(["--threads", "0"])


def test_random_weights_are_said_loudly(capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    add_model_arguments(parser, MODELS)
    args = parser.parse_args(["--model", "hallo", "--weights", "random:x", "--devices", "nonsense"])
    with pytest.raises(LiveheadError, match="--devices"):
        make_generator(args)
    assert "NOISE" in capsys.readouterr().err.upper()


def test_mini_and_the_server_do_without_the_extra() -> None:
    code = (
        "import sys, models.pipeline, models.options, models.mini.checkpoint, server.app,"
        " server.worker.process;"
        " print([m for m in ('diffusers', 'transformers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
