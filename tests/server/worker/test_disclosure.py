"""The label of generated pictures: a float blend's, in its corner alone, seen by callers."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from models.fake import FakeGenerator
from server.clock import SystemClock
from server.media.spec import MediaSpec
from server.worker.disclosure import BACK, FRONT, DisclosureMark, _draw
from server.worker.streams import WorkerStream, silent_request
from tests.support.server_in_loop import serving
from tests.support.workers import FakeWorkers

pytestmark = pytest.mark.unit

SIZES = [(512, 512), (720, 1280), (64, 64), (1280, 720), (66, 2048)]


def picture_of(size: tuple[int, int]) -> NDArray[np.uint8]:
    """Noise."""
    return np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)


@pytest.mark.parametrize("size", SIZES)
def test_only_a_corner_changes_and_it_is_given_back(size: tuple[int, int]) -> None:
    picture, mark = picture_of(size), DisclosureMark(size)
    before = picture.copy()
    with mark.on(picture) as shown:
        changed = (shown != before).any(axis=2)
        assert shown is picture
    assert (picture == before).all()
    rows, columns = np.nonzero(changed)
    assert rows.min() >= 0.65 * size[0] and rows.max() < size[0] - 1
    assert columns.min() > 0 and columns.max() < max(0.45 * size[1], 64)
    assert changed[rows.min() : rows.max(), columns.min() : columns.max()].mean() > 0.5


def test_it_is_what_a_float_blend_draws() -> None:
    size = (512, 512)
    label, opacity = _draw(17)
    assert opacity.min() == BACK and opacity.max() == FRONT
    for shade in (0, 90, 255):
        picture = np.full((*size, 3), shade, np.uint8)
        with DisclosureMark(size).on(picture) as shown:
            changed = shown.copy()
        bottom = size[0] - len(label) // 3
        left = len(label) // 3
        corner = changed[bottom - len(label) : bottom, left : left + label.shape[1]].astype(float)
        share = opacity[..., None] / 255
        expected = shade * (1 - share) + label[..., None] * share
        assert np.abs(corner - expected).max() <= 2


def test_a_picture_that_cannot_be_written_is_copied() -> None:
    picture = picture_of((128, 128))
    picture.flags.writeable = False
    with DisclosureMark((128, 128)).on(picture) as shown:
        assert (shown != picture).any()


def test_it_is_cheap_beside_the_encoder() -> None:
    """Against the JPEG encoder in the same process: both are slowed by whatever else runs."""
    picture, mark = picture_of((512, 512)), DisclosureMark((512, 512))

    def blend() -> None:
        with mark.on(picture):
            pass

    def encode() -> None:
        cv2.imencode(".jpg", picture)

    def best(act: Callable[[], None]) -> float:
        times = []
        for _ in range(30):
            began = time.perf_counter()
            act()
            times.append(time.perf_counter() - began)
        return min(times)

    assert best(blend) < 0.2 * best(encode)


def test_encoded_frames_show_it_to_those_who_asked() -> None:
    generator = FakeGenerator()
    spec = MediaSpec.of(generator)
    pictures = np.full((spec.chunk_frames, *spec.size, 3), 128, np.uint8)
    request = replace(silent_request(spec), jpeg=True)
    for mark, dark in ((None, False), (DisclosureMark(spec.size), True)):
        stream = WorkerStream(spec, None, mark)
        frames = stream.encode(request, pictures)
        stream.close()
        for frame in frames:
            shown = cv2.imdecode(np.frombuffer(frame.jpeg, np.uint8), cv2.IMREAD_COLOR)
            assert shown is not None
            assert (shown[-len(shown) // 8 :, : len(shown) // 3].min() < 100) is np.bool_(dark)
    assert (pictures == 128).all()


@pytest.mark.parametrize(("setting", "asked"), [(True, False), (False, True), (False, False)])
async def test_it_is_there_when_the_settings_or_the_session_ask(setting: bool, asked: bool) -> None:
    workers = FakeWorkers(SystemClock())
    async with serving(workers, disclosure=setting) as caller:
        body = {"avatar_id": "ada", "disclosure": asked}
        files = {"portrait": ("a.jpg", b"picture")}
        data = {"disclosure": str(asked).lower()}
        answers = [
            await caller.http.post("/session", json=body),
            await caller.http.post("/session", files=files, data=data),
        ]
        assert [answer.status_code for answer in answers] == [201, 201]
        assert list(workers.disclosed.values()) == [setting or asked] * 2
        wrong = await caller.http.post("/session", files=files, data={"disclosure": "maybe"})
        assert wrong.status_code == 400 and "disclosure true or false" in wrong.json()["detail"]
