"""What a session needs of the processes that make its frames: the requests, results and protocols.

``server/worker`` implements them with processes; tests implement them without.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from models.face.report import PortraitReport
from models.io.face_box import FaceBox
from server.media.av_frame import AVFrame
from server.media.encoders import VideoCodec
from server.media.spec import MediaSpec


@dataclass(frozen=True, slots=True)
class IdentityHandle:
    """A prepared portrait: the worker that holds it, the content hash of image file and box, and
    what was found in the picture, where the model tells."""

    worker: int
    content_hash: str
    report: PortraitReport | None = None


@dataclass(frozen=True, slots=True)
class ChunkRequest:
    """One chunk to make.

    Attributes:
        epoch: of the session when the audio was cut; requests of older epochs are dropped.
        sequence: counts the chunks of a session, so that a result finds its request.
        first_index: frame number of the first frame.
        features: float32 [(F + L) * feature_samples], the model's audio.
        sound: int16 [F * sound_samples], what is played.
        speaking: for each of the F frames, whether it holds queued speech.
        keyframe: the first frame must be decodable alone.
        jpeg: an output shows JPEG pictures.
        slack_s: seconds until the first frame is due; the earliest due goes first.
        caller_speaks: the caller does while this is cut, and the portrait is to listen.
        starts: speech begins here after idling; idle chunks before it are of no use any more.
        codecs: to encode the pictures with, each with its ceiling in bit/s, 0 for the usual one.
    """

    epoch: int
    sequence: int
    first_index: int
    features: bytes
    sound: bytes
    speaking: tuple[bool, ...]
    keyframe: bool
    jpeg: bool
    slack_s: float
    caller_speaks: bool = False
    starts: bool = False
    codecs: Mapping[VideoCodec, int] = field(default_factory=lambda: {"h264": 0})


@dataclass(frozen=True, slots=True)
class ChunkResult:
    """Frames of one chunk, and what it has cost so far.

    A chunk comes in one result or in several, as its frames are made.

    Attributes:
        frames: none of an idle chunk that was given up, since speech came.
        first: which of the F frames is the first one here.
        last: no more of this chunk comes.
        model_s: seconds of the model call.
        encode_s: seconds from there until this chunk was encoded, after those before it in the
            batch.
        batch: streams that the model call served.
        stages_s: seconds of the model call's stages (``models.generator.STAGES``), where the model
            tells.
    """

    session: str
    epoch: int
    sequence: int
    frames: tuple[AVFrame, ...]
    model_s: float
    encode_s: float
    batch: int
    stages_s: Mapping[str, float] = field(default_factory=dict)
    first: int = 0
    last: bool = True

    @property
    def spent_s(self) -> float:
        """Seconds of the model call and the encoding."""
        return self.model_s + self.encode_s


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """One worker process: its number, its process id where there is one, whether it is warm, the
    sessions that it serves, and those that it was measured to serve in real time."""

    number: int
    pid: int | None
    warm: bool
    sessions: int
    capacity: int


class ChunkCallbacks(Protocol):
    """Where the chunks of one stream arrive; called on the event loop, never after ``close``."""

    def on_chunk(self, chunk: ChunkResult) -> None:
        """Take a finished chunk, possibly of an older epoch."""
        ...

    def on_lost(self, code: str, message: str) -> None:
        """Learn that the stream is gone; called at most once."""
        ...


class WorkerStreamHandle(Protocol):
    """One session's stream at a worker. Nothing here waits; a stream that is gone does nothing."""

    def submit(self, request: ChunkRequest) -> None:
        """Ask for one chunk."""
        ...

    def interrupt(self, epoch: int) -> None:
        """Drop every request older than ``epoch``."""
        ...

    def keyframe(self) -> None:
        """Make the next frame decodable alone."""
        ...

    def close(self) -> None:
        """End the stream; calling it again does nothing."""
        ...


class Workers(Protocol):
    """Warm generators that serve sessions.

    ``prepare`` and ``open`` raise ``NotReady`` while nothing is warm and ``WorkerLost`` when the
    process ends under the call.
    """

    @property
    def spec(self) -> MediaSpec | None:
        """What the workers make; None until the first is warm."""
        ...

    @property
    def ready(self) -> bool:
        """Whether a session could be opened now."""
        ...

    @property
    def warm_count(self) -> int:
        """Workers that are warm."""
        ...

    @property
    def capacity(self) -> int:
        """Sessions that the warm workers serve at once in real time, as measured; 0 without one."""
        ...

    def status(self) -> list[WorkerStatus]:
        """Every worker, warm or not."""
        ...

    async def start(self) -> None:
        """Start the workers; returns before they are warm."""
        ...

    async def wait_ready(self) -> MediaSpec:
        """Return once a worker is warm.

        Raises:
            WorkerLost: the model cannot be loaded; the message says why.
        """
        ...

    async def prepare(
        self, portrait: bytes, box: FaceBox | None = None, *, keep: bool = False
    ) -> IdentityHandle:
        """Prepare the portrait of an image file, or find it prepared; ``box`` chooses a face.

        With ``keep`` it is looked for, and kept, on disk too, where the workers have a place.

        Raises:
            PortraitError: the picture cannot be used.
        """
        ...

    async def open(
        self,
        session: str,
        identity: IdentityHandle,
        callbacks: ChunkCallbacks,
        *,
        seed: int = 0,
        disclosure: bool = False,
    ) -> WorkerStreamHandle:
        """Start a stream whose chunks go to ``callbacks``; with ``disclosure`` its pictures are
        labelled as generated."""
        ...

    async def aclose(self) -> None:
        """End every worker and wait until it is gone."""
        ...
