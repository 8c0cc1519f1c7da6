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

from models.errors import LiveheadError
from models.io import console
from models.options import add_model_arguments
from models.registry import MODELS
from server.api.deps import Context
from server.app import create_app, wait_ready
from server.outputs.thin_buffers import ThinWebSocket
from server.settings import Settings, SettingsError
from server.telemetry import logs

log = logging.getLogger(__name__)

GRACE_S = 5
MAX_MESSAGE_BYTES = 16 * 1024 * 1024  # 8 min of 16 kHz speech in one WebSocket message
GONE_S = 10  # a peer that acknowledges nothing for so long is gone
BACKLOG = 256
OPEN_TO_ALL = (
    "expected a key for a server that others can reach, got --host {host} and none: set"
    " LIVEHEAD_API_KEY, or LIVEHEAD_ALLOW_ANYONE=true to let anyone in, or listen on 127.0.0.1"
)
WILDCARDS = frozenset({"0.0.0.0", "::", "127.0.0.1", "::1"})


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options; each one left out is read from the environment (LIVEHEAD_PORT and so on)."""
    parser.add_argument("--host", help="address to listen on (default 127.0.0.1)")
    parser.add_argument("--port", type=int, help="port to listen on (default 8000)")
    parser.add_argument("--workers", type=int, help="worker processes (default: what serves most)")
    parser.add_argument("--max-sessions", type=int, help="sessions at once (default: measured)")
    parser.add_argument("--log-level", help="debug, info, warning or error (default info)")
    add_model_arguments(parser.add_argument_group("model"), MODELS, defaults=False)


def run(args: argparse.Namespace) -> int:
    """Serve until SIGINT or SIGTERM; the exit status."""
    try:
        settings = Settings.read(os.environ, **vars(args))
    except SettingsError as error:
        console.warn(str(error))
        return 2
    if not (settings.local or settings.asks_for_key or settings.allow_anyone):
        console.warn(OPEN_TO_ALL.format(host=settings.host))
        return 2
    set_up_logging(settings.log_level, settings.log)
    log.info("settings: %s", settings.shown())
    try:
        return asyncio.run(serve(settings, create_app(settings)))
    except SettingsError as error:
        console.warn(str(error))
        return 2
    except KeyboardInterrupt:  # of SIGTERM as well: uvicorn raises signals again at its end
        return 0


def set_up_logging(level: str, form: str = "text") -> None:
    """Our lines at ``level``; of the HTTP server warnings only: its lines hold tokens."""
    logs.set_up(form, "%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("server").setLevel(level.upper())
    logging.getLogger("uvicorn").setLevel(logging.WARNING)


async def serve(settings: Settings, app: FastAPI) -> int:
    """Listen, say when the first worker is warm, end in good order."""
    try:
        listener = listen(settings.host, settings.port)
    except OSError as error:
        where = f"{settings.host}:{settings.port}"
        console.warn(f"cannot listen on {where}: {error.strerror}; choose another --host or --port")
        return 1
    server = Server(server_config(settings, app))
    announcer = asyncio.create_task(_announce(server, settings, app), name="announcer")
    try:
        await server.serve(sockets=[listener])
    finally:
        announcer.cancel()
        outcome = (await asyncio.gather(announcer, return_exceptions=True))[0]
    failed = isinstance(outcome, Exception) or not server.started
    return 1 if failed else 0


def server_config(settings: Settings, app: FastAPI, **options: Any) -> uvicorn.Config:
    """How the HTTP server runs the application.

    WebSocket pings are off: a caller who pushes speech far ahead is not read for a while, so its
    pongs come late by design; who has really gone is noticed by TCP (``listen``). Compression is
    off: pictures and sound do not get smaller.
    """
    return uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        ws=ThinWebSocket,
        ws_max_size=MAX_MESSAGE_BYTES,
        ws_ping_interval=None,
        ws_per_message_deflate=False,
        timeout_graceful_shutdown=GRACE_S,
        server_header=False,
        **options,
    )


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; its connections send at once, and end when the peer is long gone.

    ``::`` takes IPv4 as well.

    Raises:
        OSError: the address is taken or not ours.
    """
    host = host.strip("[]")
    found = {item[0] for item in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)}
    family = socket.AF_INET if socket.AF_INET in found else socket.AF_INET6
    both = host == "::" and socket.has_dualstack_ipv6()
    listener = socket.create_server(
        (host, port), family=family, backlog=BACKLOG, dualstack_ipv6=both
    )
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # no frame waits for others
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux; accepted sockets inherit what is set here
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, GONE_S // 2)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, max(1, GONE_S // 6))
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 1000 * GONE_S)
    return listener


class Server(uvicorn.Server):
    """Ends sessions first, so that callers hear why before their sockets close."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let sentences end, unless a second signal hurries; close sessions, then connections."""
        app: Any = self.config.app
        context: Context = app.state.context
        drained = asyncio.create_task(context.sessions.drain(), name="drain")
        while not drained.done() and not self.force_exit:
            await asyncio.sleep(0.05)
        drained.cancel()
        await asyncio.gather(drained, return_exceptions=True)
        await context.sessions.aclose("shutdown")
        await super().shutdown(sockets)

    @property
    def port(self) -> int:
        """The port that is listened on; of use when any free one was asked for."""
        number: int = self.servers[0].sockets[0].getsockname()[1]
        return number


async def _announce(server: Server, settings: Settings, app: FastAPI) -> None:
    try:
        await wait_ready(app)
    except LiveheadError as error:
        console.warn(f"the model {settings.model} cannot be started: {error}")
        server.should_exit = True
        raise
    while not server.started:
        await asyncio.sleep(0.01)
    host = settings.host.strip("[]")
    shown = "localhost" if host in WILDCARDS else f"[{host}]" if ":" in host else host
    context: Context = app.state.context
    limit, measured = context.sessions.limit, context.workers.capacity
    if limit > measured:
        log.warning("%d sessions may open, %d were measured to run in real time", limit, measured)
    console.say(
        f"Livehead is ready for {limit} session{'s' * (limit != 1)}: http://{shown}:{server.port}"
    )
