"""What travels as JSON: the bodies that routes take and the answers that they give."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from fastapi import UploadFile
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    model_validator,
)

from models.face.report import MouthState
from server.api.base64_text import Base64
from server.api.bodies import JsonObject
from server.session.request import Mode
from server.session.tokens import Scope

BOX = (
    "Around the face to take where there are several: x, y, width, height in pixels of the upright"
    " picture, or in shares of it if none is over 1. Without it the largest is taken, of several"
    " about as large the most central one."
)
PICTURE = "A JPEG, PNG, WebP, AVIF or HEIC picture of a person, or of several."
Start = Annotated[float, Field(ge=0, strict=True, allow_inf_nan=False)]
Length = Annotated[float, Field(gt=0, strict=True, allow_inf_nan=False)]


class CreateSession(JsonObject):
    """A session for one of: an avatar of this server, a portrait in base64, a portrait's URL."""

    model_config = ConfigDict(extra="forbid")

    avatar_id: str | None = Field(
        default=None, description="One of GET /avatars.", examples=["ada"]
    )
    portrait_base64: Base64 | None = Field(
        default=None,
        description=f"{PICTURE} A data: URL will do.",
    )
    portrait_url: str | None = Field(
        default=None,
        max_length=2000,
        description="Where the server can fetch such a picture: http or https, a public address.",
    )
    mode: Mode = Field(
        default="speak",
        description="speak: the avatar says what is pushed; echo: it repeats a call's microphone.",
    )
    listening: StrictBool = Field(
        default=True, description="Whether the avatar nods to a caller who speaks to it (echo)."
    )
    disclosure: StrictBool = Field(
        default=False, description="Whether a small label on the picture says that it is generated."
    )
    box: tuple[Start, Start, Length, Length] | None = Field(
        default=None, description=BOX, examples=[[0.5, 0, 0.5, 1]]
    )

    @model_validator(mode="after")
    def _has_one_face(self) -> Self:
        given = (self.avatar_id, self.portrait_base64, self.portrait_url)
        if sum(item is not None for item in given) != 1:
            raise ValueError("give one of avatar_id, portrait_base64 and portrait_url")
        return self


class PortraitUpload(BaseModel):
    """A portrait in a form, and which face of it to take."""

    portrait: UploadFile = Field(
        description=PICTURE, json_schema_extra={"format": "binary", "minLength": 1}
    )
    box: str | None = Field(
        default=None,
        description=f"{BOX} Four numbers with commas between them.",
        examples=["0.5,0,0.5,1"],
    )


class PortraitForm(PortraitUpload):
    """A session for an uploaded portrait."""

    mode: Mode = Field(default="speak", description="As in the JSON body.")
    listening: Literal["true", "false"] = Field(default="true", description="As in the JSON body.")
    disclosure: Literal["true", "false"] = Field(
        default="false", description="As in the JSON body."
    )


class Offer(JsonObject):
    """A browser's session description."""

    sdp: str = Field(description="pc.localDescription.sdp: receives H.264, at most 65536 letters.")
    type: Literal["offer"]


class Candidate(JsonObject):
    """A browser's ICE candidate; null or empty ends them."""

    candidate: str | None = None
    sdp_mid: str | None = Field(default=None, alias="sdpMid")
    sdp_mline_index: int | None = Field(default=None, alias="sdpMLineIndex")


class SessionAnswer(BaseModel):
    """The server's session description."""

    sdp: str
    type: Literal["answer"] = "answer"


class MediaUrls(BaseModel):
    """Where a session's sound and pictures are exchanged."""

    offer_url: str = Field(description="For a WebRTC call.")
    whip_url: str = Field(description="For WHIP: a publisher's sound, in mode echo.")
    whep_url: str = Field(description="For WHEP: any number of viewers.")
    ws_url: str = Field(description="For a WebSocket; add ?token= and video=h264, jpeg or none.")
    events_url: str = Field(description="For server-sent events; add ?token= or the header.")


class IceServer(BaseModel):
    """A STUN or TURN server, as RTCPeerConnection takes it."""

    urls: str | list[str]
    username: str | None = None
    credential: str | None = None


class VideoFormat(BaseModel):
    """Size in pixels, frames a second, codec."""

    width: int
    height: int
    fps: float
    codec: str


class AudioRates(BaseModel):
    """Rates in Hz of s16le mono: what is taken unless announced otherwise, and what is sent."""

    input_sample_rate: int
    output_sample_rate: int


class PortraitLimitShown(BaseModel):
    """One thing that makes a portrait less good than it could be."""

    code: str = Field(description="Stable, such as face_turned or low_resolution.")
    text: str = Field(description="What limits it, for a person.")
    hint: str = Field(description="What to do about it.")


class PortraitShown(BaseModel):
    """What was found in a portrait, and what limits it. Angles in degrees."""

    width: int = Field(description="Of the picture, pixels.")
    height: int
    face_box: tuple[float, float, float, float] = Field(
        description="x, y, width, height of the face in the picture, pixels; may be sent as box."
    )
    eye_mouth_px: float = Field(description="From the centre of the eyes to the mouth, pixels.")
    yaw: float = Field(description="Positive turns to the picture's right.")
    pitch: float = Field(description="Positive looks down.")
    roll: float = Field(description="Positive sinks to the picture's right.")
    mouth: MouthState
    glasses: bool | None = Field(description="null where that is not certain.")
    black_and_white: bool
    sharpness: float = Field(description="Of the face, 0 (blurred) to 1.")
    beyond_picture: float = Field(description="Share of the view that was filled in.")
    faces: int = Field(description="People found, this one included.")
    limits: list[PortraitLimitShown] = Field(description="The most important first.")


class SessionCreated(BaseModel):
    """A session that is open, or waits for a place."""

    session_id: str
    status: Literal["ready", "queued"]
    queue_position: int | None = Field(
        description="1 is the next to get a place; null when it has one. The events"
        " session.queued and session.ready tell how it moves up."
    )
    avatar_id: str | None = Field(description="null for an uploaded portrait.")
    mode: Mode
    token: str = Field(description="Proves the owner to every other route of the session.")
    expires_at: str | None = Field(
        description="When it ends at the latest, ISO 8601, UTC; null while it waits."
    )
    media: MediaUrls
    ice_servers: list[IceServer]
    video: VideoFormat
    audio: AudioRates
    report: PortraitShown | None = Field(
        description="What was found in the portrait; null for models that do not tell."
    )


class OneTimeToken(BaseModel):
    """A token that works once."""

    token: str = Field(description="As a Bearer token, or as ?token=.")
    scopes: list[Scope] = Field(description="What it opens, one of them.")
    expires_at: str = Field(description="Until when it must be used, ISO 8601, UTC.")


class SessionNumbers(BaseModel):
    """How a session does, as in the event metrics.updated."""

    first_frame_ms: float | None = Field(description="From the first sound to its first frame.")
    ms_per_frame: float = Field(description="What the model spent on a frame of the last chunk.")
    batch: int = Field(description="Sessions in the model call of that chunk.")
    units: int = Field(description="Frames sent, each with its slice of sound.")
    dropped_units: int = Field(description="Frames that outputs were too slow for.")
    buffered_ms: int = Field(description="Speech that waits.")
    late_units: int
    skipped_units: int
    dropped_input_ms: int
    lead_ms: int
    generation: int = Field(description="How many interrupts there were.")


class SessionShown(BaseModel):
    """A session's state and numbers."""

    session_id: str
    status: str = Field(description="queued, ready, idle, listening, talking or closing.")
    queue_position: int | None
    mode: Mode
    avatar_id: str | None
    generation: int = Field(description="How many interrupts there were.")
    metrics: SessionNumbers


class OwnedSession(BaseModel):
    """A session as who runs the server sees it."""

    session_id: str
    owner: str = Field(
        description="key:NAME of the file, key for the single API key, address:ADDRESS where no key"
        " is asked for, local for this machine."
    )
    status: str = Field(description="As in GET /session/{session_id}.")
    queue_position: int | None
    mode: Mode
    age_s: float
    metrics: SessionNumbers


class OwnedSessions(BaseModel):
    """Every session."""

    sessions: list[OwnedSession]


class WorkerShown(BaseModel):
    """A worker process."""

    model_config = ConfigDict(from_attributes=True)

    number: int
    pid: int | None = Field(description="null while there is no process.")
    warm: bool
    sessions: int
    capacity: int = Field(description="Sessions that it was measured to serve in real time.")


class WorkerList(BaseModel):
    """Every worker process."""

    workers: list[WorkerShown]


class Drained(BaseModel):
    """The server opens no more sessions."""

    status: Literal["draining"] = "draining"
    sessions: int = Field(description="That are still open.")


class Interrupted(BaseModel):
    """Frames of older generations are dropped."""

    generation: int


class AvatarForm(PortraitUpload):
    """A portrait to keep on the server."""

    name: str = Field(max_length=60, min_length=1, description="For people.")


class AvatarShown(BaseModel):
    """A portrait that sessions may name."""

    id: str
    name: str
    image_url: str
    bundled: bool = Field(description="It comes with the server and stays.")


class AvatarAdded(AvatarShown):
    """A portrait that was added, and what was found in it."""

    report: PortraitShown | None


class AvatarList(BaseModel):
    """The portraits that sessions may name."""

    avatars: list[AvatarShown]


class ClipShown(BaseModel):
    """A bundled line of speech."""

    id: str
    name: str
    url: str
    text: str


class ClipList(BaseModel):
    """The bundled lines of speech."""

    clips: list[ClipShown]


class Liveness(BaseModel):
    """The process answers."""

    status: Literal["ok"] = "ok"


class Readiness(BaseModel):
    """A worker is warm; how many sessions there are, may be, and were measured to run in time."""

    status: Literal["ready"] = "ready"
    sessions: int
    max_sessions: int
    measured_sessions: int
