"""``livehead serve``: runs the server until it is told to stop."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import socket
from typing import Any

import uvicorn
from fastapi import FastAPI

from models import console
from models.errors import LiveheadError
from server.app import create_app, wait_ready
from server.routes.context import Context
from server.settings import MODELS, Settings, SettingsError

GRACE_S = 5
MAX_MESSAGE_BYTES = 4 * 1024 * 1024  # 2 min of 16 kHz speech in one WebSocket message
WILDCARDS = frozenset({"0.0.0.0", "::", "127.0.0.1", "::1"})


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options; each one left out is read from the environment (LIVEHEAD_PORT and so on)."""
    parser.add_argument("--host", help="address to listen on (default 127.0.0.1)")
    parser.add_argument("--port", type=int, help="port to listen on (default 8000)")
    parser.add_argument("--model", choices=MODELS, help="generator (default mini)")
    parser.add_argument("--threads", type=int, help="threads of each worker's model")
    parser.add_argument("--workers", type=int, help="worker processes (default 1)")
    parser.add_argument("--max-sessions", type=int, help="sessions at once (default 4)")
    parser.add_argument("--log-level", help="debug, info, warning or error (default info)")


def run(args: argparse.Namespace) -> int:
    """Serve until SIGINT or SIGTERM; the exit status."""
    try:
        settings = Settings.read(
            os.environ,
            host=args.host,
            port=args.port,
            model=args.model,
            threads=args.threads,
            workers=args.workers,
            max_sessions=args.max_sessions,
            log_level=args.log_level,
        )
    except SettingsError as error:
        console.warn(str(error))
        return 2
    set_up_logging(settings.log_level)
    logging.getLogger(__name__).info("settings: %s", settings.shown())
    try:
        return asyncio.run(serve(settings, create_app(settings)))
    except KeyboardInterrupt:
        return 0


def set_up_logging(level: str) -> None:
    """Our lines at ``level``; of the HTTP server warnings only: its lines hold tokens."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("server").setLevel(level.upper())
    logging.getLogger("uvicorn").setLevel(logging.WARNING)


async def serve(settings: Settings, app: FastAPI) -> int:
    """Listen, say when the first worker is warm, end in good order."""
    server = Server(server_config(settings, app))
    greeter = asyncio.create_task(_greet(server, settings, app), name="greeter")
    try:
        await server.serve()
    finally:
        greeter.cancel()
        outcome = (await asyncio.gather(greeter, return_exceptions=True))[0]
    failed = isinstance(outcome, Exception) or not server.started
    return 1 if failed else 0


def server_config(settings: Settings, app: FastAPI, **options: Any) -> uvicorn.Config:
    """How the HTTP server runs the application."""
    return uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        ws_max_size=MAX_MESSAGE_BYTES,
        timeout_graceful_shutdown=GRACE_S,
        server_header=False,
        **options,
    )


class Server(uvicorn.Server):
    """Ends sessions first, so that callers hear why before their sockets close."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close sessions, then connections."""
        app: Any = self.config.app
        context: Context = app.state.context
        await context.sessions.aclose("shutdown")
        await super().shutdown(sockets)

    @property
    def port(self) -> int:
        """The port that is listened on; of use when any free one was asked for."""
        number: int = self.servers[0].sockets[0].getsockname()[1]
        return number


async def _greet(server: Server, settings: Settings, app: FastAPI) -> None:
    try:
        await wait_ready(app)
    except LiveheadError as error:
        console.warn(f"the model {settings.model} cannot be started: {error}")
        server.should_exit = True
        raise
    while not server.started:
        await asyncio.sleep(0.01)
    shown = "localhost" if settings.host in WILDCARDS else settings.host
    console.say(f"Livehead is ready: http://{shown}:{server.port}")
