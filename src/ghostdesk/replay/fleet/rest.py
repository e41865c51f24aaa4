"""Whether a control loop has come to rest: everybody served, nothing left over, the pool as it should be. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass

from ghostdesk.allocator.plan import Plan
from ghostdesk.engines.simulated_cluster import Instance
from ghostdesk.ghosts.ghost import Ghost, GhostState
from ghostdesk.kernel.ids import UserId


@dataclass(frozen=True, slots=True)
class Moment:
    """What is looked at.

    Args:
        ghosts: all that the loop knows; instances: all that there is.
        plan: the last one.
        late: commands that were given up and are still to be done.
        waiting: people who wait; at_work: those who should have a desktop.
    """

    ghosts: Sequence[Ghost]
    instances: Sequence[Instance]
    plan: Plan
    late: int
    waiting: int
    at_work: Set[UserId]


def what_is_odd(moment: Moment) -> str:
    """The first thing that is not as it should be once nothing goes wrong any more; empty when all is well."""
    return next(_all(moment), "")


def _all(moment: Moment) -> Iterator[str]:
    if moment.late:
        yield f"{moment.late} late commands are still to be done"
    if moment.waiting:
        yield f"{moment.waiting} people wait"
    really = {one.ghost: one for one in moment.instances}
    for ghost in moment.ghosts:
        if odd := _ghost(ghost, really.pop(ghost.ghost, None)):
            yield odd
    if really:
        yield f"nobody knows {len(really)} desktops, such as {next(iter(really))}"
    without = moment.at_work - {g.owner for g in moment.ghosts if g.state is GhostState.ACTIVE}
    if without:
        yield f"{len(without)} people at work have no desktop, such as {min(without)}"
    held = sum(1 for g in moment.ghosts if g.owner is None and g.state is not GhostState.DRAINING)
    if held < moment.plan.pool_target and not moment.plan.infeasible:
        yield f"the pool holds {held} of {moment.plan.pool_target}"


def _ghost(ghost: Ghost, really: Instance | None) -> str:
    if ghost.state is GhostState.DRAINING:
        return f"{ghost.ghost} is still to be removed: {ghost.reason}"
    if really is None:
        making = ghost.coming or ghost.state is GhostState.CACHED
        return "" if making else f"{ghost.ghost} is {ghost.state} and does not exist"
    if not really.alive:
        return f"{ghost.ghost} is {ghost.state} and dead"
    if ghost.state is GhostState.ACTIVE and really.frozen:
        return f"{ghost.ghost} is in use and frozen"
    return ""
