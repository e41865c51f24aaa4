"""Recurrence rules that may be followed: those that end within a bounded number of steps.

The library that expands rules goes through every occurrence since the first, so a rule of every second since 1970, an
interval of zero or a rule that never matches would keep it busy for hours or for ever.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

MAX_OCCURRENCES = 200_000
"""From an entry's start to the end of the window: daily for 500 years, hourly for 22."""
_MAX_PARTS = 1_000
_STEP_S = {"SECONDLY": 1, "MINUTELY": 60, "HOURLY": 3600}
_DATE_PARTS = ("BYMONTH", "BYMONTHDAY", "BYYEARDAY", "BYWEEKNO", "BYDAY", "BYEASTER", "BYSETPOS")
_DAY_S = 86_400.0


def rule_problem(rule: Mapping[str, Any], start: datetime, end: datetime) -> str:
    """Why this rule is not followed; empty when it may be.

    Args:
        rule: parts of the RRULE (RFC 5545, section 3.3.10), each a list or a single value.
        start: the entry's first time.
        end: the end of the window asked for (same kind of time as `start`).
    """
    parts = {str(name).upper(): value if isinstance(value, (list, tuple)) else [value] for name, value in rule.items()}
    frequency = str(_first(parts, "FREQ", "")).upper()
    interval, count = _first(parts, "INTERVAL", 1), _first(parts, "COUNT", None)
    if not frequency:
        return "a rule without FREQ"
    if not 1 <= interval <= 1_000_000 or (count is not None and count < 1):
        return "a rule whose interval or count is not at least 1"
    if sum(len(values) for values in parts.values()) > _MAX_PARTS:
        return "a rule with too many parts"
    span_s = max(0.0, (end - start).total_seconds()) + _DAY_S
    if (step_s := _STEP_S.get(frequency)) is not None:
        if any(name in parts for name in _DATE_PARTS):
            return "a rule within the day that also names days"
        occurrences = span_s / (step_s * interval) * _times_a_step(parts, frequency)
    else:
        occurrences = span_s / _DAY_S * _times_a_step(parts, "DAILY")
    if count is not None:
        occurrences = min(occurrences, count)
    return "a rule that repeats too often" if occurrences > MAX_OCCURRENCES else ""


def _times_a_step(parts: Mapping[str, Sequence[Any]], frequency: str) -> float:
    """How many times of day a step of the rule can make at most."""
    finer = {"DAILY": ("BYHOUR", "BYMINUTE", "BYSECOND"), "HOURLY": ("BYMINUTE", "BYSECOND"), "MINUTELY": ("BYSECOND",)}
    times = 1.0
    for name in finer.get(frequency, ()):
        times *= max(1, len(parts.get(name, ())))
    return times


def _first(parts: Mapping[str, Sequence[Any]], name: str, default: Any) -> Any:
    values = parts.get(name)
    return values[0] if values else default
