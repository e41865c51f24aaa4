"""A person's own data while the service runs: consents, places, modes, calendars, and forgetting all of it.

What is deleted goes from the database (where a tombstone keeps it out), the events that wait to be written, the
model's state of the person, every cache here, the secrets of their calendars, and the ghost that was prepared from it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Collection, Coroutine, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar
from zoneinfo import ZoneInfo

from ghostdesk.control.journal import Journal
from ghostdesk.control.loop import ControlLoop
from ghostdesk.control.personal_consents import ConsentBook
from ghostdesk.control.personal_export import export_pieces
from ghostdesk.control.personal_files import FileNames
from ghostdesk.control.personal_read import personal_data, recent_detail
from ghostdesk.control.personal_views import CurveView, PersonalData, curve_view
from ghostdesk.control.ways import likely_of, read_events, ways_of_store
from ghostdesk.ghosts.events import BindRequested, GhostEvent, ReleaseRequested, WarmRequested
from ghostdesk.ghosts.ghost import Ghost, GhostState
from ghostdesk.kernel.clock import Clock
from ghostdesk.kernel.errors import ConfigError, GhostdeskError, NotAllowed, NotFound, StoreError
from ghostdesk.kernel.ids import AppId, UserId
from ghostdesk.profiles.likely_modes import LikelyModes
from ghostdesk.profiles.location import ELSEWHERE, Place, cell_of, checked_name, match_place
from ghostdesk.profiles.modes import NO_MODE, Mode
from ghostdesk.store.personal import Deletion, Preparation
from ghostdesk.store.protocol import LaunchRecord
from ghostdesk.telemetry.consent import SOURCE_TEXTS, Consent
from ghostdesk.telemetry.events import EventKind, TelemetrySource, UsageEvent

log = logging.getLogger(__name__)
T = TypeVar("T")
COMMAND_LINE = "command-line"
"""The source of events that another process of ours wrote to the database for a person."""
_WAYS = (TelemetrySource.MODE, TelemetrySource.PLACE, TelemetrySource.FILES)
MOST_PLACES = 30
MOST_MODES = 30
MOST_CALENDARS = 10
_SLOT_S = 300.0
_TOLD_AGAIN_AFTER_S = 1800.0
_OVERLAP_S = 120.0
"""Changes that another process made are looked for this far back: its clock may differ, its transaction take long."""
_RELEARN_S = 17 * 7 * 86_400.0
_EVENTS_AT_ONCE = 500


class CalendarSecrets(Protocol):
    """Where passwords, secret addresses and handed-in texts of calendars are (see `SecretFiles`)."""

    def delete(self, user: UserId | None, calendar: str) -> None:
        """Remove all that is kept for a calendar."""
        ...

    def forget(self, user: UserId) -> None:
        """Remove all that is kept for a person."""
        ...


ReadCalendar = Callable[[UserId, str, str, float], None]
"""Stores the busy times of an iCalendar text: user, the calendar's name, the text, now; see `calendar_sync`."""


@dataclass
class Links:
    """What the personal part calls elsewhere; the control plane and the wiring fill it.

    Args:
        emit: takes a new event of a person, as the control plane does.
        forget: drops what the control plane itself caches of a person.
        app_names: names of applications.
        retell: has a person's desktop told which sources to collect.
        secrets: of calendars; None where there are none.
        read_calendar: None where calendars cannot be read here.
        discard_work: deletes what an interrupted training keeps of people's history.
        ways: what the engine learns of modes and places; None where the engine learns nothing of them.
    """

    emit: Callable[[UsageEvent], None] = lambda _event: None
    forget: Callable[[UserId], None] = lambda _user: None
    app_names: Callable[[], Mapping[AppId, str]] = dict
    retell: Callable[[UserId], Coroutine[Any, Any, None]] | None = None
    secrets: CalendarSecrets | None = None
    read_calendar: ReadCalendar | None = None
    discard_work: Callable[[], None] = lambda: None
    ways: LikelyModes | None = None


class Personal:
    """Implements `PersonalService`.

    Args:
        loop: whose model and caches forget.
        journal: the way to the database.
        clock: tells the time.
        sources: what the operator allows.
        timezone: IANA name of the zone in which habits are told.
    """

    def __init__(
        self,
        loop: ControlLoop,
        journal: Journal,
        clock: Clock,
        *,
        sources: Collection[TelemetrySource] = tuple(TelemetrySource),
        timezone: str = "UTC",
    ) -> None:
        self.book = ConsentBook(sources)
        self.file_names = FileNames(self.book, journal, clock)
        self.links = Links()
        self._loop = loop
        self._journal = journal
        self._clock = clock
        self._timezone = ZoneInfo(timezone)
        self._last: dict[tuple[UserId, EventKind], tuple[str, float]] = {}
        self._started_s = clock.now_s()
        self._read_s = float("-inf")

    # consents

    async def load(self) -> None:
        """Read everybody's choices and deletions; until they can be read, nothing that can be refused is recorded."""
        try:
            await self._read_changes()
        except StoreError as error:
            log.warning("consents cannot be read (%s); nothing is recorded of anybody until they can", error)
            self.book.known = False
            return
        await self.file_names.drop_refused()

    async def refresh(self) -> None:
        """Take over what another process (the command line) changed: choices and deletions."""
        changed = await self._read_changes()
        await self.file_names.drop_refused(changed)
        for user in changed:
            await self._retell(user)
            await self._tell_ways(user)

    async def follow_every(self, period_s: float) -> None:
        """Call `refresh` for ever."""
        while True:
            await self._clock.sleep(period_s)
            try:
                await self.refresh()
            except GhostdeskError as error:
                log.warning("changes of consents and deletions cannot be read: %s", error)
            except Exception:  # whatever a model raises when it forgets, the next change must still be heard
                log.exception("a change of consents or a deletion was not taken over whole")

    async def _read_changes(self) -> frozenset[UserId]:
        """Returns whose choices changed."""
        store, since_s, now_s = self._journal.store, self._read_s - _OVERLAP_S, self._clock.now_s()
        after_s = None if since_s == float("-inf") else since_s
        consents = await self._journal.run(lambda: store.consents(since_s=after_s))
        deletions = await self._journal.run(lambda: store.deletions(since_s=after_s))
        told: list[UsageEvent] = []
        if after_s is not None:  # what is older is in the history that the model learns from at a start
            kinds = (EventKind.PLACE, EventKind.MODE)
            told = await self._journal.run(lambda: list(store.events(since_s=after_s, kinds=kinds)))
        changed = self.book.put(consents)
        new = self.book.put_deletions(deletions)
        self.book.known, self._read_s = True, now_s
        for deletion in new:
            if deletion.time_s > self._started_s:  # what was deleted before is not in the history that we learn from
                self._forget(deletion)
        for event in told:
            self._hear(event)
        return changed

    def _hear(self, event: UsageEvent) -> None:
        """Learn once from what the command line wrote; it is stored already."""
        if event.source != COMMAND_LINE or event.user is None or not self.book.admits(event):
            return
        key = (event.user, event.kind)
        if event.time_s > max(self._started_s, self._last.get(key, ("", self._started_s))[1]):
            self._last[key] = (event.detail or "", event.time_s)
            self._loop.profiles.observe(event)
            self._loop.executor.spawn(self._tell_ways(event.user))  # it may be defined as lately

    def sources_of(self, user: UserId) -> frozenset[TelemetrySource]:
        """What may be recorded of this person."""
        return self.book.sources_of(user)

    async def set_consent(self, user: UserId, source: TelemetrySource, allowed: bool) -> None:
        """Switch a source on or off, from now on; raises `NotAllowed` for one that the operator does not allow."""
        if allowed and source not in self.book.operator:
            raise NotAllowed(f"{SOURCE_TEXTS[source].label} is switched off here for everyone.", "Ask your operator.")
        consent = Consent(user, source, allowed, self._clock.now_s())
        if not allowed:
            self.book.put([consent])  # at once, whatever the database does
            await self.file_names.drop_refused([user])
        await self._journal.run(lambda: self._journal.store.put_consent(consent))
        self.book.put([consent])
        if not allowed and source.value in (EventKind.PLACE.value, EventKind.MODE.value):
            self._last.pop((user, EventKind(source.value)), None)
        if source in _WAYS:
            await self._tell_ways(user)
        await self._retell(user)

    async def _retell(self, user: UserId) -> None:
        if self.links.retell is not None:
            await self.links.retell(user)

    async def _tell_ways(self, user: UserId) -> None:
        """Have the engine learn a person's modes and places anew, as far as they agree."""
        ways, store, sources = self.links.ways, self._journal.store, self.sources_of(user)
        if ways is None:
            return
        await self._journal.flush()
        now_s = self._clock.now_s()
        modes = await self._journal.run(lambda: store.modes(user) if TelemetrySource.MODE in sources else ())
        places = await self._journal.run(lambda: store.places(user) if TelemetrySource.PLACE in sources else ())
        events = await self._journal.run(lambda: read_events(store, user, sources, now_s) if modes or places else [])
        if sources == self.sources_of(user):  # a refusal that came meanwhile tells for itself
            ways.tell(user, modes, places, events, files=TelemetrySource.FILES in sources)

    def _need(self, user: UserId, source: TelemetrySource) -> None:
        if source not in self.sources_of(user):
            label = SOURCE_TEXTS[source].label
            mend = f"Switch {label} on first." if source in self.book.operator else "Ask your operator."
            raise NotAllowed(f"{label} is switched off for you.", mend)

    # what is stored

    async def data(self, user: UserId) -> PersonalData:
        """What is stored."""
        now_s = self._clock.now_s()
        curve = self._loop.curve_of(user)
        reasons = curve.reasons if curve is not None else ()
        here = await self._recent(user, EventKind.PLACE)
        chosen = await self._recent(user, EventKind.MODE)
        store, book, zone = self._journal.store, self.book, self._timezone
        await self._journal.flush()
        ways = self.links.ways
        if ways is None:
            ways = await self._journal.run(lambda: ways_of_store(store, zone.key, now_s, book.operator))
        likely = likely_of(ways, user, now_s)
        return await self._journal.run(
            lambda: personal_data(
                store, book, user, now_s, zone, here, chosen, reasons, likely, self.file_names.times_s(user)
            )
        )

    async def export(self, user: UserId) -> Iterator[str]:
        """Everything as one JSON text, in pieces. The iterator reads the database: exhaust it off the event loop."""
        await self._journal.flush()
        return export_pieces(self._journal.store, user, self._clock.now_s(), self.file_names.records(user))

    # forgetting

    async def delete(self, user: UserId, source: TelemetrySource | None) -> int:
        """Delete what came from one source, or everything, wherever it is; returns how many stored events went.

        Raises:
            StoreError: the database cannot be written. What was in memory is gone nevertheless.
        """
        store = self._journal.store
        deletion = Deletion(user, source, self._clock.now_s())
        self.book.put_deletions([deletion])
        waiting = self._journal.forget(user, source)
        secrets = self.links.secrets
        if source in (None, TelemetrySource.CALENDAR) and secrets is not None:
            await self._journal.run(lambda: secrets.forget(user))
        await self.file_names.forget(user, source)
        deleted = await self._journal.run(lambda: store.delete_personal_data(user, source, deletion.time_s))
        await self._journal.run(lambda: store.add_audit(deletion.time_s, user, "delete data", user, source or "all"))
        self._forget(deletion)
        return deleted + waiting

    def _forget(self, deletion: Deletion) -> None:
        """Drop it from memory, wherever the deletion was asked for."""
        user, source = deletion.user, deletion.source
        self._journal.forget(user, source, until_s=deletion.time_s)
        for key in [key for key in self._last if key[0] == user]:
            if source is None or key[1].value == source.value:
                del self._last[key]
        # what was written since another process deleted it
        self._loop.executor.spawn(self.file_names.forget(user, source))
        self.links.discard_work()
        self._loop.profiles.forget(user)
        self._loop.curves.pop(user, None)
        recent = self._loop.recent
        others = [entry for entry in recent if not self._about(entry[1].ghost, entry[1].event, user)]
        self._loop.recent = deque(others, recent.maxlen)
        self._loop.plan = replace(self._loop.plan, infeasible=())
        self.links.forget(user)
        self._release(user)
        self._loop.executor.spawn(self._relearn(user))

    def _about(self, ghost: str | None, event: GhostEvent, user: UserId) -> bool:
        owned = any(g.ghost == ghost and g.owner == user for g in self._loop.manager)
        return owned or getattr(event, "user", None) == user

    def _release(self, user: UserId) -> None:
        """Destroy what was prepared for the person; a desktop in use is theirs and stays."""
        for ghost in self._loop.manager:
            if ghost.owner == user and ghost.state not in (GhostState.ACTIVE, GhostState.DRAINING):
                event = ReleaseRequested("its user deleted what it was prepared from")
                self._loop.executor.spawn(self._loop.executor.carry_out(ghost.ghost, event))

    async def _relearn(self, user: UserId) -> None:
        """After one source was deleted, the others still tell of the person; after everything, nothing does."""
        store, since_s = self._journal.store, self._clock.now_s() - _RELEARN_S
        left = await self._journal.run(lambda: list(store.events(user=user, since_s=since_s)))
        for start in range(0, len(left), _EVENTS_AT_ONCE):
            for event in left[start : start + _EVENTS_AT_ONCE]:
                if self.book.keeps(user, None, event.time_s):
                    self._loop.profiles.observe(event)
            await asyncio.sleep(0)
        await self._tell_ways(user)

    # why something was prepared

    def note_preparation(self, ghost: Ghost, event: GhostEvent) -> None:
        """Remember why something was prepared for the ghost's owner, if this event prepares anything."""
        if ghost.owner is None or not isinstance(event, BindRequested | WarmRequested):
            return
        what = "a desktop"
        if isinstance(event, WarmRequested) and event.apps:
            names = self.links.app_names()
            what = ", ".join(names.get(app, app) for app in event.apps)
        self.note_prepared(ghost.owner, what, event.reason)

    def note_prepared(self, user: UserId, what: str, reason: str) -> None:
        """Remember that something was prepared for a person, and why."""
        self._loop.executor.spawn(self._note(Preparation(self._clock.now_s(), user, what, reason)))

    async def _note(self, preparation: Preparation) -> None:
        if self.book.keeps(preparation.user, None, preparation.time_s):
            await self._journal.quietly(lambda: self._journal.store.add_preparation(preparation))

    def keeps_launch(self, record: LaunchRecord) -> bool:
        """Whether it may be remembered how this launch was served: it names an application, a sign-in does not."""
        source = None if record.what == "desktop" else TelemetrySource.APPLICATIONS
        return self.book.keeps(record.user, source, record.time_s)

    # places

    async def put_place(self, user: UserId, name: str, kind: str, position: tuple[float, float] | None) -> None:
        """Name a place; `position` is latitude and longitude in degrees, kept as a coarse cell."""
        self._need(user, TelemetrySource.PLACE)
        place = Place(name, kind, None if position is None else cell_of(*position))
        store = self._journal.store
        known = await self._journal.run(lambda: store.places(user))
        _need_room([p.name for p in known], name, MOST_PLACES, "places")
        await self._journal.run(lambda: store.put_place(user, place))
        await self._tell_ways(user)

    async def delete_place(self, user: UserId, name: str) -> None:
        """Remove a place and all records of having been there."""
        store = self._journal.store
        await self._delete_named(user, EventKind.PLACE, name, lambda: store.delete_place(user, name))

    async def go_to(self, user: UserId, name: str) -> str:
        """The person says where they are; returns the place."""
        self._need(user, TelemetrySource.PLACE)
        places = await self._journal.run(lambda: self._journal.store.places(user))
        if name not in {place.name for place in places}:
            raise NotFound(f"You have no place {name!r}.", "Name it first.")
        await self._choose(user, EventKind.PLACE, name)
        return name

    async def locate(self, user: UserId, latitude: float, longitude: float) -> str | None:
        """The browser says where they are; returns the place, or None when no place is defined."""
        self._need(user, TelemetrySource.PLACE)
        cell = cell_of(latitude, longitude)
        places = await self._journal.run(lambda: self._journal.store.places(user))
        if not places:
            return None
        found = match_place(places, cell)
        name = ELSEWHERE if found is None else found.name
        await self._choose(user, EventKind.PLACE, name)
        return name

    # modes

    async def put_mode(self, user: UserId, mode: Mode) -> None:
        """Define a mode."""
        self._need(user, TelemetrySource.MODE)
        store = self._journal.store
        known = await self._journal.run(lambda: store.modes(user))
        _need_room([m.name for m in known], mode.name, MOST_MODES, "modes")
        await self._journal.run(lambda: store.put_mode(user, mode))
        await self._tell_ways(user)

    async def delete_mode(self, user: UserId, name: str) -> None:
        """Remove a mode and all records of its choice."""
        store = self._journal.store
        await self._delete_named(user, EventKind.MODE, name, lambda: store.delete_mode(user, name))

    async def choose_mode(self, user: UserId, name: str | None) -> None:
        """Choose a mode, or leave the one chosen."""
        self._need(user, TelemetrySource.MODE)
        if name is not None:
            modes = await self._journal.run(lambda: self._journal.store.modes(user))
            if name not in {mode.name for mode in modes}:
                raise NotFound(f"You have no mode {name!r}.", "Define it first.")
        await self._choose(user, EventKind.MODE, NO_MODE if name is None else name)

    async def _choose(self, user: UserId, kind: EventKind, name: str) -> None:
        """Tell of it when it changed, or was told long ago: a page that says the same every minute adds nothing."""
        now_s = self._clock.now_s()
        last = self._last.get((user, kind))
        if last is not None and last[0] == name and now_s - last[1] < _TOLD_AGAIN_AFTER_S:
            return
        self._last[user, kind] = (name, now_s)
        self.links.emit(UsageEvent(now_s, kind, user, detail=name, source="control"))

    async def _recent(self, user: UserId, kind: EventKind) -> str | None:
        last = self._last.get((user, kind))
        if last is not None:
            return last[0]
        store, now_s = self._journal.store, self._clock.now_s()
        return await self._journal.run(lambda: recent_detail(store, user, kind, now_s))

    async def _delete_named(self, user: UserId, kind: EventKind, name: str, delete: Callable[[], bool]) -> None:
        self._journal.forget_detail(user, kind, name)
        if self._last.get((user, kind), ("", 0.0))[0] == name:
            del self._last[user, kind]
        if not await self._journal.run(delete):
            raise NotFound(f"You have no {kind.value} {name!r}.", "It may have been deleted already.")
        self._loop.profiles.forget(user)
        self._loop.executor.spawn(self._relearn(user))

    # calendars

    async def put_calendar(self, user: UserId, name: str, text: str) -> None:
        """Hand in an iCalendar text; only times are kept."""
        self._need(user, TelemetrySource.CALENDAR)
        checked_name(name)
        read = self.links.read_calendar
        if read is None:
            raise NotAllowed("Calendars cannot be read here.", "Ask your operator.")
        store, now_s = self._journal.store, self._clock.now_s()
        known = await self._journal.run(lambda: store.calendars(user))
        _need_room([calendar.name for calendar in known], name, MOST_CALENDARS, "calendars")
        await asyncio.to_thread(read, user, name, text, now_s)

    async def delete_calendar(self, user: UserId, name: str) -> None:
        """Remove a calendar, its entries and its secrets."""
        secrets = self.links.secrets
        if secrets is not None:
            await self._journal.run(lambda: secrets.delete(user, name))
        if not await self._journal.run(lambda: self._journal.store.delete_calendar(user, name)):
            raise NotFound(f"You have no calendar {name!r}.", "It may have been deleted already.")

    # the forecast

    async def usage_curve(self, user: UserId, horizon_s: float) -> CurveView:
        """The person's forecast from now on."""
        curve = self._loop.profiles.usage_curve(user, self._clock.now_s(), horizon_s, _SLOT_S)
        return curve_view(curve, self.links.app_names())


def _need_room(known: Collection[str], name: str, most: int, what: str) -> None:
    if name not in known and len(known) >= most:
        raise ConfigError(f"You have {most} {what} already.", "Delete one first.")
