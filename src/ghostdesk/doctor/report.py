"""What a check found, and what that means: pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from ghostdesk.engines.protocol import DESKTOPS, Ability

EXIT_WELL, EXIT_BROKEN, EXIT_USAGE, EXIT_PARTLY = 0, 1, 2, 3
"""`ghostdesk doctor` ends with one of these; 2 is what every command says of words that it does not know."""


class State(StrEnum):
    """How a step went."""

    WELL = "well"
    FAILED = "failed"
    SKIPPED = "skipped"


class Verdict(StrEnum):
    """What it all means."""

    WELL = "well"
    PARTLY = "partly"
    """People can have desktops, and something that the engine promises does not work."""
    BROKEN = "broken"
    """Nobody can have a desktop here."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One step.

    Args:
        step: its stable name.
        state: how it went.
        duration_s: how long it took, in seconds.
        detail: what was seen; of a skipped step, why.
        code, cause, mend: of a failed step (`kernel.errors`).
        needed: whether people can have no desktop when it fails.
    """

    step: str
    state: State
    duration_s: float = 0.0
    detail: str = ""
    code: str = ""
    cause: str = ""
    mend: str = ""
    needed: bool = True


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that was found, in order."""

    engine: str
    abilities: Sequence[Ability]
    findings: Sequence[Finding]

    @property
    def verdict(self) -> Verdict:
        """A failed step that is needed, or an engine that says desktops cannot run, is the end of it."""
        failed = [one for one in self.findings if one.state is State.FAILED]
        impossible = any(one.name == DESKTOPS and not one.available for one in self.abilities)
        if impossible or any(one.needed for one in failed):
            return Verdict.BROKEN
        return Verdict.PARTLY if failed else Verdict.WELL

    @property
    def exit_code(self) -> int:
        """For scripts."""
        return {Verdict.WELL: EXIT_WELL, Verdict.PARTLY: EXIT_PARTLY, Verdict.BROKEN: EXIT_BROKEN}[self.verdict]
