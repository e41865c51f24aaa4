"""What is too old is let go: history is kept as long as the operator says, and no longer."""

from __future__ import annotations

import logging
from collections.abc import Callable

from ghostdesk.control.journal import Journal
from ghostdesk.kernel.clock import Clock
from ghostdesk.kernel.errors import GhostdeskError

log = logging.getLogger(__name__)
_DAY_S = 86_400.0
LOOK_EVERY_S = _DAY_S / 4
_AFTER_START_S = 600.0


async def age_out_every(
    age_out: Callable[[float], int],
    journal: Journal,
    clock: Clock,
    retention_days: float,
    *,
    every_s: float = LOOK_EVERY_S,
) -> None:
    """Delete what is older than `retention_days`, four times a day, for ever; 0 keeps everything.

    The first time comes some minutes after the start, when everybody has been served.
    """
    if retention_days <= 0:
        return
    await clock.sleep(min(_AFTER_START_S, every_s))
    while True:
        before_s = clock.now_s() - retention_days * _DAY_S
        try:
            gone = await journal.run(lambda before_s=before_s: age_out(before_s))  # type: ignore[misc]
            if gone:
                log.info("%d events from before the retention of %g days were deleted", gone, retention_days)
        except GhostdeskError as error:
            log.warning("history could not be aged out: %s", error)
        await clock.sleep(every_s)
