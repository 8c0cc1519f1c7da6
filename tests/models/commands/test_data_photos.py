"""Tests the plan of the photo clips: every portrait, its own split, sections of recordings."""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

import pytest

from models.dataset.clips import FPS
from models.errors import LiveheadError

pytest.importorskip("moderngl", reason="photo puppets need the extra `synth`")
pytest.importorskip("scipy", reason="photo puppets need the extra `synth`")

from models.commands import data_photos  # noqa: E402
from models.puppets.portraits import PortraitFile  # noqa: E402
from models.puppets.speech_pool import (  # noqa: E402
    SECONDS,
    plan_recordings,
    recording_folder,
)

pytestmark = pytest.mark.unit

RECORDINGS, TAKES = 5, 3
POOL = Path("pool")
SOURCES = [
    PortraitFile(100 + k, Path(f"{k}.jpg"), "held_out" if k % 4 == 3 else "train")
    for k in range(24)
]


def test_every_portrait_gets_its_clips() -> None:
    plans = data_photos.plan_clips(SOURCES, POOL, TAKES, 6.4, RECORDINGS)
    clips = Counter(plan.source for plan in plans)
    assert all(clips[one] == (TAKES if one.split == "train" else 1) for one in SOURCES)
    assert len({plan.number for plan in plans}) == len(plans)
    pairs = {(plan.source, plan.recording, plan.start) for plan in plans}
    assert len(pairs) == len(plans)


def test_splits_and_recordings_stay_apart() -> None:
    plans = data_photos.plan_clips(SOURCES, POOL, TAKES, 6.4, RECORDINGS)
    for split, count in (("train", RECORDINGS), ("held_out", data_photos.HELD_OUT_RECORDINGS)):
        recorded = {
            recording_folder(POOL, one)
            for one in plan_recordings(count, "train" if split == "train" else "held_out")
        }
        used = {plan.recording for plan in plans if plan.split == split}
        assert used and used <= recorded
    held_out = {plan.number for plan in plans if plan.split == "held_out"}
    assert min(held_out) >= data_photos.FIRST_HELD_OUT


@pytest.mark.parametrize("seconds", [1.0, 6.4, SECONDS])
def test_sections_lie_inside_their_recording(seconds: float) -> None:
    plans = data_photos.plan_clips(SOURCES, POOL, TAKES, seconds, RECORDINGS)
    assert all(plan.start >= 0 for plan in plans)
    assert all(plan.start + plan.frames <= round(SECONDS * FPS) for plan in plans)


def test_voices_of_the_pool_take_turns() -> None:
    train, held_out = plan_recordings(30, "train"), plan_recordings(4, "held_out")
    assert len({one.voice for one in train}) == 26
    assert not {one.voice for one in train} & {one.voice for one in held_out}
    assert all(0.9 <= one.speed <= 1.12 for one in train)


@pytest.mark.parametrize(
    "options", [["--takes", "0"], ["--seconds", "13"], ["--part", "2/2"], ["--workers", "0"]]
)
def test_refuses_bad_options(options: list[str], tmp_path: Path) -> None:
    parser = argparse.ArgumentParser()
    data_photos.add_arguments(parser)
    folders = ["--portraits", str(tmp_path), "--assets", str(tmp_path), "--out", str(tmp_path)]
    with pytest.raises(LiveheadError) as caught:
        data_photos.run(parser.parse_args([*folders, *options]))
    assert caught.value.code == "bad_option"
