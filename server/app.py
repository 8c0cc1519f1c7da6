"""The application: puts settings, workers, sessions and routes together, answers errors."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from models.errors import LiveheadError
from server.api import (
    admin,
    asyncapi,
    avatars,
    creation,
    listening,
    metrics,
    offer,
    session,
    site,
    stream,
    tokens,
    whip_whep,
)
from server.api.access import Access
from server.api.deps import Context
from server.api.idempotency import IdempotencyKeys
from server.api.middleware import BodyLimit, EarlyAnswer, HeadAsGet
from server.api.openapi import DESCRIPTION, DescribedApp
from server.api.remote_portrait import RemotePortraits
from server.api.site import mount_page
from server.assets import BundledAssets
from server.avatars import AvatarStore
from server.clock import Clock, SystemClock
from server.errors import INTERNAL_CODE, PROBLEM_TYPE, headers_of, problem, status_of
from server.keys import read_keys
from server.session.registry import SessionRegistry
from server.session.state import State
from server.session.workers import Workers
from server.settings import Settings
from server.telemetry.spans import load_spans
from server.telemetry.telemetry import Telemetry
from server.worker.messages import WorkerConfig
from server.worker.pool import LocalWorkers

log = logging.getLogger(__name__)

_CODE_OF_STATUS = {404: "not_found", 405: "method_not_allowed", 413: "too_large"}


def create_app(
    settings: Settings,
    workers: Workers | None = None,
    clock: Clock | None = None,
    assets: BundledAssets | None = None,
    telemetry: Telemetry | None = None,
) -> FastAPI:
    """The server as an ASGI application; its lifespan starts and ends the workers.

    Args:
        settings: see ``Settings``.
        workers: what generates frames; processes of this machine when None.
        clock: what sessions live by; the machine's when None.
        assets: avatars and clips; the bundled ones when None.
        telemetry: what the server tells of itself; as the settings say when None.

    Raises:
        SettingsError: a setting needs a package that is not installed.
        KeyFileError: the file of API keys cannot be used.
    """
    clock = clock or SystemClock()
    telemetry = telemetry or Telemetry(spans=load_spans(settings.traces))
    assets = assets or BundledAssets.read(draw=settings.model == "fake")
    avatar_store = AvatarStore(assets.avatars, settings.avatars_folder, settings.max_avatars)
    config = worker_config(settings, assets, avatar_store.prepared)
    restarted = telemetry.instruments.worker_restarts.inc
    workers = workers or LocalWorkers(config, settings.workers, clock, on_restart=restarted)
    keys = read_keys(Path(settings.api_keys_file)) if settings.api_keys_file else {}
    access = Access(settings, keys, clock)
    sessions = SessionRegistry(settings, workers, clock, telemetry)
    _watch(telemetry, sessions, workers)
    app = DescribedApp(
        title="Livehead",
        version="0.1.0",
        description=DESCRIPTION,
        lifespan=_lifespan,
        docs_url=None,  # FastAPI's pages load their scripts from elsewhere; site.py has one
        redoc_url=None,
    )
    app.origins = settings.cors_origins
    app.state.context = Context(
        settings,
        access,
        workers,
        sessions,
        assets,
        avatar_store,
        RemotePortraits(settings.max_upload_bytes),
        IdempotencyKeys(clock),
        telemetry,
    )
    modules = [creation, session, tokens, listening, offer, stream, avatars, asyncapi, site]
    modules += [metrics, admin] if access.has_admin else [metrics]
    routers = (module.router for module in modules)
    for router in (*routers, whip_whep.routes("whip"), whip_whep.routes("whep")):
        app.include_router(router)
    mount_page(app)
    _answer_errors(app)
    app.add_middleware(BodyLimit, upload_bytes=settings.max_upload_bytes)
    app.add_middleware(HeadAsGet)
    app.add_middleware(EarlyAnswer)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Start the workers; at the end close sessions, then end the workers."""
    context: Context = app.state.context
    await context.workers.start()
    try:
        yield
    finally:
        await context.sessions.aclose()
        await context.workers.aclose()
        await asyncio.to_thread(context.telemetry.spans.close)


def _watch(telemetry: Telemetry, sessions: SessionRegistry, workers: Workers) -> None:
    """Have the gauges read the running parts."""
    telemetry.instruments.watch(
        states=sessions.states,
        state_names=tuple(state.value for state in State),
        room=lambda: sessions.free,
        limit=lambda: sessions.limit,
        waiting=lambda: sessions.waiting,
        warm=lambda: workers.warm_count,
        tasks=lambda: len(asyncio.all_tasks()),
    )


def worker_config(
    settings: Settings, assets: BundledAssets, prepared: Path | None = None
) -> WorkerConfig:
    """What the worker processes are started with."""
    warm = assets.avatars[0].picture if assets.avatars else b""
    return WorkerConfig(
        settings.options,
        max_batch=settings.max_batch,
        max_identities=settings.max_identities,
        warm_portrait=warm,
        log=settings.log,
        prepared="" if prepared is None else str(prepared),
    )


def _answer_errors(app: FastAPI) -> None:
    """Every error becomes problem+json; a traceback stays in the log."""

    @app.exception_handler(LiveheadError)
    async def ours(_: Request, error: LiveheadError) -> Response:
        status = status_of(error)
        if status >= 500 and error.code == INTERNAL_CODE:
            log.error("a request failed: %s", error)
        return _problem(status, error.code, str(error), headers_of(error))

    @app.exception_handler(HTTPException)
    async def http(_: Request, error: HTTPException) -> Response:
        code = _CODE_OF_STATUS.get(error.status_code, "bad_request")
        return _problem(error.status_code, code, str(error.detail), dict(error.headers or {}))

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, __: RequestValidationError) -> Response:
        return _problem(400, "bad_request", "expected other parameters; /openapi.json lists them")

    @app.exception_handler(Exception)
    async def unknown(_: Request, error: Exception) -> Response:
        detail = "the server failed on this request; its log says why"
        return _problem(500, INTERNAL_CODE, detail)


def _problem(
    status: int, code: str, detail: str, headers: dict[str, str] | None = None
) -> Response:
    body = problem(status, code, detail)
    return JSONResponse(body, status, headers=headers, media_type=PROBLEM_TYPE)


async def wait_ready(app: FastAPI) -> None:
    """Return when a worker is warm; raises WorkerLost when the model cannot be loaded."""
    context: Context = app.state.context
    await context.workers.wait_ready()
