"""Prepares portraits in a thread of its own, keeps them in memory and, where asked for, on disk."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic

from models.face.report import PortraitReport, report_of
from models.generator import Generator, Identity, Stream
from models.io.face_box import FaceBox
from models.io.image import read_picture
from server.avatars import content_hash
from server.worker import messages as wire
from server.worker.identities import IdentityCache

if TYPE_CHECKING:  # it needs PyTorch, and the gateway imports this module
    from server.worker.prepared_store import PreparedStore


@dataclass(frozen=True, slots=True)
class Known(Generic[Identity]):
    """An identity, and what was found in its portrait, in pixels of the portrait's file."""

    identity: Identity
    report: PortraitReport | None


@dataclass(frozen=True, slots=True)
class Prepared(Generic[Identity]):
    """A request, the content hash of its portrait, and the identity to come."""

    request_id: int
    name: str
    future: Future[Known[Identity]]


class Preparer(Generic[Identity, Stream]):
    """The identities of one worker; used by its main thread, whom ``tell`` reaches.

    **Bound** of the thread's queue: one portrait a caller who waits.
    """

    def __init__(
        self,
        generator: Generator[Identity, Stream],
        tell: Callable[[Prepared[Identity]], None],
        max_identities: int,
        store: PreparedStore[tuple[Identity, PortraitReport | None]] | None,
    ) -> None:
        self._generator = generator
        self._tell = tell
        self._store = store
        self._identities = IdentityCache[Known[Identity]](max_identities)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="prepare")
        self._running: dict[str, Future[Known[Identity]]] = {}

    def get(self, name: str) -> Known[Identity] | None:
        """The identity of a content hash, if it is kept in memory."""
        return self._identities.get(name)

    def prepare_now(self, portrait: bytes) -> Known[Identity]:
        """Prepare in the calling thread, and keep it in memory.

        Raises:
            PortraitError: the picture cannot be used.
        """
        known = self._prepare(portrait, None)
        self._identities.put(content_hash(portrait), known)
        return known

    def request(self, message: wire.Prepare) -> wire.PortraitPrepared | None:
        """Answer at once, or start to prepare and ``tell`` when it is done."""
        name = content_hash(message.portrait, message.box)
        known = self._identities.get(name)
        if known is not None:
            if message.keep:
                self._thread.submit(self._keep, name, known)
            return wire.PortraitPrepared(message.request_id, name, known.report)
        future = self._running.get(name)
        if future is None:
            prepare = self._find_or_prepare if message.keep else self._prepare
            future = self._thread.submit(prepare, message.portrait, message.box)
            self._running[name] = future
        future.add_done_callback(lambda done: self._tell(Prepared(message.request_id, name, done)))
        return None

    def adopt(self, prepared: Prepared[Identity]) -> wire.PortraitPrepared:
        """Keep what is done.

        Raises:
            PortraitError: the picture cannot be used.
        """
        self._running.pop(prepared.name, None)
        known = prepared.future.result()
        if self._identities.get(prepared.name) is None:
            self._identities.put(prepared.name, known)
        return wire.PortraitPrepared(prepared.request_id, prepared.name, known.report)

    def close(self) -> None:
        """Start nothing more."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _prepare(self, portrait: bytes, box: FaceBox | None) -> Known[Identity]:
        """The identity of an image file; of the generator only what may run beside chunks."""
        picture = read_picture(portrait)
        identity = self._generator.prepare(picture.pixels, picture.box(box))
        return Known(identity, report_of(identity, picture.reduction))

    def _find_or_prepare(self, portrait: bytes, box: FaceBox | None) -> Known[Identity]:
        """The identity of an image file from disk; prepared and kept there if it is not."""
        if self._store is None:
            return self._prepare(portrait, box)
        name = content_hash(portrait, box)
        kept = self._store.load(name)
        if kept is not None:
            return Known(*kept)
        known = self._prepare(portrait, box)
        self._keep(name, known)
        return known

    def _keep(self, name: str, known: Known[Identity]) -> None:
        if self._store is not None:
            self._store.save(name, (known.identity, known.report))
