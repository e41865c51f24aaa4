"""What an engine may be able to do beside desktops: load what launches touch into the page cache, and record it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from ghostdesk.kernel.ids import AppId, GhostId
from ghostdesk.prefetch.launch_set import LaunchSet
from ghostdesk.prefetch.plan import LoadLimits, PrefetchWish


@dataclass(frozen=True, slots=True)
class Prefetched:
    """What came of a wish to load files.

    Args:
        wish: the wish.
        bytes_by_app: read from the disk, for each application.
        resident_bytes: of the sets, what was in memory already.
        files: files of which anything was read.
        duration_s: how long it took.
        skipped: entries that were left out, by reason: deleted, changed, link, not-a-file, refused, unreadable.
        stopped: why it ended early: "", "told", "budget", "room" (the page cache of others would have to give way),
            "pressure" (of memory), or what failed.
    """

    wish: PrefetchWish
    bytes_by_app: Mapping[AppId, int] = field(default_factory=dict)
    resident_bytes: int = 0
    files: int = 0
    duration_s: float = 0.0
    skipped: Mapping[str, int] = field(default_factory=dict)
    stopped: str = ""

    @property
    def read_bytes(self) -> int:
        """Read from the disk, in all."""
        return sum(self.bytes_by_app.values())


class Prefetcher(Protocol):
    """Loads what launches touch into the host's page cache, and records what they touch. An engine's own, or none."""

    def launch_sets(self) -> Mapping[AppId, LaunchSet]:
        """What is known of each application's launches."""
        ...

    async def resident_share(self, app: AppId) -> float:
        """How much of the application's set is in memory now, 0 to 1; 1 where nothing is known."""
        ...

    async def recorded(self, app: AppId) -> LaunchSet | None:
        """The application's set, once no recording is under way."""
        ...

    async def load(self, wish: PrefetchWish, limits: LoadLimits) -> Prefetched:
        """Load it, at the lowest priority. Cancelling stops it at once; failures come back in the outcome."""
        ...

    def launch_begins(self, ghost: GhostId, app: AppId, *, in_use: bool) -> None:
        """The application is about to be started there; `in_use` where a person works in it. Returns at once."""
        ...

    def launch_ended(self, ghost: GhostId, duration_s: float, *, started: bool) -> None:
        """It shows its window, or failed, or had been running (`started` false). Returns at once."""
        ...


@runtime_checkable
class Prefetches(Protocol):
    """An engine that can load files ahead of launches."""

    @property
    def prefetcher(self) -> Prefetcher | None:
        """What does it; None where this host does not allow it."""
        ...
