"""Steps one after another: each timed, a failure told with its cause and mend, and what hangs on it left out."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import replace

from ghostdesk.doctor.report import Finding, State
from ghostdesk.kernel.errors import GhostdeskError

Say = Callable[[str], None]


class Sick(GhostdeskError):
    """Something that was looked at is not as it has to be."""

    code = "sick"


class LeftOut(Exception):
    """A step that cannot be done here, or need not; says why."""


class Steps:
    """Runs steps and keeps what came of them.

    Args:
        say: told of each step as it begins.
        clock: for durations; seconds.
    """

    def __init__(self, say: Say, clock: Callable[[], float] = time.monotonic) -> None:
        self.findings: list[Finding] = []
        self._say, self._clock = say, clock

    async def do(self, step: str, work: Callable[[], Awaitable[str]], *, after: str = "", needed: bool = True) -> bool:
        """Do one step; whether it went well.

        Args:
            step: its stable name.
            work: does it, and says what was seen; raises `GhostdeskError` or `LeftOut`.
            after: a step that has to have gone well; else this one is left out.
            needed: see `Finding`.
        """
        if after and not self.went_well(after):
            self.findings.append(Finding(step, State.SKIPPED, detail=f"needs the step {after!r}", needed=needed))
            return False
        self._say(step)
        began_s = self._clock()
        finding = await self._found(step, work, needed)
        self.findings.append(replace(finding, duration_s=round(self._clock() - began_s, 4)))
        return finding.state is State.WELL

    def went_well(self, step: str) -> bool:
        """Whether a step was done and went well."""
        return any(one.step == step and one.state is State.WELL for one in self.findings)

    async def _found(self, step: str, work: Callable[[], Awaitable[str]], needed: bool) -> Finding:
        try:
            return Finding(step, State.WELL, detail=await work(), needed=needed)
        except LeftOut as why:
            return Finding(step, State.SKIPPED, detail=str(why), needed=needed)
        except GhostdeskError as error:
            return Finding(step, State.FAILED, 0.0, "", error.code, error.cause, error.mend, needed)
        except (OSError, TimeoutError, ValueError) as error:
            told = str(error) or type(error).__name__
            return Finding(step, State.FAILED, 0.0, "", "error", told, "", needed)
