"""Checks on what agents report: an agent runs beside the user's programs, so nothing is taken on trust. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Collection
from dataclasses import dataclass

from ghostdesk.agent.wire import Message
from ghostdesk.kernel.ids import AppId, GhostId, app_id
from ghostdesk.telemetry.events import SOURCE_OF, EventKind, TelemetrySource, UsageEvent

AGENT_SOURCES = frozenset(TelemetrySource) - {TelemetrySource.PLACE, TelemetrySource.MODE, TelemetrySource.CALENDAR}
"""What an agent can know; places, modes and calendars come from the person, so an agent that reports them lies."""
MAX_LATE_S = 86_400.0
"""Events older than this get the hub's time. Agents keep events while the control plane is away."""
MAX_VALUE = 1e15
_DETAIL = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+/_-]{0,127}")


class BadEvent(Exception):
    """An event that breaks the rules."""


def checked_event(
    message: Message, ghost: GhostId, now_s: float, sources: Collection[TelemetrySource]
) -> UsageEvent | None:
    """Turn an agent's message into a usage event; None when its source is switched off.

    Times are clamped to ``[now_s - MAX_LATE_S, now_s]``. Raises `BadEvent` for anything that is not an agent's event:
    sign-ins, unknown kinds, text that is more than a word.
    """
    try:
        kind = EventKind(str(message.get("kind")))
        source = SOURCE_OF[kind]
    except (ValueError, KeyError):
        raise BadEvent("not a kind that agents report") from None
    if source not in AGENT_SOURCES:
        raise BadEvent("not a kind that agents report")
    if source not in sources:
        return None
    detail = message.get("detail")
    if detail is not None and not (isinstance(detail, str) and _DETAIL.fullmatch(detail)):
        raise BadEvent("detail is not a word")
    value = _number(message.get("value"), "value")
    if value is not None and not 0 <= value <= MAX_VALUE:
        raise BadEvent("value is out of range")
    time_s = _number(message.get("time_s"), "time_s")
    if time_s is None or not now_s - MAX_LATE_S <= time_s <= now_s:
        time_s = now_s
    return UsageEvent(time_s=time_s, kind=kind, app=_app(message.get("app")), desktop=ghost, value=value, detail=detail)


def _number(given: object, name: str) -> float | None:
    if given is None:
        return None
    if isinstance(given, bool) or not isinstance(given, int | float):
        raise BadEvent(f"{name} is not a number")
    try:
        number = float(given)
    except OverflowError:
        raise BadEvent(f"{name} is out of range") from None
    if not math.isfinite(number):
        raise BadEvent(f"{name} is not finite")
    return number


def _app(given: object) -> AppId | None:
    if given is None:
        return None
    if not isinstance(given, str):
        raise BadEvent("app is not an application id")
    try:
        return app_id(given)
    except ValueError:
        raise BadEvent("app is not an application id") from None


@dataclass(slots=True)
class Allowance:
    """A token bucket: `per_s` events a second, and twice that in one burst."""

    per_s: float
    tokens: float = -1.0
    at_s: float = 0.0

    def take(self, now_s: float) -> bool:
        """Whether one more event is allowed at `now_s`."""
        most = 2 * self.per_s
        if self.tokens < 0:
            self.tokens = most
        else:
            self.tokens = min(most, self.tokens + max(0.0, now_s - self.at_s) * self.per_s)
        self.at_s = now_s
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True
