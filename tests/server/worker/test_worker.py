"""The worker's main thread, run step by step in this process with the fake generator."""

from __future__ import annotations

import itertools
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from models.errors import AudioError
from models.fake import FakeGenerator, FakeIdentity, FakeStream
from models.generator import STAGES
from models.io.face_box import FaceBox
from server.assets import draw_portrait
from server.avatars import content_hash
from server.media.spec import MediaSpec
from server.session.workers import ChunkRequest, ChunkResult
from server.worker import messages as wire
from server.worker.giving_way import ABANDON_S
from server.worker.prepared_store import PreparedStore
from server.worker.process import Worker
from tests.models.face.test_report import PERFECT
from tests.support.workers import SPEC

pytestmark = pytest.mark.unit


class Bench(FakeGenerator):
    """Counts what it is asked for in one call; fails on a stream that the test breaks."""

    def __init__(self, fps: float = 25.0) -> None:
        super().__init__(fps=fps)
        self.batches: list[int] = []
        self.prepared: list[int] = []
        self.broken: Any = None
        self.closed: list[FakeStream] = []
        self.during: list[wire.Request] = []
        self.inbox: queue.Queue[Any] | None = None
        self.gate = threading.Event()  # portraits are prepared while it is set
        self.gate.set()
        self.prepare_s = 0.0

    def prepare(self, portrait: NDArray[np.uint8], box: FaceBox | None = None) -> FakeIdentity:
        """Remember the height; wait at the gate, and take ``prepare_s``."""
        assert self.gate.wait(20)
        time.sleep(self.prepare_s)
        self.prepared.append(portrait.shape[0])
        return super().prepare(portrait, box)

    def generate(
        self, streams: Sequence[Any], audio: Sequence[NDArray[np.float32]]
    ) -> list[NDArray[np.uint8]]:
        """As the fake does."""
        self.batches.append(len(streams))
        while self.during and self.inbox is not None:
            self.inbox.put(self.during.pop(0))
        if any(stream is self.broken for stream in streams):
            raise AudioError("this stream is broken", code="bad_audio")
        return super().generate(streams, audio)

    def close(self, stream: FakeStream) -> None:
        """Remember the stream."""
        self.closed.append(stream)
        super().close(stream)


class Rig:
    """A worker thread and what it answers."""

    def __init__(
        self,
        max_batch: int = 4,
        clock: Callable[[], float] = time.monotonic,
        generator: Bench | None = None,
        store: PreparedStore[Any] | None = None,
    ) -> None:
        self.generator = generator or Bench()
        self.replies: queue.Queue[wire.Reply] = queue.Queue()
        self.worker = Worker(
            self.generator,
            self.replies.put,
            max_batch=max_batch,
            max_identities=2,
            clock=clock,
            store=store,
        )
        self.generator.inbox = self.worker.inbox
        self.thread = threading.Thread(target=self.worker.run)

    def tell(self, *messages: wire.Request) -> None:
        """Put messages into the inbox."""
        for message in messages:
            self.worker.inbox.put(message)

    def next(self) -> Any:
        """The next reply."""
        return self.replies.get(timeout=20)

    def open(self, session: str, seed: int = 0) -> None:
        """Prepare and open, and swallow the answers."""
        self.tell(wire.Prepare(1, draw_portrait()))
        identity = self.next().content_hash
        self.tell(wire.Open(2, session, identity, seed))
        assert self.next() == wire.Opened(2)


@pytest.fixture
def rig() -> Iterator[Rig]:
    rig = Rig()
    rig.thread.start()
    assert rig.next() == wire.WorkerReady(SPEC, 4)
    yield rig
    rig.tell(wire.Stop())
    rig.thread.join(10)
    assert not rig.thread.is_alive()


def request(sequence: int = 0, **changes: Any) -> ChunkRequest:
    """A chunk of silence."""
    silence = ChunkRequest(
        epoch=0,
        sequence=sequence,
        first_index=4 * sequence,
        features=np.zeros(6 * 640, np.float32).tobytes(),
        sound=np.zeros(4 * 1920, np.int16).tobytes(),
        speaking=(False,) * 4,
        keyframe=False,
        jpeg=False,
        slack_s=0.1,
    )
    return replace(silence, **changes)


class _Hearing(FakeStream):
    """A stream that remembers what it was told of its caller."""

    def __init__(self, identity: FakeIdentity) -> None:
        super().__init__(identity)
        self.told: list[bool] = []

    def listen(self, caller_speaks: bool) -> None:
        """Remember it."""
        self.told.append(caller_speaks)


def test_a_stream_that_listens_is_told_before_each_chunk() -> None:
    generator = FakeGenerator()
    streams: list[_Hearing] = []

    def open_hearing(identity: FakeIdentity, **_: Any) -> _Hearing:
        streams.append(_Hearing(identity))
        return streams[-1]

    generator.open = open_hearing  # type: ignore[method-assign]
    answers: list[wire.Reply] = []
    worker = Worker(generator, answers.append)
    portrait = draw_portrait()
    worker.warm_up(portrait)
    streams.clear()
    worker.inbox.put(wire.Open(1, "a", content_hash(portrait), 0))
    for k, speaks in enumerate([True, False]):
        worker.inbox.put(wire.Submit("a", request(k, caller_speaks=speaks)))
    thread = threading.Thread(target=worker.run)
    thread.start()
    while sum(isinstance(answer, ChunkResult) for answer in answers) < 2:
        time.sleep(0.01)
    worker.inbox.put(wire.Stop())
    thread.join(10)
    assert streams[0].told == [True, False]


class _InStages(Bench):
    """Says that a stage has ended, and lets time pass."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.on_stage: Callable[[str], object] = lambda stage: None

    def generate(
        self, streams: Sequence[Any], audio: Sequence[NDArray[np.float32]]
    ) -> list[NDArray[np.uint8]]:
        """Spend 1, 2 and 4 s on the stages."""
        pictures = super().generate(streams, audio)
        for seconds, stage in zip((1, 2, 4), STAGES, strict=True):
            self.now += seconds
            self.on_stage(stage)
        return pictures


def test_the_stages_of_a_model_that_tells_them_are_timed_by_the_worker() -> None:
    generator = _InStages()
    rig = Rig(clock=lambda: generator.now, generator=generator)
    rig.thread.start()
    assert isinstance(rig.next(), wire.WorkerReady)
    rig.open("a")
    for sequence in range(2):  # the second is not the sum of both
        rig.tell(wire.Submit("a", request(sequence)))
        chunk = rig.next()
        assert chunk.stages_s == {"features": 1, "denoise": 2, "decode": 4}
        assert chunk.model_s == 7
    rig.tell(wire.Stop())
    rig.thread.join(10)


class _InSteps(Bench):
    """Goes on in steps of 20 ms, and takes messages at the second."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.late_s = 0.0
        self.on_step: Callable[[], object] = lambda: None
        self.receive: Callable[[wire.Request], None] = lambda message: None
        self.at_second: list[wire.Request] = []

    def generate(
        self, streams: Sequence[Any], audio: Sequence[NDArray[np.float32]]
    ) -> list[NDArray[np.uint8]]:
        """Take four steps."""
        self.on_step()
        self.now += 0.02 + self.late_s
        while self.at_second:
            self.receive(self.at_second.pop(0))
        for _ in range(3):
            self.on_step()
            self.now += 0.02
        return super().generate(streams, audio)


@pytest.fixture
def stepping() -> Iterator[Rig]:
    generator = _InSteps()
    rig = Rig(clock=lambda: generator.now, generator=generator)
    generator.receive = rig.worker.receive
    rig.thread.start()
    assert isinstance(rig.next(), wire.WorkerReady)
    rig.open("a")
    rig.open("b")
    yield rig
    rig.tell(wire.Stop())
    rig.thread.join(10)
    assert not rig.thread.is_alive()


def _speech(sequence: int, **changes: Any) -> ChunkRequest:
    return request(sequence, speaking=(True,) * 4, starts=True, keyframe=True, **changes)


def _steps(rig: Rig) -> _InSteps:
    assert isinstance(rig.generator, _InSteps)
    return rig.generator


def test_idle_pictures_are_given_up_for_speech_that_starts(stepping: Rig) -> None:
    _steps(stepping).at_second = [wire.Submit("a", _speech(1))]
    stepping.tell(wire.Submit("a", request(0)))
    given_up, spoken = stepping.next(), stepping.next()
    assert (given_up.sequence, given_up.frames) == (0, ())
    assert spoken.sequence == 1 and all(frame.speaking for frame in spoken.frames)
    assert spoken.frames[0].keyframe
    assert _steps(stepping).batches == [1]  # the first call did not come to its end


def test_a_call_that_is_nearly_done_is_not_given_up(stepping: Rig) -> None:
    _steps(stepping).late_s = ABANDON_S
    _steps(stepping).at_second = [wire.Submit("a", _speech(1))]
    stepping.tell(wire.Submit("a", request(0)))
    assert [len(stepping.next().frames) for _ in range(2)] == [4, 4]


@pytest.mark.parametrize(
    "running",
    [
        [wire.Submit("b", request(0))],
        [wire.Submit("a", _speech(0))],
        [wire.Submit("a", request(0, speaking=(False, True, True, False)))],
    ],
    ids=["of another stream", "of speech that starts", "of speech"],
)
def test_no_other_call_is_given_up(stepping: Rig, running: list[wire.Request]) -> None:
    _steps(stepping).at_second = [wire.Submit("a", _speech(1))]
    stepping.tell(*running)
    assert [len(stepping.next().frames) for _ in range(2)] == [4, 4]


def test_speech_that_was_dropped_gives_up_one_call_at_most(stepping: Rig) -> None:
    _steps(stepping).at_second = [
        wire.Submit("a", _speech(1)),
        wire.Interrupt("a", 1),
        wire.Submit("a", request(2, epoch=1)),
    ]
    stepping.tell(wire.Submit("a", request(0)))
    replies = [stepping.next() for _ in range(2)]
    assert [(reply.sequence, len(reply.frames)) for reply in replies] == [(0, 0), (2, 4)]


class _Drawing(Bench):
    """Hands out its frames one by one, each after 10 ms; fails at the third on demand."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.fails = False

    def generate_frames(
        self, streams: Sequence[Any], audio: Sequence[NDArray[np.float32]]
    ) -> list[Iterator[NDArray[np.uint8]]]:
        """The fake's."""
        return [self._hand_out(chunk) for chunk in super().generate(streams, audio)]

    def _hand_out(self, chunk: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
        for k, frame in enumerate(chunk):
            if self.fails and k == 2:
                raise AudioError("this frame cannot be drawn", code="bad_audio")
            self.now += 0.01
            yield frame


@pytest.fixture
def drawing() -> Iterator[Rig]:
    generator = _Drawing()
    rig = Rig(clock=lambda: generator.now, generator=generator)
    rig.thread.start()
    assert isinstance(rig.next(), wire.WorkerReady)
    rig.open("a")
    yield rig
    rig.tell(wire.Stop())
    rig.thread.join(10)
    assert not rig.thread.is_alive()


def test_the_first_frame_is_sent_before_the_others_are_drawn(drawing: Rig) -> None:
    sound = np.arange(4 * 1920, dtype=np.int16)
    asked = request(3, sound=sound.tobytes(), keyframe=True, speaking=(False, True, True, True))
    drawing.tell(wire.Submit("a", asked))
    parts = [drawing.next(), drawing.next()]
    assert [(part.first, len(part.frames), part.last) for part in parts] == [
        (0, 1, False),
        (1, 3, True),
    ]
    assert [round(part.model_s, 3) for part in parts] == [0.01, 0.04]
    frames = [frame for part in parts for frame in part.frames]
    assert [frame.index for frame in frames] == [12, 13, 14, 15]
    assert [frame.keyframe for frame in frames] == [True, False, False, False]
    assert [frame.speaking for frame in frames] == [False, True, True, True]
    assert b"".join(frame.pcm for frame in frames) == sound.tobytes()
    assert all(len(frame.opus) == 2 for frame in frames)


def test_frames_that_cannot_be_drawn_end_their_stream_alone(drawing: Rig) -> None:
    assert isinstance(drawing.generator, _Drawing)
    drawing.open("b")
    drawing.generator.fails = True
    drawing.tell(wire.Submit("a", request(0)))
    assert drawing.next().first == 0
    assert drawing.next() == wire.StreamFailed("a", "bad_audio", "the model failed on this session")
    drawing.generator.fails = False
    drawing.tell(wire.Submit("b", request(0)))
    assert [drawing.next().session for _ in range(2)] == ["b", "b"]


def test_a_model_that_tells_no_stages_has_none(rig: Rig) -> None:
    rig.open("a")
    rig.tell(wire.Submit("a", request()))
    assert rig.next().stages_s == {}


def test_the_spec_is_the_generators() -> None:
    assert MediaSpec.of(FakeGenerator()) == SPEC
    film = MediaSpec.of(FakeGenerator(fps=24.0))
    assert (film.sound_samples, film.feature_samples, film.feature_rate) == (2000, 667, 16_008)
    screen = MediaSpec.of(FakeGenerator(fps=30.0))
    assert (screen.sound_samples, screen.feature_samples, screen.feature_rate) == (
        1600,
        533,
        15_990,
    )
    with pytest.raises(ValueError, match="whole number of samples"):
        MediaSpec.of(FakeGenerator(fps=29.97))


def test_thirty_frames_a_second_become_frames() -> None:
    rig = Rig(generator=Bench(fps=30.0))
    rig.worker.warm_up(draw_portrait())
    rig.thread.start()
    assert rig.next().spec.fps == 30
    rig.open("a")
    chunk = request(
        features=np.zeros(6 * 533, np.float32).tobytes(),
        sound=np.ones(4 * 1600, np.int16).tobytes(),
    )
    rig.tell(*(wire.Submit("a", replace(chunk, sequence=k)) for k in range(3)))
    frames = [frame for _ in range(3) for frame in rig.next().frames]
    assert all(len(frame.pcm) == 2 * 1600 for frame in frames)
    assert [len(frame.opus) for frame in frames] == [1, 2, 2] * 4
    rig.tell(*(wire.Submit("a", replace(chunk, sequence=3 + k, keyframe=True)) for k in range(2)))
    frames = [frame for _ in range(2) for frame in rig.next().frames]
    assert [len(frame.opus) for frame in frames] == [1, 2, 2, 1] * 2  # each time anew
    rig.tell(wire.Stop())
    rig.thread.join(10)


def test_a_request_becomes_frames(rig: Rig) -> None:
    rig.open("a")
    sound = np.arange(4 * 1920, dtype=np.int16)
    rig.tell(
        wire.Submit("a", request(3, sound=sound.tobytes(), speaking=(False, True, True, False)))
    )
    chunk = rig.next()
    assert (chunk.session, chunk.epoch, chunk.sequence, chunk.batch) == ("a", 0, 3, 1)
    assert [frame.index for frame in chunk.frames] == [12, 13, 14, 15]
    assert [frame.speaking for frame in chunk.frames] == [False, True, True, False]
    assert [frame.keyframe for frame in chunk.frames] == [True, False, False, False]
    assert b"".join(frame.pcm for frame in chunk.frames) == sound.tobytes()
    assert all(len(frame.opus) == 2 and frame.video and not frame.jpeg for frame in chunk.frames)
    assert chunk.spent_s > 0


def test_keyframes_come_when_asked_for(rig: Rig) -> None:
    rig.open("a")
    rig.tell(wire.Submit("a", request(0)), wire.Submit("a", request(1)))
    rig.next(), rig.next()
    rig.tell(wire.Keyframe("a"), wire.Submit("a", request(2)), wire.Submit("a", request(3)))
    assert [frame.keyframe for frame in rig.next().frames] == [True, False, False, False]
    assert not any(frame.keyframe for frame in rig.next().frames)
    rig.tell(wire.Submit("a", request(4, keyframe=True, jpeg=True)))
    frames = rig.next().frames
    assert frames[0].keyframe and all(frame.jpeg.startswith(b"\xff\xd8") for frame in frames)


def test_streams_that_wait_share_a_model_call(rig: Rig) -> None:
    for name in "abcdef":
        rig.open(name)
    rig.generator.batches.clear()
    rig.generator.during = [wire.Submit(name, request(0)) for name in "bcdef"]
    rig.tell(wire.Submit("a", request(0)))
    replies = [rig.next() for _ in range(6)]
    assert rig.generator.batches == [1, 4, 1]
    assert [reply.session for reply in replies[:1]] == ["a"]
    assert replies[1].batch == 4


def test_the_most_urgent_stream_goes_first() -> None:
    rig = Rig(max_batch=1)
    rig.thread.start()
    rig.next()
    for name in "abc":
        rig.open(name)
    rig.generator.during = [
        wire.Submit("b", request(0, slack_s=0.5)),
        wire.Submit("c", request(0, slack_s=0.0)),
    ]
    rig.tell(wire.Submit("a", request(0)))
    assert [rig.next().session for _ in range(3)] == ["a", "c", "b"]
    rig.tell(wire.Stop())
    rig.thread.join(10)


def test_one_stream_is_in_a_batch_once(rig: Rig) -> None:
    rig.open("a")
    rig.generator.batches.clear()
    rig.generator.during = [wire.Submit("a", request(1)), wire.Submit("a", request(2))]
    rig.tell(wire.Submit("a", request(0)))
    assert [rig.next().sequence for _ in range(3)] == [0, 1, 2]
    assert rig.generator.batches == [1, 1, 1]


def test_an_interrupt_overtakes_what_waits_and_what_is_being_made(rig: Rig) -> None:
    rig.open("a")
    rig.generator.during = [
        wire.Submit("a", request(1)),
        wire.Interrupt("a", 1),
        wire.Submit("a", request(2)),
        wire.Submit("a", request(3, epoch=1, keyframe=True)),
    ]
    rig.tell(wire.Submit("a", request(0)))
    chunk = rig.next()
    assert (chunk.sequence, chunk.epoch) == (3, 1)
    assert chunk.frames[0].keyframe
    assert rig.replies.empty()


def test_a_stream_that_fails_falls_alone(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    for name in "abc":
        rig.open(name)
    rig.generator.broken = rig.worker._streams["b"].stream
    rig.generator.during = [wire.Submit("b", request(0)), wire.Submit("c", request(0))]
    rig.tell(wire.Submit("a", request(0)))
    replies = [rig.next() for _ in range(3)]
    failed = [reply for reply in replies if isinstance(reply, wire.StreamFailed)]
    assert [(reply.session, reply.code) for reply in failed] == [("b", "bad_audio")]
    assert {reply.session for reply in replies if isinstance(reply, ChunkResult)} == {"a", "c"}
    assert "a stream failed" in caplog.text


def test_the_generator_closes_the_stream_of_a_closed_and_of_a_failed_session(rig: Rig) -> None:
    for name in "abc":
        rig.open(name)
    first, second, third = (rig.worker._streams[name].stream for name in "abc")
    rig.generator.broken = second
    rig.tell(wire.Submit("b", request(0)), wire.Close("a"), wire.Close("a"))
    assert isinstance(rig.next(), wire.StreamFailed)
    rig.tell(wire.Submit("c", request(0)))
    assert rig.next().session == "c"
    assert sorted(map(id, rig.generator.closed)) == sorted([id(first), id(second)])
    assert first.closed and second.closed and not third.closed


def test_portraits_that_cannot_be_used_are_refused(rig: Rig) -> None:
    rig.tell(wire.Prepare(5, b"not a picture"))
    failed = rig.next()
    assert (failed.request_id, failed.code, failed.portrait) == (5, "bad_image", True)
    rig.tell(wire.Prepare(6, draw_portrait(20)))
    assert rig.next().portrait


def test_a_portrait_is_prepared_once_and_forgotten_last(rig: Rig) -> None:
    portraits = [draw_portrait(side) for side in (200, 210, 220)]
    for k in (0, 0, 1, 0, 2, 1):
        rig.tell(wire.Prepare(k, portraits[k]))
        rig.next()
    assert rig.generator.prepared == [200, 210, 220, 210]


def test_a_box_makes_another_identity(rig: Rig) -> None:
    portrait = draw_portrait(200)
    boxes = (None, (0.0, 0.0, 0.5, 0.5), (0.0, 0.0, 0.5, 0.5), (0.0, 0.0, 0.9, 0.5))
    names = []
    for box in boxes:
        rig.tell(wire.Prepare(3, portrait, box))
        names.append(rig.next().content_hash)
    assert len(set(names)) == 3
    assert len(rig.generator.prepared) == 3


def test_a_box_beside_the_picture_is_refused(rig: Rig) -> None:
    rig.tell(wire.Prepare(5, draw_portrait(200), (300, 0, 20, 20)))
    failed = rig.next()
    assert (failed.code, failed.portrait) == ("bad_box", True)


def test_the_report_comes_with_the_identity_prepared_or_kept(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.worker.preparing.report_of", lambda identity, reduction: PERFECT)
    for request_id in (3, 4):
        rig.tell(wire.Prepare(request_id, draw_portrait(200)))
        assert rig.next().report == PERFECT


def test_opening_what_is_not_kept_fails(rig: Rig) -> None:
    rig.tell(wire.Open(7, "a", "unknown", 0))
    failed = rig.next()
    assert (failed.code, failed.portrait) == ("unknown_identity", False)


def test_messages_of_streams_that_are_gone_do_nothing(rig: Rig) -> None:
    rig.open("a")
    rig.tell(
        wire.Close("a"),
        wire.Close("a"),
        wire.Submit("a", request(0)),
        wire.Interrupt("a", 1),
        wire.Keyframe("a"),
        wire.Prepare(9, draw_portrait()),
    )
    assert rig.next().request_id == 9


def test_a_stream_closed_while_its_chunk_is_made_is_not_heard_of(rig: Rig) -> None:
    rig.open("a")
    rig.generator.during = [wire.Close("a"), wire.Prepare(9, draw_portrait())]
    rig.tell(wire.Submit("a", request(0)))
    assert rig.next().request_id == 9


def test_warming_up_runs_the_model_and_keeps_the_identity() -> None:
    rig = Rig()
    rig.worker.warm_up(b"")
    assert rig.generator.batches == []
    rig.worker.warm_up(draw_portrait())
    assert rig.generator.batches[:2] == [1, 1]
    rig.thread.start()
    rig.next()
    rig.tell(wire.Prepare(1, draw_portrait()))
    rig.next()
    assert rig.generator.prepared == [256]
    rig.tell(wire.Stop())
    rig.thread.join(10)


def test_room_is_measured_on_full_batches() -> None:
    ticks = itertools.count()  # every look at the clock is 30 ms after the last
    rig = Rig(clock=lambda: 0.03 * next(ticks))
    rig.worker.warm_up(draw_portrait())
    assert rig.generator.batches == [1] * 4 + [2] * 4 + [3] * 4 + [4] * 4
    rig.thread.start()
    ready = rig.next()
    assert ready.sessions == 16  # of 160 ms a fifth is left; four batches of four take 120
    assert ready.alone_s == pytest.approx(0.03)
    rig.tell(wire.Stop())
    rig.thread.join(10)


def test_a_portrait_being_prepared_delays_no_chunk(rig: Rig) -> None:
    rig.open("a")
    rig.generator.gate.clear()
    portrait = draw_portrait(200)
    rig.tell(wire.Prepare(7, portrait), wire.Prepare(8, portrait), wire.Prepare(9, b"bad"))
    for sequence in range(20):  # 3.2 s of chunks while the model prepares
        rig.tell(wire.Submit("a", request(sequence)))
        assert rig.next().sequence == sequence
    rig.generator.gate.set()
    replies = [rig.next() for _ in range(3)]
    assert [reply.request_id for reply in replies] == [7, 8, 9]
    assert replies[0].content_hash == replies[1].content_hash and replies[2].portrait
    assert rig.generator.prepared == [256, 200]  # once for both


def test_chunks_keep_their_deadlines_beside_a_slow_portrait(rig: Rig) -> None:
    rig.open("a")
    rig.generator.prepare_s = 1.0
    rig.tell(wire.Prepare(7, draw_portrait(200)))
    began = time.monotonic()
    for sequence in range(5):
        due = began + 0.16 * (sequence + 1)
        rig.tell(wire.Submit("a", request(sequence)))
        assert rig.next().sequence == sequence
        assert time.monotonic() < due, f"chunk {sequence} came late"
        time.sleep(max(0.0, due - time.monotonic()))
    assert rig.next().request_id == 7


def test_what_is_to_be_kept_is_kept_even_if_it_was_prepared_before(tmp_path: Path) -> None:
    store: PreparedStore[Any] = PreparedStore(tmp_path / "prepared", "fake")
    rig = Rig(store=store)
    rig.thread.start()
    assert rig.next() == wire.WorkerReady(SPEC, 4)
    rig.tell(wire.Prepare(1, draw_portrait()))
    name = rig.next().content_hash
    assert store.load(name) is None
    rig.tell(wire.Prepare(2, draw_portrait(), keep=True))
    assert rig.next().content_hash == name
    deadline = time.monotonic() + 20
    while store.load(name) is None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert store.load(name) is not None
    rig.tell(wire.Stop())
    rig.thread.join(10)
