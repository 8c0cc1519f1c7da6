"""Random inputs for fuzzing: messages of a socket, mutated session descriptions, candidates."""

from __future__ import annotations

import json
import random
import string
from collections.abc import Callable
from typing import Any

KINDS = (
    *("session.update", "input_audio_buffer.commit", "input_audio_buffer.clear"),
    *("response.cancel", "ping", "session.created", "", "type"),
)
FIELDS = ("type", "audio", "sample_rate", "channels", "event_id", "x")
LONGEST_SOUND = 2000  # bytes
ODD = ("", "0", "-1", "65536", "99999999999999999999", "1e309", "nan", "\x00", "\ud7ff", "a" * 5000)


def value(rng: random.Random, depth: int = 0) -> Any:
    """Any JSON value, half of the time one that nearly fits."""
    kinds: list[Callable[[], Any]] = [
        lambda: rng.choice([None, True, False, 0, -1, 1, 2, 8000, 16_000, 48_000, 2**70, 1e308]),
        lambda: rng.choice(ODD),
        lambda: "".join(rng.choices(string.printable + "é語", k=rng.randrange(30))),
    ]
    if depth < 4:
        kinds.append(lambda: [value(rng, depth + 1) for _ in range(rng.randrange(4))])
        kinds.append(
            lambda: {rng.choice(FIELDS): value(rng, depth + 1) for _ in range(rng.randrange(4))}
        )
    return rng.choice(kinds)()


def message(rng: random.Random) -> str | bytes:
    """One WebSocket message: sound of any length, JSON that nearly fits, JSON, text."""
    match rng.randrange(5):
        case 0:
            return rng.randbytes(rng.choice([0, 1, 2, 3, rng.randrange(LONGEST_SOUND)]))
        case 1:
            nearly = {"type": rng.choice(KINDS), rng.choice(FIELDS): value(rng)}
            return json.dumps(nearly)
        case 2:
            audio = {"sample_rate": value(rng), "channels": value(rng)}
            return json.dumps({"type": "session.update", "audio": audio})
        case 3:
            return json.dumps(value(rng))
    text = json.dumps({"type": rng.choice(KINDS), "x": value(rng)})
    return text[: rng.randrange(len(text))] + rng.choice(["", "}", "[" * 3000, "\x00"])


def description(rng: random.Random, offer: str) -> str:
    """A session description with a few lines lost, doubled, moved, cut or given odd values."""
    lines = offer.splitlines()
    for _ in range(rng.choice([1, 1, 2, 3, 8])):
        if not lines:
            break
        at = rng.randrange(len(lines))
        match rng.randrange(8):
            case 0:
                del lines[at]
            case 1:
                lines.insert(rng.randrange(len(lines)), lines[at])
            case 2:
                lines[at] = lines[at][: rng.randrange(len(lines[at]) + 1)]
            case 3:
                words = lines[at].split(" ")
                words[rng.randrange(len(words))] = rng.choice(ODD)
                lines[at] = " ".join(words)
            case 4:
                name, _, _ = lines[at].partition(":")
                lines[at] = f"{name}:{rng.choice(ODD)}"
            case 5:
                kept = lines[at]
                lines[at] = "".join(rng.choices(string.printable, k=len(kept)))
            case 6:
                other = rng.randrange(len(lines))
                lines[at], lines[other] = lines[other], lines[at]
            case 7:
                del lines[at : at + rng.randrange(40)]
    return rng.choice(["\r\n", "\r\n", "\n"]).join(lines) + rng.choice(["\r\n", ""])


def candidate(rng: random.Random) -> dict[str, Any]:
    """A body of ``PATCH /session/{id}/offer``."""
    words = [
        "candidate:1",
        "1",
        "udp",
        "2113937151",
        "127.0.0.1",
        "9",
        "typ",
        "host",
        "generation",
        "0",
    ]
    if rng.random() < 0.7:
        words[rng.randrange(len(words))] = rng.choice(ODD)
    line = " ".join(words[: rng.choice([len(words), rng.randrange(len(words))])])
    return {
        "candidate": rng.choice([line, line, value(rng)]),
        "sdpMid": rng.choice(["0", "1", None, value(rng)]),
        "sdpMLineIndex": rng.choice([0, 1, None, value(rng)]),
    }
