"""Every error that the server answers a caller with, and its problem+json form.

    LiveheadError (models)
    |- PortraitError ...        422, the code says why
    '- ServerError              base; carries the HTTP status
       |- BadRequest            400  the request is not what the route takes
       |- OfferError            400  bad_offer, 422 no_codec: the SDP offer cannot be answered
       |- Unauthorised          401  the token or the API key is missing or wrong
       |- NotFound              404  no such session, avatar or clip
       |- Conflict              409  the session is in a state that cannot do this
       |- PreconditionFailed    412  If-Match names another version
       |- PreconditionRequired  428  If-Match is missing
       |- TooLarge              413  the upload is over the limit
       |- KeyReused             422  an Idempotency-Key came with another request before
       |- PortraitUrlError      422  the URL of a portrait gives no picture, or may not be asked
       |- RateLimited           429  too many requests of one key or address; says when to retry
       |- TooManySessions       429  as many sessions as one key or address may have
       |- UnsupportedMediaType  415  neither JSON nor a multipart form
       |- NoCapacity            503  as many sessions as there may be; says when to retry
       |- StoreError            503  a folder of the server cannot be read or written
       |- NotReady              503  no worker is warm yet; says when to retry
       '- WorkerLost            503  the worker process ended under the request

A message says what was expected, what came and what to do; it never holds a token or content.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, ClassVar

from pydantic import BaseModel

from models.errors import LiveheadError, PortraitError

PROBLEM_TYPE = "application/problem+json"
INTERNAL_CODE = "internal"


class Problem(BaseModel):
    """An error, RFC 9457: what was expected, what came and what to do."""

    type: str
    title: str
    status: int
    detail: str
    code: str


class ServerError(LiveheadError):
    """Base of the errors that are a caller's or the server's situation, with an HTTP status."""

    status: ClassVar[int] = 500
    default_code: ClassVar[str] = INTERNAL_CODE

    def __init__(
        self, message: str, *, code: str | None = None, retry_after_s: int | None = None
    ) -> None:
        super().__init__(message, code=code or self.default_code)
        self.retry_after_s = retry_after_s


class BadRequest(ServerError):
    """Raised when a request or a WebSocket message is malformed."""

    status = 400
    default_code = "bad_request"


class OfferError(ServerError):
    """Raised when SDP cannot be answered (``bad_offer``, ``no_codec``, ``no_ice_restart``)."""

    status = 400
    default_code = "bad_offer"


class Unauthorised(ServerError):
    """Raised when a token or API key is missing or wrong."""

    status = 401
    default_code = "unauthorised"


class NotFound(ServerError):
    """Raised when there is no such session, avatar or clip."""

    status = 404
    default_code = "not_found"


class Conflict(ServerError):
    """Raised when the session's state cannot do what was asked."""

    status = 409
    default_code = "conflict"


class PreconditionFailed(ServerError):
    """Raised when If-Match names another version."""

    status = 412
    default_code = "precondition_failed"


class PreconditionRequired(ServerError):
    """Raised when If-Match is missing."""

    status = 428
    default_code = "precondition_required"


class TooLarge(ServerError):
    """Raised when an upload is over the limit."""

    status = 413
    default_code = "too_large"


class UnsupportedMediaType(ServerError):
    """Raised when a body is neither JSON nor a multipart form."""

    status = 415
    default_code = "unsupported_media_type"


class RateLimited(ServerError):
    """Raised when a key or an address asks too often."""

    status = 429
    default_code = "rate_limited"


class TooManySessions(ServerError):
    """Raised when a key or an address has as many sessions as it may have."""

    status = 429
    default_code = "too_many_sessions"


class KeyReused(ServerError):
    """Raised when an Idempotency-Key comes with another request than before."""

    status = 422
    default_code = "idempotency_key_reused"


class PortraitUrlError(ServerError):
    """Raised when a portrait cannot be fetched (``bad_url``, ``url_not_public``,
    ``url_unreachable``, ``url_no_picture``)."""

    status = 422
    default_code = "url_unreachable"


class NoCapacity(ServerError):
    """Raised when there are as many sessions as there may be."""

    status = 503
    default_code = "no_capacity"

    def __init__(self, message: str, *, code: str | None = None, retry_after_s: int = 5) -> None:
        super().__init__(message, code=code, retry_after_s=retry_after_s)


class NotReady(ServerError):
    """Raised while no worker is warm: the server starts, or replaces a worker that ended."""

    status = 503
    default_code = "not_ready"

    def __init__(self, *, retry_after_s: int = 5) -> None:
        message = "expected a warm worker, got none yet; try again shortly"
        super().__init__(message, retry_after_s=retry_after_s)


class StoreError(ServerError):
    """Raised when a folder of the server cannot be written."""

    status = 503
    default_code = "store_failed"


class WorkerLost(ServerError):
    """Raised when the worker process ended while it was asked for something."""

    status = 503
    default_code = "worker_lost"


UNPROCESSABLE = 422
_STATUS_OF_CODE = {
    "no_codec": UNPROCESSABLE,
    "no_ice_restart": UNPROCESSABLE,
    "unknown_identity": 503,
}


def status_of(error: LiveheadError) -> int:
    """The HTTP status that answers an error of the tree."""
    if isinstance(error, PortraitError):
        return UNPROCESSABLE
    if isinstance(error, ServerError):
        return _STATUS_OF_CODE.get(error.code, error.status)
    return HTTPStatus.INTERNAL_SERVER_ERROR


def problem(status: int, code: str, detail: str) -> dict[str, Any]:
    """The body of an RFC 9457 answer."""
    return Problem(
        type=f"urn:livehead:problem:{code}",
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        code=code,
    ).model_dump()


def headers_of(error: LiveheadError) -> dict[str, str]:
    """The headers of an error's answer: when to retry, how to authenticate, to send no more."""
    headers = {}
    if isinstance(error, TooLarge):
        headers["Connection"] = "close"
    if isinstance(error, Unauthorised):
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, ServerError) and error.retry_after_s is not None:
        headers["Retry-After"] = str(error.retry_after_s)
    return headers
