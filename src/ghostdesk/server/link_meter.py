"""Measuring the line to a browser: round trips of pings, and what it carried while the desktop waited for it.

Only a line that is the bottleneck shows what it carries, so throughput counts the time alone in which the socket took
no more. Round trips are smoothed as TCP smooths them (RFC 6298, section 2). No byte that is relayed is looked at.
"""

from __future__ import annotations

import math
from collections import deque

from ghostdesk.kernel.conditions import ClientLink

_RTT_GAIN = 1.0 / 8.0
_RTTS = 12
_FORGET_S = 30.0
"""Time in which what was measured loses its weight (to 1/e)."""
_LEAST_WAIT_S = 0.05
_LEAST_BYTES = 256 * 1024
"""What must have been waited, or carried meanwhile, before a throughput is told."""


class LinkMeter:
    """One stream's line."""

    def __init__(self) -> None:
        self.relayed_bytes = 0
        self._rtt_s: float | None = None
        self._rtts: deque[float] = deque(maxlen=_RTTS)
        self._carried_bytes = self._waited_s = 0.0
        self._bytes_per_s: float | None = None
        self._then_s = 0.0

    def round_trip(self, rtt_s: float) -> None:
        """A ping came back after `rtt_s`."""
        self._rtts.append(rtt_s)
        self._rtt_s = rtt_s if self._rtt_s is None else self._rtt_s + _RTT_GAIN * (rtt_s - self._rtt_s)

    def waited(self, waited_s: float, carried_bytes: int, now_s: float) -> None:
        """The line was waited for, and took so many bytes meanwhile."""
        self._forget(now_s)
        self._waited_s += max(waited_s, 0.0)
        self._carried_bytes += max(carried_bytes, 0)
        enough = self._waited_s >= _LEAST_WAIT_S or self._carried_bytes >= _LEAST_BYTES
        if enough and self._waited_s > 0.0:
            self._bytes_per_s = self._carried_bytes / self._waited_s

    def reading(self, now_s: float) -> ClientLink | None:
        """What is known now; None before the first round trip."""
        if self._rtt_s is None:
            return None
        self._forget(now_s)
        share = min(1.0, self._waited_s / _FORGET_S)
        return ClientLink(now_s, self._rtt_s, min(self._rtts), self._bytes_per_s, share, self.relayed_bytes)

    def _forget(self, now_s: float) -> None:
        weight = math.exp(-max(0.0, now_s - self._then_s) / _FORGET_S)
        self._carried_bytes *= weight
        self._waited_s *= weight
        self._then_s = now_s
