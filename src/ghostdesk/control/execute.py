"""Carrying out what was decided: commands in order, fenced, with every outcome fed back into the lifecycle."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import defaultdict
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from ghostdesk.control.journal import Journal
from ghostdesk.engines.protocol import AgentLink, Engine
from ghostdesk.ghosts.commands import (
    AgentCommand,
    AttachHome,
    Build,
    CallBackMemory,
    Command,
    Destroy,
    EngineCommand,
    Freeze,
    LaunchHidden,
    Outcome,
    Thaw,
)
from ghostdesk.ghosts.events import Done, Failed, GhostEvent, ReleaseRequested
from ghostdesk.ghosts.ghost import Ghost, GhostState
from ghostdesk.ghosts.lifecycle import Step
from ghostdesk.ghosts.pool import GhostDesktopManager
from ghostdesk.kernel.clock import Clock
from ghostdesk.kernel.errors import Conflict, EngineError, GhostdeskError, NotFound, Unsupported
from ghostdesk.kernel.ids import AppId, GhostId, HostId
from ghostdesk.kernel.resources import Priority
from ghostdesk.store.protocol import Claim

log = logging.getLogger(__name__)
AGENT_START_TIMEOUT_S = {Priority.PERSON: 15.0, Priority.GHOST: 60.0}
"""A ghost runs only where nobody else wants to: on a busy host its agent takes its time, and nobody waits for it."""

Listener = Callable[[Step, GhostEvent, Sequence[Outcome]], None]
"""Told of every change: the step, the event that caused it, and the outcomes of the commands that led to the event."""


LAUNCHES_AT_ONCE = 2
"""Hidden launches under way at the same time on one host."""


class Executor:
    """The hands of the control plane. The manager's ghosts change here and nowhere else."""

    def __init__(
        self, manager: GhostDesktopManager, engine: Engine, agents: AgentLink, journal: Journal, clock: Clock
    ) -> None:
        self._manager = manager
        self._engine = engine
        self._agents = agents
        self._journal = journal
        self._clock = clock
        self._locks: defaultdict[GhostId, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._launches: defaultdict[HostId, asyncio.Semaphore] = defaultdict(
            lambda: asyncio.Semaphore(LAUNCHES_AT_ONCE)
        )
        self._tasks: set[asyncio.Task[Any]] = set()
        self.listeners: list[Listener] = []
        self.watched: Callable[[GhostId], bool] = lambda _ghost: False

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run `work` beside everything else; its failure is logged, never lost."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    async def settle(self) -> None:
        """Wait for everything that was spawned."""
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def cancel(self) -> None:
        """Give up what is under way (at a stop)."""
        for task in self._tasks:
            task.cancel()

    async def carry_out(self, ghost: GhostId, event: GhostEvent) -> tuple[Step, list[Outcome]]:
        """Apply `event` and carry out what follows from it, to the end.

        Returns:
            The step (`refused` says why nothing was done) and the outcomes so far.

        Raises:
            EngineError: a command that the rest depends on failed; the ghost has been told.
            Conflict: the claim is fenced off: somebody else owns the ghost.
        """
        before = self._manager.get(ghost)
        result = self._manager.apply(ghost, event, self._clock.now_s())
        if result.refused:
            return result, []
        self._tell(result, event, ())
        if result.ghost.owner is not None and (before.owner is None or before.state is not result.ghost.state):
            await self._write_claim(result)
        if not result.commands:
            return result, []
        return result, await self._perform(result.ghost, result.commands)

    async def _write_claim(self, result: Step) -> None:
        """Write-ahead: the claim is on disk before its commands run. A ghost that the store gives to somebody else is
        destroyed here, since two owners are worse than none."""
        ghost = result.ghost
        assert ghost.owner is not None
        claim = Claim(ghost.ghost, ghost.owner, ghost.generation, ghost.state.value, self._clock.now_s())
        try:
            await self._journal.claim(claim)
        except Conflict as error:
            self.spawn(self.carry_out(ghost.ghost, ReleaseRequested(str(error))))
            raise

    async def _perform(self, ghost: Ghost, commands: Sequence[Command]) -> list[Outcome]:
        what = ghost.pending or ""
        outcomes: list[Outcome] = []
        failed_apps: list[AppId] = []
        for command in commands:
            if not self._still(ghost, what):
                log.info("%s of %s was superseded", what, ghost.ghost)
                return outcomes
            if what == "claim" and isinstance(command, AgentCommand | CallBackMemory):
                self.spawn(self._one(command))  # the person waits neither for bookkeeping nor for the last page
                continue
            if isinstance(command, LaunchHidden) and ghost.state is not GhostState.ACTIVE:
                # Applications of ghosts start a few at a time: all at once, they would only be in each other's way.
                async with self._launches[ghost.host]:
                    if not self._still(ghost, what):
                        return outcomes
                    outcome = await self._one(command)
            else:
                outcome = await self._one(command)
                if isinstance(command, Thaw) and what != "claim" and _came_up((*outcomes, outcome)):
                    await self._agent_back(ghost.ghost)
            outcomes.append(outcome)
            if outcome.error is None or isinstance(outcome.error, Unsupported):
                continue  # what this engine has no call for (its abilities say so) keeps nothing else from happening
            if isinstance(command, LaunchHidden):
                failed_apps.append(command.app)
            elif isinstance(command, AttachHome | Build | Destroy | Thaw) or what in ("bind", "wake", "resize"):
                await self._finish(ghost, Failed(what, str(outcome.error)), outcomes)
                raise outcome.error
        launched = [o.command.app for o in outcomes if o.ok and isinstance(o.command, LaunchHidden)]
        done = Done(what, tuple(launched), tuple(failed_apps), host=_built_on(outcomes))
        await self._finish(ghost, done, outcomes)
        return outcomes

    async def _finish(self, ghost: Ghost, event: Done | Failed, outcomes: Sequence[Outcome]) -> None:
        """Feed the end of a piece of work back; what follows from it (a destroy after a failure) runs beside."""
        try:
            result = self._manager.apply(ghost.ghost, event, self._clock.now_s())
        except NotFound:
            return
        if result.refused:
            return
        self._tell(result, event, outcomes)
        if event.what == "destroy" and isinstance(event, Done):
            self._locks.pop(ghost.ghost, None)
            await self._journal.quietly(lambda: self._journal.store.delete_claim(ghost.ghost))
        if result.commands:
            self.spawn(self._perform_quietly(result.ghost, result.commands))

    async def _perform_quietly(self, ghost: Ghost, commands: Sequence[Command]) -> None:
        try:
            await self._perform(ghost, commands)
        except EngineError as error:
            log.warning("%s of %s failed: %s", ghost.pending, ghost.ghost, error)

    def _still(self, ghost: Ghost, what: str) -> bool:
        """Whether this work is still wanted: nobody claimed, released or lost the ghost meanwhile."""
        try:
            now = self._manager.get(ghost.ghost)
        except NotFound:
            return False
        return now.pending == what and now.generation == ghost.generation

    async def _one(self, command: Command) -> Outcome:
        if isinstance(command, AgentCommand):
            return await self._agents.apply(command)
        # Pages may come back while anything else happens; a claim must not wait for the last of them.
        async with contextlib.nullcontext() if isinstance(command, CallBackMemory) else self._locks[command.ghost]:
            return await self._engine_command(command)

    async def _engine_command(self, command: EngineCommand) -> Outcome:
        if isinstance(command, Freeze) and self.watched(command.ghost):
            return Outcome(command, facts={"skipped": "a browser is connected"})
        if isinstance(command, Destroy):
            await self._agents.disconnect(command.ghost)
        outcome = await self._engine.apply(command)
        if isinstance(command, Build) and outcome.ok:
            return await self._await_agent(outcome, command.priority)
        return outcome

    async def _await_agent(self, built: Outcome, priority: Priority) -> Outcome:
        """A desktop counts as built when its agent has shown its credential."""
        started_s = self._clock.now_s()
        ghost = built.command.ghost
        try:
            await self._agents.connect(ghost, self._engine.endpoint(ghost))
            await self._agents.wait_connected(ghost, AGENT_START_TIMEOUT_S[priority])
        except GhostdeskError as error:
            return Outcome(built.command, error, built.duration_s)
        duration_s = built.duration_s + self._clock.now_s() - started_s
        return Outcome(built.command, None, duration_s, built.facts)

    async def _agent_back(self, ghost: GhostId) -> None:
        """A desktop that rested as an image and came up answers before its agent has found us again; what follows needs
        the agent. A person who claims it does not wait for that."""
        with contextlib.suppress(GhostdeskError):
            await self._agents.wait_connected(ghost, AGENT_START_TIMEOUT_S[Priority.GHOST])

    async def thaw(self, ghost: GhostId) -> None:
        """Let a desktop run for a browser that shakes hands with it."""
        await self._one(Thaw(ghost))

    async def freeze(self, ghost: GhostId) -> None:
        """Freeze a desktop that nobody looks at any more."""
        await self._one(Freeze(ghost))

    def _tell(self, result: Step, event: GhostEvent, outcomes: Sequence[Outcome]) -> None:
        for listener in self.listeners:
            listener(result, event, outcomes)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            level = logging.WARNING if isinstance(error, GhostdeskError) else logging.ERROR
            log.log(level, "work beside the loop failed: %s", error, exc_info=error if level == logging.ERROR else None)


def _came_up(outcomes: Sequence[Outcome]) -> bool:
    """Whether a wake brought processes up: then the thaw, or the calling back before it, says by which path."""
    return any("path" in outcome.facts for outcome in outcomes)


def _built_on(outcomes: Sequence[Outcome]) -> HostId | None:
    """The host that a build names, of an engine with several."""
    for outcome in outcomes:
        if isinstance(outcome.command, Build) and isinstance(where := outcome.facts.get("location"), str):
            return HostId(where)
    return None
