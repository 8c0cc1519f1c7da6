"""The frame of the replays: what is ok, what is absent, which directories are refused."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from models.errors import WeightsError
from models.sd15.config import DDIM_ZERO_SNR
from tests.parity import __main__ as command
from tests.parity.directory import MODELS, Directory, ddim
from tests.parity.echomimic_inputs import crop_items
from tests.parity.items import Item, Report, absent, against, compare, guarded, measure
from tests.parity.memo import LATER_PAST_FRAMES, last_few
from tests.parity.names import LISTINGS, Listing, differences, read_listings

pytestmark = pytest.mark.unit


def hallo_folder(path: Path) -> Path:
    """A directory of the smallest possible network and stored value."""
    (path / "tiny_config.json").write_text(json.dumps({"imageproj": {}}))
    save_file(
        {
            "imageproj.proj.weight": torch.tensor([[64, -32]], dtype=torch.int8),
            "imageproj.pe": torch.tensor([0.3]),
        },
        path / "tiny_weights_int8.safetensors",
    )
    exponents = {"imageproj.proj.weight": 7}
    (path / "tiny_weights_exponents.json").write_text(json.dumps(exponents))
    save_file({"out": torch.ones(2)}, path / "golden_submodules.safetensors")
    return path


@pytest.fixture
def replayed(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A model whose one stored value is replayed with a given error."""
    module = ModuleType("tests.parity.hallo")

    def items(directory: Directory, _: object) -> Iterator[Item]:
        stored = directory.golden("submodules")
        shift = getattr(module, "shift", 0.0)
        yield measure("out", 1e-5, lambda: (torch.ones(2) + shift, stored["out"]))

    module.SECTIONS = {"submodules": items}  # type: ignore[attr-defined]
    monkeypatch.setattr(command, "load", lambda directory: directory.config)
    monkeypatch.setitem(sys.modules, "tests.parity.hallo", module)
    return module


def last_line(capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    """The JSON object that a command ends with."""
    record: dict[str, object] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return record


def test_an_item_is_ok_up_to_its_tolerance() -> None:
    assert compare("a", torch.tensor([1.0, 2.0]), np.array([1.0, 2.5]), 0.5).ok
    assert not compare("a", torch.tensor([1.0, 2.0]), np.array([1.0, 2.6]), 0.5).ok
    item = compare("a", torch.tensor([10.0]), torch.tensor([11.0]), 0.1, relative=True)
    assert item.ok and item.tolerance == pytest.approx(1.1)


def test_another_shape_or_no_number_is_never_ok() -> None:
    shape = compare("a", torch.zeros(2), torch.zeros(3), 1.0)
    assert not shape.ok and math.isinf(shape.max_abs or 0) and "shape" in shape.note
    nothing = compare("a", torch.tensor([math.nan]), torch.zeros(1), 1.0)
    assert not nothing.ok and nothing.to_json()["max_abs"] is None


def test_absent_items_are_listed_and_never_passed(tmp_path: Path) -> None:
    stored = Directory(hallo_folder(tmp_path), "hallo").golden("submodules")
    item = measure("gone", 1.0, lambda: (torch.zeros(1), stored["gone"]))
    assert item.absent and not item.ok and "gone" in item.note
    assert item.to_json()["absent"] is True
    report = Report("hallo", [compare("a", [0], [0], 0.0), absent("b")])
    assert not report.ok and not Report("hallo").ok


def test_a_stored_value_judges_or_is_absent() -> None:
    stored = {"a": torch.ones(2, 1)}
    assert against(stored, "a", torch.ones(2, 1), 0.0).ok
    item = against(stored, "a", lambda out: torch.ones(2).view_as(out), 0.0, label="other")
    assert item.ok and item.name == "other"


def test_what_cannot_be_replayed_is_listed_and_never_passed(tmp_path: Path) -> None:
    stored = Directory(hallo_folder(tmp_path), "hallo").golden("submodules")

    def items(fault: str) -> Iterator[Item]:
        yield absent("first")
        if fault == "absent":
            stored.float("gone")
        elif fault == "setting":
            dict[str, int]()["steps"]
        elif fault == "shape":
            torch.ones(2) + torch.ones(3)
        else:
            raise WeightsError("damaged", code="bad_weights")

    for fault, missing in (("absent", True), ("setting", True), ("shape", False)):
        first, rest = guarded("part", items(fault))
        assert first.name == "first" and rest.name == "part" and rest.note
        assert not rest.ok and rest.absent is missing
    with pytest.raises(WeightsError, match="damaged"):
        list(guarded("part", items("weights")))


def test_a_report_shows_what_was_never_computed(capsys: pytest.CaptureFixture[str]) -> None:
    Report("hallo", [Item("a", None, None, False, note="never ran")]).show()
    assert "1 failed" in capsys.readouterr().out


def test_numbers_that_are_none_leave_the_json_whole() -> None:
    item = compare("a", torch.zeros(1), torch.tensor([math.nan]), 1.0, relative=True)
    record = item.to_json()
    assert record["tolerance"] is None and record["max_abs"] is None and not record["ok"]


def test_weights_that_do_not_fit_are_named(tmp_path: Path) -> None:
    directory = Directory(hallo_folder(tmp_path), "hallo")
    with pytest.raises(WeightsError, match=r"tiny_weights_int8.*imageproj.*missing"):
        directory.fill(nn.Linear(2, 1), "imageproj")
    with pytest.raises(WeightsError, match="does not describe hallo's networks"):
        directory.build(lambda config: config["audioproj"])


def test_the_schedule_is_that_of_the_files() -> None:
    arguments = {"beta_start": 0.001, "beta_end": 0.02, "rescale_betas_zero_snr": False}
    spec = ddim({**arguments, "num_train_timesteps": 500, "beta_schedule": "linear"})
    assert (spec.beta_start, spec.beta_end, spec.train_steps) == (0.001, 0.02, 500)
    assert not spec.zero_terminal_snr and ddim({}) == DDIM_ZERO_SNR
    with pytest.raises(WeightsError, match="beta_schedule"):
        ddim({"beta_schedule": "scaled_linear"})


def test_weights_are_read_in_their_stored_encodings(tmp_path: Path) -> None:
    directory = Directory(hallo_folder(tmp_path), "hallo")
    weights = directory.weights("imageproj")
    assert torch.equal(weights["proj.weight"], torch.tensor([[0.5, -0.25]]))
    assert torch.equal(weights["pe"], torch.tensor([0.3]))
    eighth = {"w": torch.tensor([0.5, -1.75]).to(torch.float8_e4m3fn), "pe": torch.tensor([0.1])}
    save_file(eighth, tmp_path / "weights_image_proj.safetensors")
    memo = Directory(tmp_path, "memo").weights("image_proj")
    assert memo["w"].tolist() == [0.5, -1.75] and memo["pe"].dtype == torch.float32


def test_wrong_directories_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no folder"):
        Directory(tmp_path / "none", "hallo")
    with pytest.raises(WeightsError, match=r"tiny_config\.json"):
        _ = Directory(tmp_path, "hallo").config
    hallo_folder(tmp_path)
    with pytest.raises(WeightsError, match="does not describe memo"):
        _ = Directory(tmp_path, "memo").config
    with pytest.raises(WeightsError, match=r"vae\.\*"):
        Directory(tmp_path, "hallo").weights("vae")
    path = tmp_path / "golden_submodules.safetensors"
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(WeightsError, match="truncated"):
        Directory(tmp_path, "hallo").golden("submodules")


def test_the_command_ends_with_one_object(
    tmp_path: Path, replayed: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(hallo_folder(tmp_path))
    assert command.main(["hallo", folder, "--json"]) == 0
    record = last_line(capsys)
    assert record == {
        "model": "hallo",
        "ok": True,
        "items": [{"name": "out", "max_abs": 0.0, "tolerance": 1e-05, "ok": True}],
    }
    replayed.shift = 1.0  # type: ignore[attr-defined]
    assert command.main(["hallo", folder, "--json"]) == 1
    assert last_line(capsys)["ok"] is False


def test_the_command_refuses_a_foreign_directory(
    tmp_path: Path, replayed: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(["hallo", str(tmp_path)]) == 1
    assert "tiny_config.json" in capsys.readouterr().err
    assert command.main(["hallo"]) == 1
    assert "--names" in capsys.readouterr().err


def test_names_shapes_and_buffers_are_compared() -> None:
    with torch.device("meta"):
        network = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3, track_running_stats=False))
        network.register_buffer("pe", torch.zeros(4))
    shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    assert differences(network, Listing(shapes, frozenset({"pe"}))) == []
    assert differences(network, Listing(shapes, frozenset()))
    assert differences(network, Listing({**shapes, "more": (1,)}, frozenset({"pe"})))
    assert differences(network, Listing({**shapes, "pe": (5,)}, frozenset({"pe"})))
    assert differences(network, Listing({"pe": (4,)}, frozenset({"pe"})))
    assert differences(network, Listing(None, None, 15)) == []
    assert differences(network, Listing(None, None, 16))


def test_the_listings_are_stored_without_a_time() -> None:
    for model in MODELS:
        content = (LISTINGS / f"{model}.json.gz").read_bytes()
        assert content[4:8] == bytes(4), "compress it with gzip -9 --no-name"


def test_a_foreign_listing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="keys_full"):
        read_listings("hallo", tmp_path)
    (tmp_path / "keys_full.json").write_text("{}")
    with pytest.raises(WeightsError, match="listing"):
        read_listings("hallo", tmp_path)


def test_a_box_is_grown_by_the_shares_that_its_case_states() -> None:
    case = {"H": 100, "W": 100, "box_xyxy": [40, 40, 60, 60], "mask_dilation": 0.1}
    (item,) = guarded("face", crop_items("face", case))
    assert item.absent and "crop_dilation" in item.note
    case |= {"crop_dilation": 0.5, "crop_rect": [30, 30, 70, 70], "mask_area": 24 * 24}
    items = {item.name: item for item in crop_items("face", case)}
    assert items["face.crop_rect"].ok and items["face.mask_area"].ok
    case |= {"crop_dilation": 0.25, "mask_dilation": 0.2}
    items = {item.name: item for item in crop_items("face", case)}
    assert items["face.crop_rect"].max_abs == 5 and items["face.mask_area"].max_abs == 28**2 - 24**2


def test_later_calls_see_the_portrait_and_the_last_two_past_frames() -> None:
    rows = last_few(torch.arange(10)[:, None], LATER_PAST_FRAMES)
    assert rows.flatten().tolist() == [0, 3, 4, 5, 8, 9]
