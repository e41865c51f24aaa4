"""The life of a ghost: one table, and one function that reads it.

`step(ghost, event, now_s) -> Step(ghost, commands)` is pure. A row says: in this state, on this event, when this
guard holds, go to that state, call the work under way so, and have these commands carried out. No row, or no guard
that holds, means that the event is refused with a reason and nothing changes.

Theory of operation. A ghost climbs the ladder by requests (`BuildRequested`, `BindRequested`, `WarmRequested`,
`ParkRequested`, `WakeRequested`); the work of each runs under the name in `pending`, and its end comes back as
`Done` or `Failed` with that name, so that an answer which comes too late (the ghost was claimed meanwhile) finds
another name there and is refused. Only one piece of work runs at a time, with three exceptions that may always cut
in: a claim by the rightful user, a release, and a loss. The owner is set once; nothing but `absent` clears it, and
`absent` ghosts are never built again: their ids are used once. The generation grows when a ghost gets its owner, so
that tickets made before are worth nothing after.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ghostdesk.ghosts.commands import (
    AttachHome,
    Build,
    CacheTemplate,
    CallBackMemory,
    Command,
    Destroy,
    Freeze,
    LaunchHidden,
    ReclaimMemory,
    SetLimits,
    TellBound,
    Thaw,
)
from ghostdesk.ghosts.events import (
    BindRequested,
    BuildRequested,
    CacheRequested,
    ClaimRequested,
    Done,
    Failed,
    GhostEvent,
    Lost,
    ParkRequested,
    ReleaseRequested,
    ResizeRequested,
    WakeRequested,
    WarmRequested,
)
from ghostdesk.ghosts.ghost import Ghost, GhostState
from ghostdesk.kernel.resources import NOTHING, Priority, Resources

Guard = Callable[[Ghost, GhostEvent], str]
"""Returns why not, or an empty string when the way is free."""
Work = Callable[[Ghost, GhostEvent], tuple[Command, ...]]


@dataclass(frozen=True, slots=True)
class Step:
    """What became of an event: the ghost after it, what to carry out, and why it was refused (if it was)."""

    ghost: Ghost
    commands: tuple[Command, ...] = ()
    refused: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. `to` is None where the state stays; `pending` is None where no work is under way after."""

    on: type
    to: GhostState | None
    guard: Guard
    pending: str | None = None
    work: Work | None = None


def _free(ghost: Ghost, _event: GhostEvent) -> str:
    return f"busy with {ghost.pending}" if ghost.pending else ""


def _always(_ghost: Ghost, _event: GhostEvent) -> str:
    return ""


def _unowned(ghost: Ghost, event: GhostEvent) -> str:
    return _free(ghost, event) or ("it has an owner" if ghost.owner is not None else "")


def _owned(ghost: Ghost, event: GhostEvent) -> str:
    return _free(ghost, event) or ("it has no owner yet" if ghost.owner is None else "")


def _rightful(ghost: Ghost, event: GhostEvent) -> str:
    assert isinstance(event, ClaimRequested)
    return "" if ghost.owner in (None, event.user) else "it belongs to somebody else"


def _awaited(what: str) -> Guard:
    def guard(ghost: Ghost, event: GhostEvent) -> str:
        assert isinstance(event, Done | Failed)
        if event.what != what or ghost.pending != what:
            return f"an answer to {event.what} is not awaited"
        return ""

    return guard


def _any_awaited(ghost: Ghost, event: GhostEvent) -> str:
    assert isinstance(event, Failed)
    return "" if ghost.pending == event.what else f"an answer to {event.what} is not awaited"


def _cache(ghost: Ghost, event: GhostEvent) -> tuple[Command, ...]:
    assert isinstance(event, CacheRequested)
    return (CacheTemplate(ghost.ghost, event.template),)


def _build(ghost: Ghost, event: GhostEvent) -> tuple[Command, ...]:
    assert isinstance(event, BuildRequested)
    return (Build(ghost.ghost, event.template, event.limits, event.priority),)


def _bind(ghost: Ghost, event: GhostEvent) -> tuple[Command, ...]:
    assert isinstance(event, BindRequested)
    return (AttachHome(ghost.ghost, event.user), TellBound(ghost.ghost, event.user))


def _warm(ghost: Ghost, event: GhostEvent) -> tuple[Command, ...]:
    assert isinstance(event, WarmRequested)
    launches = tuple(
        LaunchHidden(ghost.ghost, app) for app in event.apps if app not in (*ghost.apps, *ghost.failed_apps)
    )
    end: tuple[Command, ...] = (Freeze(ghost.ghost),) if event.freeze else ()
    return (Thaw(ghost.ghost), *launches, *end)


def _resize(ghost: Ghost, event: GhostEvent) -> tuple[Command, ...]:
    assert isinstance(event, ResizeRequested)
    return (SetLimits(ghost.ghost, event.limits, event.priority),)


def _park(ghost: Ghost, _event: GhostEvent) -> tuple[Command, ...]:
    return (Freeze(ghost.ghost), ReclaimMemory(ghost.ghost))


def _wake(ghost: Ghost, _event: GhostEvent) -> tuple[Command, ...]:
    thaw: tuple[Command, ...] = () if ghost.apps else (Thaw(ghost.ghost),)
    return (CallBackMemory(ghost.ghost), *thaw)


def _claim(ghost: Ghost, event: GhostEvent) -> tuple[Command, ...]:
    """Full resources first, so that the thaw already runs with them; the home only where it is not attached yet; last
    what is in swap, as the first frame fetches what it needs by itself."""
    assert isinstance(event, ClaimRequested)
    commands: list[Command] = [SetLimits(ghost.ghost, event.limits, Priority.PERSON), Thaw(ghost.ghost)]
    if ghost.owner is None or ghost.pending == "bind":
        commands += [AttachHome(ghost.ghost, event.user), TellBound(ghost.ghost, event.user)]
    if ghost.state is GhostState.PARKED:
        commands.append(CallBackMemory(ghost.ghost, Priority.PERSON))
    return tuple(commands)


def _destroy(ghost: Ghost, _event: GhostEvent) -> tuple[Command, ...]:
    return (Destroy(ghost.ghost),)


S = GhostState
_LEAVE = (
    Row(ReleaseRequested, S.DRAINING, _always, "destroy", _destroy),
    Row(Lost, S.DRAINING, _always, "destroy", _destroy),
)
_CLAIM = Row(ClaimRequested, S.ACTIVE, _rightful, "claim", _claim)

TABLE: dict[GhostState, tuple[Row, ...]] = {
    S.ABSENT: (
        Row(CacheRequested, S.CACHED, _free, "cache", _cache),
        Row(BuildRequested, S.CACHED, _free, "build", _build),
    ),
    S.CACHED: (
        Row(BuildRequested, None, _free, "build", _build),
        Row(Done, None, _awaited("cache")),
        Row(Done, S.READY, _awaited("build")),
        Row(Failed, S.DRAINING, _any_awaited, "destroy", _destroy),
        *_LEAVE,
    ),
    S.READY: (
        Row(BindRequested, None, _unowned, "bind", _bind),
        Row(WarmRequested, None, _owned, "warm", _warm),
        Row(ResizeRequested, None, _free, "resize", _resize),
        Row(ParkRequested, None, _free, "park", _park),
        Row(Done, None, _awaited("bind")),
        Row(Done, S.WARM, _awaited("warm")),
        Row(Done, None, _awaited("resize")),
        Row(Done, S.PARKED, _awaited("park")),
        Row(Failed, S.DRAINING, _awaited("bind"), "destroy", _destroy),
        Row(Failed, None, _any_awaited),
        _CLAIM,
        *_LEAVE,
    ),
    S.WARM: (
        Row(WarmRequested, None, _owned, "warm", _warm),
        Row(ResizeRequested, None, _free, "resize", _resize),
        Row(ParkRequested, None, _free, "park", _park),
        Row(Done, None, _awaited("warm")),
        Row(Done, None, _awaited("resize")),
        Row(Done, S.PARKED, _awaited("park")),
        Row(Failed, None, _any_awaited),
        _CLAIM,
        *_LEAVE,
    ),
    S.PARKED: (
        Row(WakeRequested, None, _free, "wake", _wake),
        Row(Done, S.READY, _awaited("wake")),
        Row(Failed, S.DRAINING, _awaited("wake"), "destroy", _destroy),
        _CLAIM,
        *_LEAVE,
    ),
    S.ACTIVE: (
        Row(ClaimRequested, None, _rightful),
        Row(WarmRequested, None, _owned, "warm", _warm),
        Row(ResizeRequested, None, _free, "resize", _resize),
        Row(Done, None, _awaited("claim")),
        Row(Done, None, _awaited("warm")),
        Row(Done, None, _awaited("resize")),
        Row(Failed, S.DRAINING, _awaited("claim"), "destroy", _destroy),
        Row(Failed, None, _any_awaited),
        *_LEAVE,
    ),
    S.DRAINING: (
        Row(Done, S.ABSENT, _awaited("destroy")),
        Row(Failed, None, _awaited("destroy")),
        Row(ReleaseRequested, None, _free, "destroy", _destroy),
        Row(Lost, None, _free, "destroy", _destroy),
    ),
}
"""The whole life of a ghost. docs/reference/lifecycle.md is drawn from it."""

_ROWS: dict[tuple[GhostState, type], tuple[Row, ...]] = {
    (state, on): tuple(row for row in rows if row.on is on)
    for state, rows in TABLE.items()
    for on in {r.on for r in rows}
}
"""The same, by what happens."""


def step(ghost: Ghost, event: GhostEvent, now_s: float) -> Step:
    """What becomes of `ghost` when `event` happens at `now_s`. Pure: nothing is carried out here."""
    why_not = ""
    for row in _ROWS.get((ghost.state, type(event)), ()):
        why_not = row.guard(ghost, event)
        if not why_not:
            return _take(row, ghost, event, now_s)
    return Step(ghost, (), why_not or f"{type(event).__name__} means nothing in state {ghost.state}")


def _take(row: Row, ghost: Ghost, event: GhostEvent, now_s: float) -> Step:
    if ghost.state is GhostState.ACTIVE and isinstance(event, ClaimRequested):
        return Step(ghost)  # the same person again
    commands = row.work(ghost, event) if row.work else ()
    state = row.to or ghost.state
    if isinstance(event, Done) and event.what == "wake" and ghost.apps:
        state = GhostState.WARM
    owner, generation, apps, failed_apps = ghost.owner, ghost.generation, ghost.apps, ghost.failed_apps
    if owner is None and isinstance(event, BindRequested | ClaimRequested):
        owner, generation = event.user, generation + 1
    if isinstance(event, Done) and event.what == "warm":
        apps = tuple(dict.fromkeys((*apps, *event.apps)))
        failed_apps = tuple(dict.fromkeys((*failed_apps, *event.failed_apps)))
    limits, priority = _told(ghost, event, state)
    # Spelt out, as `dataclasses.replace` takes several times as long, and this is every step of every ghost.
    after = Ghost(
        ghost=ghost.ghost,
        template=ghost.template,
        state=state,
        owner=owner,
        generation=generation,
        apps=() if state is GhostState.ABSENT else apps,
        failed_apps=failed_apps,
        pending=row.pending,
        since_s=ghost.since_s if state is ghost.state else now_s,
        reason=event.reason or ghost.reason,
        host=event.host if isinstance(event, Done) and event.host is not None else ghost.host,
        limits=limits,
        priority=priority,
    )
    return Step(after, commands)


def _told(ghost: Ghost, event: GhostEvent, state: GhostState) -> tuple[Resources, Priority]:
    """What it may use after the event."""
    if state is GhostState.ABSENT:
        return NOTHING, Priority.GHOST
    match event:
        case BuildRequested(limits=limits, priority=priority) | ResizeRequested(limits=limits, priority=priority):
            return limits, priority
        case ClaimRequested(limits=limits):
            return limits, Priority.PERSON
        case Failed(what="resize") if ghost.state is GhostState.ACTIVE:
            return NOTHING, ghost.priority  # unknown: the next plan sets them again, since somebody works in it
        case _:
            return ghost.limits, ghost.priority


def render_table() -> str:
    """The table as Markdown, for the reference and for people who ask what can happen next."""
    lines = ["| in state | on | goes to | work under way | commands |", "|---|---|---|---|---|"]
    names: dict[Work, str] = {
        _cache: "cache template",
        _build: "build",
        _bind: "attach home, tell agent",
        _warm: "thaw, launch hidden, freeze",
        _resize: "set limits",
        _park: "freeze, reclaim memory",
        _wake: "call back memory, thaw",
        _claim: "lift limits, thaw, attach home if needed",
        _destroy: "destroy",
    }
    for state, rows in TABLE.items():
        for row in rows:
            to = row.to or "stays"
            work = names[row.work] if row.work else ""
            lines.append(f"| {state} | {row.on.__name__} | {to} | {row.pending or ''} | {work} |")
    return "\n".join(lines) + "\n"
