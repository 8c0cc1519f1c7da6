"""The messages between the gateway and a worker process; typed, pickled, never JSON.

Gateway to worker: Prepare, Open, Submit, Interrupt, Keyframe, Close, Stop.
Worker to gateway: WorkerReady, PortraitPrepared, Opened, Failed (each answers the request of that
``request_id``), ChunkResult, StreamFailed.
"""

from __future__ import annotations

from dataclasses import dataclass

from models.face.report import PortraitReport
from models.io.face_box import FaceBox
from models.options import ModelOptions
from server.media.spec import MediaSpec
from server.session.workers import ChunkRequest, ChunkResult


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """What a worker process is started with.

    Attributes:
        options: of the model.
        max_batch: streams that one model call may serve.
        max_identities: prepared portraits that are kept.
        prepared: folder for prepared portraits that are kept; "" keeps none.
        log: the form of log lines, text or json.
        warm_portrait: an image file to warm the model up with before it says WorkerReady, or empty.
    """

    options: ModelOptions
    max_batch: int = 4
    max_identities: int = 32
    warm_portrait: bytes = b""
    prepared: str = ""
    log: str = "text"


@dataclass(frozen=True, slots=True)
class Prepare:
    """Make an identity from an image file, of the face in a box where there is one; ``keep`` has it
    looked for and kept on disk."""

    request_id: int
    portrait: bytes
    box: FaceBox | None = None
    keep: bool = False


@dataclass(frozen=True, slots=True)
class Open:
    """Start a stream and its encoders for a prepared portrait, named by its content hash; with
    ``disclosure`` its pictures are labelled as generated."""

    request_id: int
    session: str
    content_hash: str
    seed: int
    disclosure: bool = False


@dataclass(frozen=True, slots=True)
class Submit:
    """Make a chunk of one session's stream."""

    session: str
    chunk: ChunkRequest


@dataclass(frozen=True, slots=True)
class Interrupt:
    """Drop what is older than ``epoch``, begun or not."""

    session: str
    epoch: int


@dataclass(frozen=True, slots=True)
class Keyframe:
    """Make the next frame that is encoded decodable alone."""

    session: str


@dataclass(frozen=True, slots=True)
class Close:
    """Forget a stream."""

    session: str


@dataclass(frozen=True, slots=True)
class Stop:
    """End the process in good order."""


Request = Prepare | Open | Submit | Interrupt | Keyframe | Close | Stop


@dataclass(frozen=True, slots=True)
class WorkerReady:
    """The model is warm.

    Attributes:
        spec: what it makes.
        sessions: that it serves at once in real time.
        alone_s: seconds that the chunk of one session took; 0 where nothing was measured.
        useful_workers: that the machine should have, counting this one.
    """

    spec: MediaSpec
    sessions: int
    alone_s: float = 0.0
    useful_workers: int = 1


@dataclass(frozen=True, slots=True)
class PortraitPrepared:
    """The content hash of image file and box, to open streams with, and what was found."""

    request_id: int
    content_hash: str
    report: PortraitReport | None = None


@dataclass(frozen=True, slots=True)
class Opened:
    """The stream of an ``Open`` request is ready for chunks."""

    request_id: int


@dataclass(frozen=True, slots=True)
class Failed:
    """A request failed; ``request_id`` is ``START_REQUEST_ID`` when the worker cannot start."""

    request_id: int
    code: str
    message: str
    portrait: bool = False


@dataclass(frozen=True, slots=True)
class StreamFailed:
    """A stream broke; the others go on."""

    session: str
    code: str
    message: str


Reply = WorkerReady | PortraitPrepared | Opened | Failed | ChunkResult | StreamFailed

START_REQUEST_ID = -1
