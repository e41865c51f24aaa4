"""The real clock: the only place of the control plane that reads the time."""

import asyncio
import time


class SystemClock:
    """Wall-clock time and real waiting."""

    def now_s(self) -> float:
        """Seconds since 1970-01-01 UTC."""
        return time.time()

    async def sleep(self, duration_s: float) -> None:
        """Wait for real."""
        await asyncio.sleep(duration_s)
