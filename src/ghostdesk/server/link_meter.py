"""Measuring the line to a browser: round trips of pings, and what it carried while the desktop waited for it.

A socket that is full, and full again soon after, was drained at the line's own pace in between: what arrived in that
time is the line's throughput. (What it takes from one filling to its next emptying is not: the kernel asks for more in
large bites.) A time in which the desktop had nothing to send tells nothing. Round trips are smoothed as TCP smooths
them (RFC 6298, section 2). No byte that is relayed is looked at.
"""

from __future__ import annotations

import math
from collections import deque

from ghostdesk.kernel.conditions import ClientLink

_RTT_GAIN = 1.0 / 8.0
_RTTS = 12
_FORGET_S = 30.0
"""Time in which what was measured loses its weight (to 1/e)."""
_LEAST_S = 0.05
_LEAST_BYTES = 256 * 1024
"""What must have been seen before a throughput is told."""
_IDLE_SHARE = 0.25
"""Most of the time between two fillings in which the socket may have had room."""


class LinkMeter:
    """One stream's line."""

    def __init__(self) -> None:
        self.relayed_bytes = 0
        self._rtt_s: float | None = None
        self._rtts: deque[float] = deque(maxlen=_RTTS)
        self._carried_bytes = self._carried_s = self._waited_s = 0.0
        self._bytes_per_s: float | None = None
        self._then_s = 0.0
        self._full_at: tuple[float, int] | None = None
        self._free_s: float | None = None

    def round_trip(self, rtt_s: float) -> None:
        """A ping came back after `rtt_s`."""
        self._rtts.append(rtt_s)
        self._rtt_s = rtt_s if self._rtt_s is None else self._rtt_s + _RTT_GAIN * (rtt_s - self._rtt_s)

    def full(self, arrived_bytes: int, now_s: float) -> None:
        """The socket is full and takes no more for now; so many bytes have arrived at the browser in all."""
        if self._full_at is not None and self._free_s is not None:
            full_s, before_bytes = self._full_at
            passed_s = now_s - full_s
            if passed_s > 0.0 and now_s - self._free_s <= _IDLE_SHARE * passed_s:
                self._carried(arrived_bytes - before_bytes, passed_s, now_s)
        self._full_at, self._free_s = (now_s, arrived_bytes), None

    def free(self, now_s: float) -> None:
        """The socket takes bytes again."""
        if self._full_at is None or self._free_s is not None:
            return
        self._forget(now_s)
        self._waited_s += max(now_s - self._full_at[0], 0.0)
        self._free_s = now_s

    def reading(self, now_s: float) -> ClientLink | None:
        """What is known now; None before the first round trip."""
        if self._rtt_s is None:
            return None
        self._forget(now_s)
        waiting_s = max(now_s - self._full_at[0], 0.0) if self._full_at and self._free_s is None else 0.0
        share = min(1.0, (self._waited_s + waiting_s) / _FORGET_S)
        return ClientLink(now_s, self._rtt_s, min(self._rtts), self._bytes_per_s, share, self.relayed_bytes)

    def _carried(self, carried_bytes: int, passed_s: float, now_s: float) -> None:
        self._forget(now_s)
        self._carried_bytes += max(carried_bytes, 0)
        self._carried_s += passed_s
        if self._carried_s >= _LEAST_S or self._carried_bytes >= _LEAST_BYTES:
            self._bytes_per_s = self._carried_bytes / self._carried_s

    def _forget(self, now_s: float) -> None:
        weight = math.exp(-max(0.0, now_s - self._then_s) / _FORGET_S)
        self._carried_bytes *= weight
        self._carried_s *= weight
        self._waited_s *= weight
        self._then_s = now_s
