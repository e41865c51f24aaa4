"""Reading a person's data from the database for them to see: counts, definitions, and habits in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, tzinfo

from ghostdesk.control.personal_consents import ConsentBook
from ghostdesk.control.personal_views import (
    CalendarView,
    ConsentView,
    PersonalData,
    PreparationView,
    mode_view,
    place_view,
)
from ghostdesk.kernel.ids import UserId
from ghostdesk.profiles.likely_modes import PRESENT_S, Likely
from ghostdesk.store.personal import EventCount
from ghostdesk.store.protocol import Store
from ghostdesk.telemetry.consent import SOURCE_TEXTS, kinds_of
from ghostdesk.telemetry.events import EventKind, TelemetrySource, UsageEvent

_LOOK_BACK_S = 17 * 7 * 86_400.0
_SHOWN_PREPARATIONS = 50
_HABIT_TIMES = 3
_DAYS = ("Mondays", "Tuesdays", "Wednesdays", "Thursdays", "Fridays", "Saturdays", "Sundays")


def personal_data(
    store: Store,
    book: ConsentBook,
    user: UserId,
    now_s: float,
    zone: tzinfo,
    here: str | None,
    chosen: str | None,
    reasons: Sequence[str],
    likely: Mapping[EventKind, Sequence[Likely]],
    file_times_s: Sequence[float] = (),
) -> PersonalData:
    """Everything that the person can see.

    Args:
        here, chosen: the present place and mode, if known.
        reasons: of the present forecast.
        likely: how likely each of their modes and places is, by kind.
        file_times_s: when they opened the files whose names are kept beside the database.
    """
    told = list(store.events(user=user, since_s=now_s - _LOOK_BACK_S, kinds=(EventKind.PLACE, EventKind.MODE)))
    entries = store.busy_time_counts(user)
    places, modes = ({one.name: one for one in likely.get(kind, ())} for kind in (EventKind.PLACE, EventKind.MODE))
    return PersonalData(
        consents=_consents(book, user, store.event_counts(user), sum(entries.values()), file_times_s),
        places=tuple(place_view(place, here, places.get(place.name)) for place in store.places(user)),
        modes=tuple(mode_view(mode, mode.name == chosen, modes.get(mode.name)) for mode in store.modes(user)),
        calendars=tuple(
            CalendarView(c.name, c.kind, c.synced_s, c.problem, entries.get(c.name, 0)) for c in store.calendars(user)
        ),
        prepared=tuple(
            PreparationView(p.time_s, p.what, p.reason) for p in store.preparations(user, _SHOWN_PREPARATIONS)
        ),
        habits=(*reasons, *_habits(told, zone)),
    )


def recent_detail(store: Store, user: UserId, kind: EventKind, now_s: float) -> str | None:
    """What the last event of the kind said, if it was in the last 12 hours and said anything."""
    last = store.last_event(user, kind)
    return last.detail or None if last is not None and now_s - last.time_s < PRESENT_S else None


def _consents(
    book: ConsentBook, user: UserId, counts: Sequence[EventCount], busy_times: int, file_times_s: Sequence[float]
) -> tuple[ConsentView, ...]:
    views = []
    by_kind = {count.kind: count for count in counts}
    for source, text in SOURCE_TEXTS.items():
        found = [by_kind[kind] for kind in kinds_of(source) if kind in by_kind]
        if source is TelemetrySource.FILES and file_times_s:
            found.append(EventCount(EventKind.FILE_OPENED, len(file_times_s), min(file_times_s), max(file_times_s)))
        views.append(
            ConsentView(
                source.value,
                text.label,
                text.what,
                allowed=source in book.sources_of(user),
                operator_allows=source in book.operator,
                events=busy_times if source is TelemetrySource.CALENDAR else sum(count.events for count in found),
                first_s=min((count.first_s for count in found), default=None),
                last_s=max((count.last_s for count in found), default=None),
            )
        )
    return tuple(views)


def _habits(told: Sequence[UsageEvent], zone: tzinfo) -> list[str]:
    """What was told three times or more at the same hour of the week, the most frequent first."""
    counts: Counter[tuple[EventKind, str, int, int]] = Counter()
    for event in told:
        if event.detail:
            local = datetime.fromtimestamp(event.time_s, zone)
            counts[event.kind, event.detail, local.weekday(), local.hour] += 1
    return [
        f"{'is at' if kind is EventKind.PLACE else 'chooses the mode'} “{name}” on {_DAYS[day]} "
        f"around {hour:02}:00 ({times} times)"
        for (kind, name, day, hour), times in counts.most_common(10)
        if times >= _HABIT_TIMES
    ]
