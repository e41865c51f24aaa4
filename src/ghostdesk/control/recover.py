"""After a crash or a restart: find the ghosts that still run, whose they are, and take them over."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

from ghostdesk.control.execute import Executor
from ghostdesk.control.journal import Journal
from ghostdesk.engines.protocol import AgentLink, Engine, ObservedGhost
from ghostdesk.ghosts.commands import Destroy, TellBound, Thaw
from ghostdesk.ghosts.ghost import Ghost, GhostState
from ghostdesk.ghosts.pool import GhostDesktopManager
from ghostdesk.kernel.clock import Clock
from ghostdesk.kernel.errors import GhostdeskError, StoreError
from ghostdesk.kernel.ids import GhostId, TemplateId
from ghostdesk.kernel.resources import Priority
from ghostdesk.store.protocol import Claim

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Recovered:
    """What a restart found: desktops taken over, how many of them are in use, and remains that were removed."""

    kept: int = 0
    active: int = 0
    removed: int = 0


def verdict(seen: ObservedGhost, claim: Claim | None, now_s: float) -> Ghost | None:
    """What a desktop that was found becomes; None when it must be destroyed. Pure.

    The engine's word on whose home is attached outweighs the store's: it is what the desktop can really see. A claim
    whose home was never attached was cut short before its user got anything, so the ghost is not worth keeping.
    """
    if not seen.alive:
        return None
    ghost = Ghost(
        seen.ghost, TemplateId(seen.template), GhostState.READY, since_s=now_s, reason="found after a restart",
        host=seen.host,
    )  # fmt: skip
    if claim is None and seen.owner is None:
        return ghost
    if claim is None:
        return replace(ghost, owner=seen.owner, generation=1)
    if seen.owner != claim.user:
        return None
    state = GhostState.ACTIVE if claim.state == GhostState.ACTIVE else GhostState.READY
    priority = Priority.PERSON if state is GhostState.ACTIVE else Priority.GHOST
    return replace(ghost, state=state, owner=claim.user, generation=claim.generation, priority=priority)


async def recover(
    manager: GhostDesktopManager, engine: Engine, agents: AgentLink, executor: Executor, journal: Journal, clock: Clock
) -> Recovered:
    """Take over every desktop of ours that still runs, and remove what is left of those that do not."""
    claims = await _claims(journal)
    kept = active = removed = 0
    for seen in await engine.observe():
        claim = claims.pop(seen.ghost, None)
        ghost = verdict(seen, claim, clock.now_s())
        if ghost is None:
            outcome = await engine.apply(Destroy(seen.ghost))
            if outcome.error is not None:  # the plan tries again, tick by tick
                log.warning("%s cannot be removed yet: %s", seen.ghost, outcome.error)
                reason = "what is left after a restart could not be removed"
                manager.restore(remains(seen, clock.now_s(), reason))
            if claim is not None:
                await journal.quietly(lambda gone=seen.ghost: journal.store.delete_claim(gone))  # type: ignore[misc]
            removed += 1
            continue
        manager.restore(ghost)
        kept += 1
        active += ghost.state is GhostState.ACTIVE
        if seen.frozen:
            await engine.apply(Thaw(ghost.ghost))
        executor.spawn(_greet(ghost, engine, agents))
    for gone in claims:
        await journal.quietly(lambda gone=gone: journal.store.delete_claim(gone))  # type: ignore[misc]
    return Recovered(kept, active, removed)


def remains(seen: ObservedGhost, now_s: float, reason: str) -> Ghost:
    """A desktop that is nobody's and must go: the plan removes it, and tries again until it is gone."""
    return Ghost(
        seen.ghost, TemplateId(seen.template), GhostState.DRAINING, since_s=now_s, reason=reason, host=seen.host
    )


async def _claims(journal: Journal) -> dict[GhostId, Claim]:
    try:
        return {c.ghost: c for c in await journal.run(journal.store.claims)}
    except StoreError as error:
        log.warning("claims cannot be read (%s); whose home is attached decides", error)
        return {}


async def _greet(ghost: Ghost, engine: Engine, agents: AgentLink) -> None:
    """The agent has been trying to reach us since the old control plane went."""
    try:
        await agents.connect(ghost.ghost, engine.endpoint(ghost.ghost))
        await agents.wait_connected(ghost.ghost, 15.0)
    except GhostdeskError as error:
        log.warning("the agent of %s did not come back: %s", ghost.ghost, error)
        return
    if ghost.owner is not None:
        await agents.apply(TellBound(ghost.ghost, ghost.owner))
