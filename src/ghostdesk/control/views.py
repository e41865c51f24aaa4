"""The status view as values: ghosts, the plan with its reasons, the last launches, what the host can do."""

from __future__ import annotations

from collections.abc import Mapping

from ghostdesk.allocator.plan import Action
from ghostdesk.allocator.reasons import grouped
from ghostdesk.control.capacity_views import capacity_view, infeasible_view
from ghostdesk.control.context_view import context_view
from ghostdesk.control.energy_view import NO_ENERGY, EnergyView
from ghostdesk.control.journal import Journal
from ghostdesk.control.loop import ControlLoop
from ghostdesk.control.service import AbilityView, ActionView, ForecastView, GhostView, StatusView
from ghostdesk.engines.protocol import Engine
from ghostdesk.ghosts.ghost import RUNG
from ghostdesk.store.protocol import LaunchRecord

_MOST_LAUNCHES = 50


def status_view(
    loop: ControlLoop,
    engine: Engine,
    journal: Journal,
    launches: tuple[LaunchRecord, ...],
    done: Mapping[tuple[str, str], str],
    now_s: float,
    forecasts: ForecastView,
    energy: EnergyView = NO_ENERGY,
) -> StatusView:
    """Everything at one moment; `done` says how actions of (ghost, event) ended."""
    problems = [loop.supply.backoff.describe(now_s)]
    if journal.problem:
        problems.append(f"The database cannot be written, events wait in memory: {journal.problem}")
    return StatusView(
        now_s=now_s,
        ghosts=_ghosts(loop),
        plan=tuple(_action(time_s, action, done) for time_s, action in loop.recent),
        infeasible=tuple(
            infeasible_view(entry) for entry in grouped((*loop.admission.refused(now_s), *loop.plan.infeasible))
        ),
        launches=launches[:_MOST_LAUNCHES],
        abilities=tuple(AbilityView(a.name, a.available, a.detail, a.mend) for a in engine.abilities()),
        pool_target=loop.plan.pool_target,
        pool_reason=loop.plan.pool_reason,
        problem=" ".join(p for p in problems if p),
        forecasts=forecasts,
        context=context_view(loop.observer, tuple(note.text for note in loop.plan.notes)),
        capacity=capacity_view(loop.plan.headroom, loop.plan.holds, loop.admission.rules().bookings, now_s),
        energy=energy,
    )


def _ghosts(loop: ControlLoop) -> tuple[GhostView, ...]:
    views = []
    for ghost in sorted(loop.manager, key=lambda g: (-RUNG[g.state], g.since_s, g.ghost)):
        seen = loop.observer.seen.get(ghost.ghost)
        views.append(
            GhostView(
                ghost.ghost,
                ghost.state.value,
                ghost.owner,
                ghost.apps,
                ghost.pending,
                ghost.since_s,
                seen.memory_bytes if seen else 0,
                seen.cpu_s if seen else 0.0,
                ghost.reason,
            )
        )
    return tuple(views)


def _action(time_s: float, action: Action, done: Mapping[tuple[str, str], str]) -> ActionView:
    name = type(action.event).__name__.removesuffix("Requested").lower()
    ended = done.get((action.ghost, type(action.event).__name__)) if action.ghost else None
    return ActionView(name, action.ghost or "a new ghost", action.reason.text, ended, time_s)
