"""Times ``POST /session``: with an avatar that is prepared, and with a portrait never seen.

The time is that of one request on a connection that is open already.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
from PIL import Image

from client_demo.rest import TIMEOUT_S
from models.errors import LiveheadError

PREPARED_TIMES = 20
NEW_TIMES = 8
JPEG_QUALITY = 95


def time_creations(url: str, done: Callable[[float], object]) -> tuple[list[float], list[float]]:
    """Milliseconds of creations, with a prepared avatar and with new portraits.

    Args:
        done: called with 1 after each.

    Raises:
        LiveheadError: the server refuses (``refused``).
    """
    with httpx.Client(base_url=url, timeout=TIMEOUT_S) as http:
        avatar = http.get("/avatars").raise_for_status().json()["avatars"][0]
        portrait = http.get(avatar["image_url"]).raise_for_status().content
        named = {"json": {"avatar_id": avatar["id"], "mode": "speak"}}
        _create(http, named)  # prepares it
        prepared, new = [], []
        for _ in range(PREPARED_TIMES):
            prepared.append(_create(http, named))
            done(1)
        for seed in range(NEW_TIMES):
            file = ("portrait.jpg", altered(portrait, seed), "image/jpeg")
            form = {"files": {"portrait": file}, "data": {"mode": "speak"}}
            new.append(_create(http, form))
            done(1)
    return prepared, new


def altered(portrait: bytes, seed: int) -> bytes:
    """The portrait as another JPEG file: every pixel moved by at most one grey level."""
    pixels = np.asarray(Image.open(io.BytesIO(portrait)).convert("RGB")).astype(np.int16)
    noise = np.random.default_rng(seed).integers(-1, 2, pixels.shape, np.int16)
    changed = Image.fromarray((pixels + noise).clip(0, 255).astype(np.uint8))
    file = io.BytesIO()
    changed.save(file, "JPEG", quality=JPEG_QUALITY)
    return file.getvalue()


def _create(http: httpx.Client, body: dict[str, Any]) -> float:
    """Milliseconds of one creation; its session is ended at once."""
    began = time.perf_counter()
    answer = http.post("/session", **body)
    spent_ms = 1000 * (time.perf_counter() - began)
    if answer.status_code != 201:
        raise LiveheadError(
            f"expected a session, got status {answer.status_code}: {answer.text};"
            " see `livehead serve`",
            code="refused",
        )
    created = answer.json()
    http.delete(
        f"/session/{created['session_id']}",
        headers={"Authorization": f"Bearer {created['token']}"},
    )
    return spent_ms
