"""Prepared portraits of avatars on disk, so that a new process need not prepare them again.

A file is named by what was prepared (image file and face) below a folder named by what prepared it:
another model, weights, size or version prepares for itself. It begins with the SHA-256 of the rest
and is written beside and moved into place, so that a half-written or changed one is never used: it
is prepared again. Only data and this package's own classes are read back, no code.
"""

from __future__ import annotations

import importlib
import io
import logging
import os
import pickle
from hashlib import sha256
from pathlib import Path
from typing import Any, Generic, cast

import numpy as np
import torch

import models
from models.generator import Identity
from models.options import ModelOptions

log = logging.getLogger(__name__)

DIGEST = sha256().digest_size
PLAIN = frozenset(
    {"builtins.slice", "numpy.ndarray", "numpy.dtype", "numpy._core.multiarray._reconstruct"}
)
KINDS = [getattr(np.dtypes, name) for name in dir(np.dtypes) if name.endswith("DType")]


class PreparedStore(Generic[Identity]):
    """The identities that one model prepared, in a folder beside the added avatars."""

    def __init__(self, folder: Path, maker: str) -> None:
        self._folder = folder / maker

    def load(self, name: str) -> Identity | None:
        """What was saved under a name; None where there is nothing that can be used."""
        path = self._folder / name
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            log.warning("a prepared portrait cannot be read: %s", error.strerror)
            return None
        try:
            if sha256(data[DIGEST:]).digest() != data[:DIGEST]:
                raise ValueError("its checksum is wrong")
            return cast(Identity, _read(data[DIGEST:]))
        except Exception as error:  # whatever it holds, it can be prepared again
            log.warning("a prepared portrait is prepared again: %s", type(error).__name__)
            path.unlink(missing_ok=True)
            return None

    def save(self, name: str, identity: Identity) -> None:
        """Keep an identity, unless it is kept; where that fails, the log says so."""
        place = self._folder / name
        if place.exists() or not self._folder.parent.parent.is_dir():  # no avatar was ever added
            return
        buffer = io.BytesIO()
        torch.save(identity, buffer)
        data = buffer.getvalue()
        partial = self._folder / f".{name}.{os.getpid()}"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            partial.write_bytes(sha256(data).digest() + data)
            partial.replace(place)
        except OSError as error:
            log.warning("a prepared portrait cannot be kept: %s", error.strerror)
            partial.unlink(missing_ok=True)


def maker_of(options: ModelOptions) -> str:
    """A name for what prepares portraits: the model as set up, its weights and this very code."""
    digest = sha256(repr((options.model, options.size, options.engine, torch.__version__)).encode())
    root = Path(models.__file__).parent
    weights = Path(options.weights) if options.weights else root / "weights" / options.model
    for path in sorted(root.rglob("*.py")):
        digest.update(path.read_bytes())
    for path in sorted(weights.rglob("*")) if weights.is_dir() else []:
        if path.is_file():
            facts = path.stat()
            digest.update(f"{path.name} {facts.st_size} {facts.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:24]


def _read(data: bytes) -> Any:
    names = torch.serialization.get_unsafe_globals_in_checkpoint(io.BytesIO(data))
    with torch.serialization.safe_globals([(_class(name), name) for name in names] + KINDS):
        return torch.load(io.BytesIO(data), weights_only=True)


def _class(name: str) -> Any:
    """A class of this package, or one of the few that arrays need."""
    module, _, attribute = name.rpartition(".")
    if name in PLAIN or module.startswith(f"{models.__name__}."):
        found = getattr(importlib.import_module(module), attribute)
        if name in PLAIN or isinstance(found, type):
            return found
    raise pickle.UnpicklingError("it holds something that no portrait does")
