"""Time as a value. Decisions take `now_s`; only the edges hold a clock."""

from typing import Protocol


class Clock(Protocol):
    """Tells the time and waits. Times are seconds since 1970-01-01 UTC."""

    def now_s(self) -> float:
        """The present time."""
        ...

    async def sleep(self, duration_s: float) -> None:
        """Wait for `duration_s` seconds of this clock's time."""
        ...


class VirtualClock:
    """A clock that moves only when told: tests and replay run years in seconds on it."""

    def __init__(self, start_s: float = 0.0) -> None:
        self._now_s = start_s

    def now_s(self) -> float:
        """The time it was last set to."""
        return self._now_s

    async def sleep(self, duration_s: float) -> None:
        """Move forward by `duration_s` at once."""
        self.advance(duration_s)

    def advance(self, duration_s: float) -> None:
        """Move forward; moving back is an error, as replayed history must stay in order."""
        if duration_s < 0:
            raise ValueError(f"a clock cannot go back by {-duration_s} s")
        self._now_s += duration_s
