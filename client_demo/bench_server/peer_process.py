"""Runs peers in a process of their own, so that they cost the measured one nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

from models.errors import LiveheadError
from models.io.command import deaf_children

Act = Callable[..., Awaitable[None]]
END_TIMEOUT_S = 20.0


@dataclass(frozen=True, slots=True)
class PeerFailed:
    """An error of a peer, on its way to the process that started it."""

    message: str
    code: str


@contextmanager
def peer_process(act: Act, *arguments: Any) -> Iterator[Connection]:
    """Run ``act(connection, *arguments)``, a coroutine function of a module, in a new process.

    Gives the other end of the connection. What an act sends is read with ``receive``.
    """
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_run, args=(theirs, act, arguments), daemon=True)
    with deaf_children():
        process.start()
    theirs.close()
    try:
        yield ours
        process.join(END_TIMEOUT_S)
    finally:
        ours.close()
        if process.is_alive():
            process.kill()
        process.join()


def receive(connection: Connection) -> Any:
    """What the act sent next.

    Raises:
        LiveheadError: it failed, or its process ended.
    """
    try:
        message = connection.recv()
    except EOFError as error:
        raise LiveheadError(
            "the process of the peers ended; see what it wrote", code="lost"
        ) from error
    if isinstance(message, PeerFailed):
        raise LiveheadError(message.message, code=message.code)
    return message


def _run(connection: Connection, act: Act, arguments: tuple[Any, ...]) -> None:
    try:
        asyncio.run(_to_end(act(connection, *arguments)))
    except LiveheadError as error:
        connection.send(PeerFailed(str(error), error.code))
    finally:
        connection.close()


async def _to_end(work: Awaitable[None]) -> None:
    await work
