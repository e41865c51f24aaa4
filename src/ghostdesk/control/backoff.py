"""When to try again after builds have failed, and what to tell people meanwhile. Pure."""

from __future__ import annotations

from dataclasses import dataclass

_FIRST_S = 2.0
_LONGEST_S = 300.0


@dataclass(frozen=True, slots=True)
class BuildBackoff:
    """Failures in a row, the time before which no build is tried, and why."""

    failures: int = 0
    not_before_s: float = 0.0
    why: str = ""

    def failed(self, why: str, now_s: float, retry_after_s: float | None = None) -> BuildBackoff:
        """One more failure: wait twice as long as before, at least as long as the error asks, at most 5 minutes.

        A failure while no build may start is of one that was begun before: of a hundred that fail together, one counts.
        """
        if now_s < self.not_before_s:
            return BuildBackoff(
                self.failures, max(self.not_before_s, now_s + min(_LONGEST_S, retry_after_s or 0.0)), why
            )
        wait_s = min(_LONGEST_S, max(_FIRST_S * 2.0**self.failures, retry_after_s or 0.0))
        return BuildBackoff(self.failures + 1, now_s + wait_s, why)

    def succeeded(self) -> BuildBackoff:
        """All is well again."""
        return BuildBackoff()

    def blocked(self, now_s: float) -> str:
        """Why no build may start now; empty when one may."""
        if now_s >= self.not_before_s:
            return ""
        times = "once" if self.failures == 1 else f"{self.failures} times"
        return f"building failed {times}: {self.why} Next try in {self.not_before_s - now_s:.0f} s."

    def describe(self, now_s: float) -> str:
        """What the status view says; empty when the last build was well."""
        if not self.failures:
            return ""
        return self.blocked(now_s) or f"building failed before: {self.why} Trying again now."
