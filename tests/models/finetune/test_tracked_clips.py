"""A speaking face is tracked, held still, and becomes clips that load."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from models.dataset.clips import list_clips, load_clip
from models.finetune import selection
from models.finetune.eyes import LidWatch, blinks_of
from models.finetune.footage import Footage
from models.finetune.person_clips import PersonClips
from models.finetune.selection import select_frames
from models.finetune.tracking import track_landmarks
from models.mini.motion import MOTION
from tests.support.speaking import JAW, syllables

pytestmark = pytest.mark.unit

FRAMES = 80


class _Drawn(Footage):
    """Frames that are drawn rather than decoded."""

    def frames(self) -> Iterator[NDArray[np.uint8]]:
        return syllables(FRAMES).frames()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("person")
    footage = _Drawn(Path("drawn"), syllables(FRAMES).sound())
    track = track_landmarks(footage.frames(), footage.length)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(selection, "MIN_FRAMES", 1)
        patch.setattr(selection, "MIN_RUN", 10)
        found = select_frames(track)
    PersonClips(footage, track, found).write(out)
    return out


def test_clips_load_and_the_last_is_held_out(folder: Path) -> None:
    train, held_out = (load_clip(list_clips(folder, s)[0]) for s in ("train", "held_out"))
    assert train.frames + held_out.frames == FRAMES and held_out.frames == 20
    assert (folder / "portrait.jpg").is_file()
    np.testing.assert_allclose(held_out.audio, syllables(FRAMES).sound()[-20 * 640 :], atol=1e-3)


def test_the_jaw_is_read_from_the_pictures(folder: Path) -> None:
    jaw = np.concatenate([load_clip(path).mouth[:, JAW] for path in list_clips(folder)])
    assert np.corrcoef(jaw, syllables(FRAMES).jaw)[0, 1] > 0.9


def test_the_head_stands_still_in_the_window(folder: Path) -> None:
    """The sway is gone: the forehead of every frame lies on the first one's."""
    clip = load_clip(list_clips(folder, "train")[0])
    forehead = [clip.video[k][20:60, 80:176].astype(float) for k in range(0, clip.frames, 5)]
    off = [np.abs(frame - clip.photo[20:60, 80:176]).mean() for frame in forehead]
    assert np.median(off) < 3 and max(off) < 7


def test_open_eyes_are_no_blink_and_hidden_ones_are(folder: Path) -> None:
    clip = load_clip(list_clips(folder, "train")[0])
    assert np.median(clip.motion[:, MOTION.index("blink")]) < 0.1
    shut = clip.photo.copy()
    for x, y in clip.eyes_xy[0].reshape(2, 2).astype(int):
        skin = tuple(int(v) for v in clip.photo[y + 25, x])
        cv2.ellipse(shut, (int(x), int(y)), (20, 9), 0, 0, 360, skin, -1)
        cv2.line(shut, (int(x) - 16, int(y) + 5), (int(x) + 16, int(y) + 5), (60, 40, 40), 2)
    watch = LidWatch(clip.photo, clip.eyes_xy[0])
    looks = [watch.unlike(clip.photo)] * 60 + [watch.unlike(shut)] * 4
    looks += [watch.unlike(clip.photo)] * 60
    found = blinks_of(np.array(looks))
    assert found[60:64].min() > 0.5 and found[:60].max() == found[64:].max() == 0


def test_eyes_that_look_elsewhere_for_long_do_not_blink() -> None:
    looks = np.repeat([0.0, 0.3, 0.05], 50)
    assert blinks_of(looks)[60:90].max() == 0
