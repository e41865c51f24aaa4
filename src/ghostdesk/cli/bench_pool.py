"""The pool in the hands of the sign-in benchmark: real ghosts, arranged exactly as each condition wants them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

from ghostdesk.bench.signin import SignInCondition
from ghostdesk.control.plane import ControlPlane
from ghostdesk.control.service import DesktopHandle
from ghostdesk.control.supply import new_ghost_id
from ghostdesk.ghosts.events import BindRequested, BuildRequested, GhostEvent, ReleaseRequested, WarmRequested
from ghostdesk.ghosts.ghost import Ghost, GhostState
from ghostdesk.kernel.errors import BuildFailed, NotFound
from ghostdesk.kernel.ids import AppId, UserId

_EMPTY_WITHIN_S = 30.0


class GatedPlane(ControlPlane):
    """The real control plane, but a page at the door gets nothing while the gate is shut."""

    gate_open = False

    async def prepare_desktop(self, user: UserId) -> DesktopHandle | None:
        if not self.gate_open:
            return None
        return await super().prepare_desktop(user)


class BenchPool:
    """`PoolControl` over a real control plane whose loop does not tick: nothing is built but what is arranged here."""

    def __init__(self, plane: GatedPlane, user: UserId, apps: Sequence[AppId]) -> None:
        self._plane = plane
        self._user = user
        self._apps = tuple(apps)

    async def arrange(self, condition: SignInCondition) -> None:
        """See `bench.signin.PoolControl`."""
        self._plane.gate_open = condition in (SignInCondition.WARM, SignInCondition.PRECONNECTED)
        await self._empty()
        if condition is SignInCondition.NO_POOL:
            return
        ghost = await self._build()
        if condition is SignInCondition.READY:
            return
        await self._do(ghost, BindRequested(self._user, "arranged by the benchmark"))
        await self._do(ghost, WarmRequested(self._apps, True, "arranged by the benchmark"))

    async def _empty(self) -> None:
        manager = self._plane.loop.manager
        for ghost in list(manager):
            if ghost.state is not GhostState.DRAINING:
                await self._do(ghost, ReleaseRequested("the benchmark starts from nothing"))
        try:
            async with asyncio.timeout(_EMPTY_WITHIN_S):
                while len(manager):
                    for ghost in manager:  # a build that was under way when it was released
                        with contextlib.suppress(NotFound):
                            await self._plane.executor.carry_out(ghost.ghost, ReleaseRequested("once more"))
                    await asyncio.sleep(0.02)
        except TimeoutError:
            left = ", ".join(f"{g.ghost} is {g.state}, {g.pending}" for g in manager)
            raise BuildFailed(f"The benchmark's ghosts did not go: {left}.") from None

    async def _build(self) -> Ghost:
        loop = self._plane.loop
        ghost = loop.manager.add(new_ghost_id(), loop.policy.template.template)
        await self._do(
            ghost, BuildRequested(loop.policy.template, loop.policy.ghost_limits, "arranged by the benchmark")
        )
        return loop.manager.get(ghost.ghost)

    async def _do(self, ghost: Ghost, event: GhostEvent) -> None:
        step, outcomes = await self._plane.executor.carry_out(ghost.ghost, event)
        failed = [str(o.error) for o in outcomes if o.error is not None]
        if step.refused or failed:
            raise BuildFailed(f"The benchmark could not arrange {ghost.ghost}: {step.refused or failed[0]}")
