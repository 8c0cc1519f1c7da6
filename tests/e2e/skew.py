"""How far sound and picture are apart where they leave the browser, from what its page noted.

A beep is heard when Chromium takes its first sample to be played, plus the delay that Chromium
states for what it takes (``totalPlayoutDelay``, on which its own lip-sync counts as well). The
first is stamped on the sound itself before any buffer of the page; by the clock of a worklet on the
same track it was 14 ms earlier to 8 ms later, which differs from page to page and jumps by 10 ms
within a call. No more is known without a microphone: a loudspeaker that delays by more than it
states is not seen.

A flash is seen when the first picture that has it is due on the screen (``expectedDisplayTime``, a
refresh of the screen: every 16.7 ms, which adds a saw tooth of that height to a skew that stands;
it took ten minutes where refresh and sound were 27 ppm apart). Where that picture was left out, the
next one's time less its distance in frames says when the sound's own picture would have been due:
``skew`` tells how far lips are from the sound, and a picture left out is a matter of the frame
rate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.fake import COUNTER_BITS
from tests.support.beeps import PERIOD_S

FPS = 25
FRAME_MS = 1000 / FPS
BEEP_FRAMES = round(PERIOD_S * FPS)
FREEZE_MS = 200.0
AVERAGED_MS = 1000.0
PACE = 0.9
"""Share of the frame rate; where less is shown, sound has gaps, and beeps lose their flashes."""
P95_MS, MAX_MS, SLOPE_MS = 25.0, 60.0, 0.5


@dataclass(frozen=True)
class Shown:
    """One picture: its number, whether it flashes, when it was due (ms), and how many pictures
    were shown until then, those included that the page could not look at."""

    number: int
    flash: bool
    due: float
    count: int


@dataclass(frozen=True)
class Pair:
    """A beep and its flash: when it was heard (ms), how much later than seen, and how much later
    than the flash as it was shown (ms)."""

    heard: float
    skew: float
    raw: float


def read_frames(rows: Sequence[Sequence[Any]]) -> list[Shown]:
    """The page's frames, with numbers that never wrap."""
    shown: list[Shown] = []
    span, turns = 2**COUNTER_BITS, 0
    for number, flash, due, count in rows:
        if shown and number + turns < shown[-1].number - span // 2:
            turns += span
        shown.append(Shown(number + turns, flash, due, count))
    return shown


def heard_times(seen: dict[str, Any]) -> list[float]:
    """When the page's beeps left the loudspeaker, ms on its clock.

    Sound is taken in steps, two at once on some devices, and is heard evenly: what it is taken
    ahead of its place in the sound is averaged over a second, as is the delay from there on.

    Raises:
        ValueError: Chromium does not tell how long after it is taken sound is heard.
    """
    looks = [(one["at"], one["playout"]) for one in seen["stats"] if one.get("playout")]
    known = []
    for (_, before), (at, after) in zip(looks, looks[1:], strict=False):
        samples = after["totalSamplesCount"] - before["totalSamplesCount"]
        if samples:
            delay_s = (after["totalPlayoutDelay"] - before["totalPlayoutDelay"]) / samples
            known.append((at, 1000 * delay_s))
    if not known:
        raise ValueError("expected media-playout in getStats, got none; use a newer Chromium")
    ends, delays = np.array(known).T
    places, taken = np.array(seen["taken"]).T
    beeps = np.array(seen["beeps"])
    first, last = np.searchsorted(places, [beeps - AVERAGED_MS / 2, beeps + AVERAGED_MS / 2])
    total = np.append(0.0, np.cumsum(taken - places))
    times = beeps + (total[last] - total[first]) / (last - first) + seen["ahead"]
    during = np.minimum(np.searchsorted(ends, times), len(ends) - 1)
    return [float(time) for time in times + delays[during]]


def flashes(frames: Sequence[Shown]) -> list[tuple[float, float]]:
    """For each flash, when its first frame was due, and when it was seen; they differ where that
    frame was not shown."""
    phase, found = None, []
    for before, frame in zip(frames, frames[1:], strict=False):
        if not frame.flash or before.flash:
            continue
        left_out = range(before.number + 1, frame.number)
        first = next((n for n in left_out if n % BEEP_FRAMES == phase), frame.number)
        if not left_out:
            phase = frame.number % BEEP_FRAMES
        found.append((frame.due - (frame.number - first) * FRAME_MS, frame.due))
    return found


def pair(heard: Sequence[float], seen: Sequence[tuple[float, float]]) -> list[Pair]:
    """Each beep with the flash that is nearest, if one is within half a period."""
    pairs = []
    for time in heard:
        if not seen:
            break
        due, raw = min(seen, key=lambda flash: abs(flash[0] - time))
        if abs(time - due) < 500 * PERIOD_S:
            pairs.append(Pair(time, time - due, time - raw))
    return pairs


def slope(pairs: Sequence[Pair]) -> tuple[float, float]:
    """Least squares of skew over time: ms a minute, and its standard error (0 below 4 pairs).

    Chromium moves sound and picture in steps that last, so neighbours are alike: the error counts
    n (1 - r) / (1 + r) pairs, with r the correlation of neighbours (Santer et al. 2000, eq. 6).
    """
    if len(pairs) < 4:
        return 0.0, 0.0
    minutes = np.array([one.heard for one in pairs]) / 60_000
    skew = np.array([one.skew for one in pairs])
    minutes = minutes - minutes.mean()
    scale = float((minutes**2).sum())
    rate = float(minutes @ skew) / scale
    rest = skew - skew.mean() - rate * minutes
    power = float((rest**2).sum())
    alike = min(0.99, max(0.0, float(rest[1:] @ rest[:-1]) / power)) if power else 0.0
    count = max(3.0, len(pairs) * (1 - alike) / (1 + alike))
    return rate, float(np.sqrt(power / (count - 2) / scale))


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median of the values; p95 and maximum of their size."""
    if not values:
        return {"p50": 0.0, "p95": 0.0, "max": 0.0}
    sizes = np.abs(values)
    return {
        "p50": round(float(np.median(values)), 1),
        "p95": round(float(np.quantile(sizes, 0.95)), 1),
        "max": round(float(sizes.max()), 1),
    }


def picture(frames: Sequence[Shown]) -> dict[str, Any]:
    """Rate and gaps of the pictures that were shown.

    A gap around pictures that the page could not look at (``unread``) counts as longer than it was.
    """
    span_s = (frames[-1].due - frames[0].due) / 1000
    gaps = np.diff([frame.due for frame in frames])
    shown = frames[-1].count - frames[0].count
    return {
        "fps": round(shown / span_s, 2),
        "longest_gap_ms": round(float(gaps.max()), 1),
        "freezes": int((gaps > FREEZE_MS).sum()),
        "shown": shown,
        "unread": shown - (len(frames) - 1),
        "left_out": frames[-1].number - frames[0].number - shown,
    }


def measured(seen: dict[str, Any], settle_s: float) -> dict[str, Any]:
    """The record of what a page saw and heard (``receiver.html``); its first ``settle_s`` seconds,
    in which Chromium finds the delay of its buffers, are told apart and not judged.

    Raises:
        ValueError: nothing was seen or heard after these.
    """
    frames = read_frames(seen["frames"])
    heard = heard_times(seen)
    pairs = pair(heard, flashes(frames))
    settled = (frames[0].due if frames else 0.0) + 1000 * settle_s
    early = [one for one in pairs if one.heard < settled]
    late = [one for one in pairs if one.heard >= settled]
    after = [frame for frame in frames if frame.due >= settled]
    if len(late) < 4 or len(after) < 2:
        raise ValueError(
            f"expected beeps with flashes after {settle_s:g} s, got {len(late)} with"
            f" {len(seen['beeps'])} beeps and {len(frames)} pictures in all; measure longer"
        )
    rate, error = slope(late)
    shown = picture(after)
    alone = sum(time >= settled for time in heard) - len(late)
    apart = [one for one in early if abs(one.skew) > P95_MS]
    return {
        "skew_ms": spread([one.skew for one in late]),
        "as_shown_ms": spread([one.raw for one in late]),
        "slope_ms_per_min": {"value": round(rate, 2), "error": round(error, 2)},
        "n": len(late),
        "alone": alone,
        "kept_pace": shown["fps"] > PACE * FPS and alone < (1 - PACE) * len(late),
        "start": {
            "seconds": settle_s,
            "max_ms": spread([one.skew for one in early])["max"],
            "apart_until_s": round((apart[-1].heard - frames[0].due) / 1000, 1) if apart else 0.0,
        },
        "picture": shown,
    }


def aims(record: dict[str, Any]) -> dict[str, tuple[str, float, bool]]:
    """For each aim what is asked, what was measured, and whether it holds."""
    skew, trend = record["skew_ms"], record["slope_ms_per_min"]
    flat = abs(trend["value"]) <= max(SLOPE_MS, 2 * trend["error"])
    return {
        "|skew| p95, ms": (f"<= {P95_MS:g}", skew["p95"], skew["p95"] <= P95_MS),
        "|skew| max, ms": (f"<= {MAX_MS:g}", skew["max"], skew["max"] <= MAX_MS),
        "slope, ms a minute": ("0", trend["value"], flat),
    }
