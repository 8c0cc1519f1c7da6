"""The messages between the gateway and a worker process; typed, pickled, never JSON.

Gateway to worker: Prepare, Open, ChunkRequest, Interrupt, Keyframe, Close, Stop.
Worker to gateway: Ready, PortraitPrepared, Opened, Failed (each answers one request), ChunkResult,
StreamFailed.
"""

from __future__ import annotations

from dataclasses import dataclass

from models.options import ModelOptions
from server.media.av_frame import AVFrame
from server.media.spec import MediaSpec


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """What a worker process is started with.

    Attributes:
        options: of the model.
        max_batch: streams that one model call may serve.
        max_identities: prepared portraits that are kept.
        warm_portrait: an image file to warm the model up with before it says Ready, or empty.
    """

    options: ModelOptions
    max_batch: int = 4
    max_identities: int = 32
    warm_portrait: bytes = b""


@dataclass(frozen=True, slots=True)
class Prepare:
    """Make an identity from an image file."""

    request: int
    portrait: bytes


@dataclass(frozen=True, slots=True)
class Open:
    """Start a stream and its encoders for a prepared identity."""

    request: int
    session: str
    identity: str
    seed: int


@dataclass(frozen=True, slots=True)
class ChunkRequest:
    """One chunk to make.

    Attributes:
        generation: of the session when the audio was cut; older jobs are dropped.
        sequence: counts the chunks of a session, so that an answer finds its question.
        first_index: frame number of the first frame.
        features: float32 [(F + L) * feature_samples], the model's audio.
        sound: int16 [F * sound_samples], what is played.
        speaking: for each of the F frames, whether it holds queued speech.
        keyframe: the first frame must be decodable alone.
        jpeg: somebody watches JPEG pictures.
        slack_s: seconds until the first frame is wanted; the most urgent jobs go first.
    """

    generation: int
    sequence: int
    first_index: int
    features: bytes
    sound: bytes
    speaking: tuple[bool, ...]
    keyframe: bool
    jpeg: bool
    slack_s: float


@dataclass(frozen=True, slots=True)
class Submit:
    """A job of one session."""

    session: str
    job: ChunkRequest


@dataclass(frozen=True, slots=True)
class Interrupt:
    """Drop what is older than ``generation``, begun or not."""

    session: str
    generation: int


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
class Ready:
    """The model is warm.

    Attributes:
        spec: what it makes.
        sessions: that it serves at once in real time.
        alone_s: seconds that the chunk of one session took; 0 where nothing was measured.
    """

    spec: MediaSpec
    sessions: int
    alone_s: float = 0.0


@dataclass(frozen=True, slots=True)
class PortraitPrepared:
    """The identity's name, to open streams with."""

    request: int
    identity: str


@dataclass(frozen=True, slots=True)
class Opened:
    """The stream runs."""

    request: int


@dataclass(frozen=True, slots=True)
class Failed:
    """A request could not be fulfilled; ``request`` is -1 when the worker cannot start at all."""

    request: int
    code: str
    message: str
    portrait: bool = False


@dataclass(frozen=True, slots=True)
class ChunkResult:
    """One chunk: F units, and what it cost.

    Attributes:
        spent_s: seconds of the model call and the encoding.
        batch: streams that the model call served.
    """

    session: str
    generation: int
    sequence: int
    units: tuple[AVFrame, ...]
    spent_s: float
    batch: int


@dataclass(frozen=True, slots=True)
class StreamFailed:
    """A stream broke; the others go on."""

    session: str
    code: str
    message: str


Reply = Ready | PortraitPrepared | Opened | Failed | ChunkResult | StreamFailed

START_REQUEST = -1
