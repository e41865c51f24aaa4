"""Limits on how often something may be tried: a token bucket a key, with a bounded number of keys."""

from __future__ import annotations

from collections import OrderedDict


class RateLimit:
    """Lets each key through `burst` times at once and then once every `every_s` seconds.

    Args:
        burst: tries that a key may save up.
        every_s: seconds for one more try.
        keys: how many keys are remembered; the one unused for longest is forgotten first, which only ever lets it
            try more often. Pair it with a second limit on one shared key where that matters.
    """

    def __init__(self, burst: int, every_s: float, keys: int = 4096) -> None:
        self._burst = float(burst)
        self._every_s = every_s
        self._keys = keys
        self._tokens: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait_s(self, key: str, now_s: float) -> float:
        """0 when `key` may go on now (one try is used up), else the seconds until it may."""
        tokens, then_s = self._tokens.pop(key, (self._burst, now_s))
        tokens = min(self._burst, tokens + max(0.0, now_s - then_s) / self._every_s)
        allowed = tokens >= 1.0
        self._tokens[key] = (tokens - 1.0 if allowed else tokens, now_s)
        while len(self._tokens) > self._keys:
            self._tokens.popitem(last=False)
        return 0.0 if allowed else (1.0 - tokens) * self._every_s
