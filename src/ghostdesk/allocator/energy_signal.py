"""A signal of carbon intensity or price: what a watt is worth now, against what it is worth usually. Pure.

A signal is a list of times and values; each value holds until the next time. A watt's worth is the value now over the
median of the day around it, kept within bounds, so that a spike moves no more than it should. What is stale, empty or
rubbish is ignored, with the reason; nothing ever waits for a signal.
"""

from __future__ import annotations

import csv
import io
import json
import math
from bisect import bisect_right
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import pairwise
from statistics import median
from typing import Any

from ghostdesk.allocator.plan import PoolPolicy, Reason
from ghostdesk.allocator.service_target import ServiceTarget

MOST_BYTES = 4 * 1024 * 1024
MOST_ROWS = 200_000
_AROUND_S = 12 * 3_600.0
_LEAST, _MOST = 0.25, 4.0
_DEAR, _CHEAP = 1.2, 0.8
_STEPS_SEEN = 24
_MOST_VALUE, _LATEST_S = 1e9, 1e11
_LONGEST_HOLD_S = 2 * 3_600.0
_TIME_NAMES = ("time", "from", "timestamp", "start", "datetime", "date", "utc")
_VALUE_NAMES = ("value", "intensity", "price", "carbon", "actual", "forecast")
_LIST_NAMES = ("data", "values", "rows", "prices", "history")


@dataclass(frozen=True, slots=True)
class EnergySignal:
    """Values in the order of time.

    Args:
        times_s: UTC seconds from which each value holds.
        values: grams of CO2 or money for a kWh; prices may be negative.
        dropped: rows that were not understood.
    """

    times_s: tuple[float, ...]
    values: tuple[float, ...]
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class Worth:
    """What a watt is worth now.

    Args:
        factor: against the usual, 0.25 to 4; 1 where no signal is to be believed.
        reason: the value that was taken, or why none was: code "signal", or "no-signal", "stale", "rubbish".
    """

    factor: float
    reason: Reason

    @property
    def dear(self) -> bool:
        """Whether it is well above the usual."""
        return self.factor >= _DEAR

    @property
    def cheap(self) -> bool:
        """Whether it is well below the usual."""
        return self.factor <= _CHEAP


USUAL = Worth(1.0, Reason("no-signal", "no carbon or price signal is set: a watt is worth the same at every hour"))


def parse_signal(text: str) -> EnergySignal:
    """Read JSON (a list of objects or of pairs, or an object that holds one) or CSV with a heading.

    Times are ISO 8601 (UTC where they name no zone) or seconds since 1970. Rows that make no sense are dropped.

    Raises:
        ValueError: it is neither, too large, or less than half of it makes sense; the text says which.
    """
    if len(text) > MOST_BYTES:
        raise ValueError(f"it is larger than {MOST_BYTES // 1024 // 1024} MiB")
    stripped = text.strip().removeprefix("\ufeff")
    rows = _json_rows(stripped) if stripped[:1] in ("[", "{") else _csv_rows(stripped)
    found: dict[float, float] = {}
    dropped = 0
    for when, value in rows:
        time_s, amount = _time_s(when), _number(value)
        if time_s is None or amount is None:
            dropped += 1
        else:
            found[time_s] = amount
    if not found or dropped > len(found):
        raise ValueError(f"{dropped} of its {dropped + len(found)} rows are not a time and a value")
    times_s = sorted(found)
    return EnergySignal(tuple(times_s), tuple(found[time_s] for time_s in times_s), dropped)


def worth_now(signal: EnergySignal, now_s: float) -> Worth:
    """What a watt is worth at `now_s`; 1, with the reason, where the signal does not say."""
    times_s, values = signal.times_s, signal.values
    place = bisect_right(times_s, now_s) - 1
    if place < 0:
        return Worth(1.0, Reason("stale", "the energy signal begins later: it is ignored until then"))
    steps = [b - a for a, b in pairwise(times_s[max(place - _STEPS_SEEN, 0) : place + _STEPS_SEEN])]
    holds_s = min(median(steps), _LONGEST_HOLD_S) if steps else _LONGEST_HOLD_S
    until_s = times_s[place + 1] if place + 1 < len(times_s) else times_s[place] + holds_s
    if now_s >= min(until_s, times_s[place] + max(holds_s, _LONGEST_HOLD_S)):
        age_h = (now_s - times_s[place]) / 3_600.0
        return Worth(1.0, Reason("stale", f"the energy signal's last value is {age_h:.1f} h old: it is ignored"))
    first, last = bisect_right(times_s, now_s - _AROUND_S), bisect_right(times_s, now_s + _AROUND_S)
    usual = median(values[max(first - 1, 0) : last])
    if usual <= 0.0:
        return Worth(1.0, Reason("rubbish", f"the energy signal's usual value is {usual:g}: it is ignored"))
    factor = min(max(values[place] / usual, _LEAST), _MOST)
    text = f"the energy signal says {values[place]:g}, usual is {usual:g}: a watt is worth {factor:.2f} times as much"
    return Worth(factor, Reason("signal", text))


def at_this_price(
    policy: PoolPolicy, service: ServiceTarget, worth: Worth
) -> tuple[PoolPolicy, ServiceTarget, Reason | None]:
    """The operator's policy, as it is kept while a watt is worth so much.

    At dear hours what can wait does: people's own ghosts are warmed at a higher chance only, unused ghosts are parked
    sooner, and the pool aims at the service target itself instead of a little above it. At cheap hours it is the other
    way round. The service target and the floor stay what the operator asked for.
    """
    if not (worth.dear or worth.cheap):
        return policy, service, None
    factor = worth.factor
    threshold = min(max(policy.warm_threshold * math.sqrt(factor), 0.02), max(policy.warm_threshold, 0.95))
    changed = replace(policy, warm_threshold=threshold, park_after_s=policy.park_after_s / factor)
    if worth.dear:
        service = replace(service, aim_inside=0.0)
    what = "warming that can wait does, and fewer spares are held" if worth.dear else "warming is done early"
    return changed, service, Reason("energy", f"{worth.reason.text}; {what}, within the service target")


def _csv_rows(text: str) -> list[tuple[Any, Any]]:
    try:
        reader = csv.reader(io.StringIO(text), strict=True)
        heading = [name.strip().lower() for name in next(reader, [])]
        when, value = _column(heading, _TIME_NAMES), _column(heading, _VALUE_NAMES)
        if when is None or value is None:
            raise ValueError("its first line does not name a time and a value")
        rows: list[tuple[Any, Any]] = []
        for row in reader:
            if len(rows) >= MOST_ROWS:
                raise ValueError(f"it has more than {MOST_ROWS:,} rows")
            if row:
                rows.append((row[when], row[value]) if len(row) > max(when, value) else ("", ""))
    except csv.Error:
        raise ValueError("it is no CSV") from None
    return rows


def _column(heading: list[str], names: tuple[str, ...]) -> int | None:
    return next((heading.index(name) for name in names if name in heading), None)


def _json_rows(text: str) -> list[tuple[Any, Any]]:
    try:
        told = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("it is no JSON") from None
    if isinstance(told, dict):
        told = next((told[name] for name in _LIST_NAMES if isinstance(told.get(name), list)), None)
    if not isinstance(told, list):
        raise ValueError("it holds no list of times and values")
    if len(told) > MOST_ROWS:
        raise ValueError(f"it has more than {MOST_ROWS:,} rows")
    return [_json_row(row) for row in told]


def _json_row(row: Any) -> tuple[Any, Any]:
    if isinstance(row, list) and len(row) == 2:
        return row[0], row[1]
    if not isinstance(row, dict):
        return None, None
    lower = {str(name).lower(): one for name, one in row.items()}
    value = next((lower[name] for name in _VALUE_NAMES if lower.get(name) is not None), None)
    if isinstance(value, dict):  # {"intensity": {"actual": 120, "forecast": 118}}
        value = next((value[name] for name in _VALUE_NAMES if value.get(name) is not None), None)
    return next((lower[name] for name in _TIME_NAMES if lower.get(name) is not None), None), value


def _number(value: Any, most: float = _MOST_VALUE) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) and abs(number) < most else None


def _time_s(value: Any) -> float | None:
    number = _number(value, _LATEST_S)
    if number is not None:
        return number if number > 0.0 else None
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value.strip())
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
