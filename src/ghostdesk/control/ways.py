"""Reading people's modes and places, and what happened around them, for those who agree that they are used."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from ghostdesk.kernel.ids import UserId
from ghostdesk.profiles.baselines.slots import WeekSlots
from ghostdesk.profiles.likely_modes import Likely, LikelyModes
from ghostdesk.profiles.location import Place
from ghostdesk.profiles.modes import Mode
from ghostdesk.store.protocol import Store
from ghostdesk.telemetry.consent import allowed_sources
from ghostdesk.telemetry.events import SOURCE_OF, EventKind, TelemetrySource, UsageEvent

_LOOK_BACK_S = 17 * 7 * 86_400.0
_HALF_HOUR_S = 1800
_TOLD = (EventKind.SIGN_IN, EventKind.MODE, EventKind.PLACE)


@dataclass(frozen=True, slots=True)
class Ways:
    """What people defined, of those who agree."""

    modes: Mapping[UserId, Sequence[Mode]] = field(default_factory=dict)
    places: Mapping[UserId, Sequence[Place]] = field(default_factory=dict)


def read_ways(store: Store, operator: Collection[TelemetrySource] = tuple(TelemetrySource)) -> Ways:
    """Everyone's modes and places; those of people who refuse the source are not there.

    Args:
        operator: sources that the operator allows.
    """
    choices: dict[UserId, dict[TelemetrySource, bool]] = {}
    for consent in store.consents():
        choices.setdefault(consent.user, {})[consent.source] = consent.allowed

    def agree(user: UserId, source: TelemetrySource) -> bool:
        return source in allowed_sources(choices.get(user, {}), operator)

    modes = {user: found for user, found in store.all_modes().items() if agree(user, TelemetrySource.MODE)}
    places = {}
    for user in {*choices, *modes}:
        if agree(user, TelemetrySource.PLACE) and (found := store.places(user)):
            places[user] = found
    return Ways(modes, places)


def read_events(store: Store, user: UserId, sources: Collection[TelemetrySource], now_s: float) -> list[UsageEvent]:
    """What a person's modes and places are learnt from, in order."""
    kinds = tuple(kind for kind in _TOLD if kind not in SOURCE_OF or SOURCE_OF[kind] in sources)
    return list(store.events(user=user, since_s=now_s - _LOOK_BACK_S, kinds=kinds))


def likely_of(ways: LikelyModes, user: UserId, now_s: float) -> dict[EventKind, Sequence[Likely]]:
    """How likely each of a person's modes and places is, by kind."""
    return {EventKind.PLACE: ways.places(user, now_s), EventKind.MODE: ways.modes(user, now_s)}


def ways_of_store(
    store: Store, timezone: str, now_s: float, operator: Collection[TelemetrySource] = tuple(TelemetrySource)
) -> LikelyModes:
    """As the running service learns them, for whoever has no service at hand."""
    found = read_ways(store, operator)
    ways = LikelyModes(WeekSlots(timezone, _HALF_HOUR_S))
    ways.define(found.modes, found.places)
    for event in store.events(since_s=now_s - _LOOK_BACK_S, kinds=_TOLD):
        ways.observe(event)
    return ways
