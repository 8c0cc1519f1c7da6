"""Routes with a declared body: who may send one is checked before it is read.

FastAPI reads a body before it runs a route's dependencies; a full server, though, answers at once,
and a caller without a token sends nothing in vain. So these routes check the caller and the media
type first, and say in this server's words what FastAPI finds wrong with the body.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, ClassVar

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, model_validator
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from server.api.middleware import media_type
from server.errors import BadRequest, UnsupportedMediaType

CALLER_GONE = 499  # as proxies log it; nobody reads the answer
PREFIX = "Value error, "  # of pydantic, before what a validator says
NOT_JSON = "expected JSON, got something else; send one JSON object"


class JsonObject(BaseModel):
    """A body that is one JSON object."""

    @model_validator(mode="before")
    @classmethod
    def _is_an_object(cls, value: Any) -> Any:
        """Refuse other values in the same words for every body."""
        if not isinstance(value, dict):
            raise ValueError(f"Input should be a valid dictionary or instance of {cls.__name__}")
        return value


class BodyRoute(APIRoute):
    """A route with a body of one media type; checks the caller, the media type, then the body."""

    media_type: ClassVar[str] = "application/json"
    accepts: ClassVar[str] = "application/json"
    advice: ClassVar[str] = "send a JSON object"
    unreadable: ClassVar[str] = NOT_JSON

    async def admit(self, request: Request) -> None:
        """Raise what this caller is answered, whatever the body holds."""

    async def parse(self, request: Request) -> None:
        """Parse the body as this route wants it; FastAPI does where this does not."""

    def explain(self, errors: Sequence[Mapping[str, Any]]) -> str:
        """What is wrong with a body that could be read."""
        absent = any(item["type"] == "missing" and len(item["loc"]) == 1 for item in errors)
        if absent or any(item["type"] == "json_invalid" for item in errors):
            return NOT_JSON
        return explain(errors, within="body")

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler behind the checks."""
        handle = super().get_route_handler()

        async def checked(request: Request) -> Response:
            await self.admit(request)
            given = media_type(request.headers)
            if given != self.media_type:
                raise UnsupportedMediaType(
                    f"expected {self.accepts}, got {given or 'no content type'}; {self.advice}"
                )
            try:
                await request.body()  # all of it: what is too large is not called unreadable
                await self.parse(request)
                return await handle(request)
            except ClientDisconnect:
                return Response(status_code=CALLER_GONE)
            except RequestValidationError as error:
                raise BadRequest(self.explain(error.errors())) from error
            except HTTPException as error:
                if error.status_code == BadRequest.status:  # neither JSON nor a form
                    raise BadRequest(self.unreadable) from error
                raise

        return checked


def explain(errors: Sequence[Mapping[str, Any]], within: str = "") -> str:
    """Which fields are wrong and why, without their values.

    Args:
        errors: as pydantic lists them.
        within: the first part of every location, left out.
    """
    wrong = (
        f"{'.'.join(str(part) for part in item['loc'][bool(within) :]) or 'the object'}:"
        f" {item['msg'].removeprefix(PREFIX)}"
        for item in errors
    )
    return "expected another object; " + "; ".join(wrong)
