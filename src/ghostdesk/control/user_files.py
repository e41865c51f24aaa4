"""Users' likely files, loaded beside their ghosts: what they open is learnt, and read ahead when they are expected.

While a person's desktop is theirs (claimed), the engine tells what their applications open; names are written to a
private file of the host (`store.file_histories`), under their consent for files. When a ghost is bound to a person or
warmed for them, when they claim it, and when they start an application, the files that they are likely to open are
loaded, within a budget.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import tzinfo
from typing import Any, Protocol

from ghostdesk.control.service import FilesView
from ghostdesk.engines.protocol import HomeFiles, HomeLoad, HomeLoaded
from ghostdesk.ghosts.commands import Outcome
from ghostdesk.ghosts.events import Done, GhostEvent
from ghostdesk.ghosts.ghost import Ghost, GhostState
from ghostdesk.ghosts.lifecycle import Step
from ghostdesk.kernel.clock import Clock
from ghostdesk.kernel.errors import StoreError
from ghostdesk.kernel.ids import AppId, UserId
from ghostdesk.prefetch.choose_files import FileBudget, FileChoice, choose_files
from ghostdesk.prefetch.file_history import FileEvent, FileHistory, FileOpened, FileRemoved
from ghostdesk.prefetch.next_files import NextFiles
from ghostdesk.telemetry.events import EventKind, TelemetrySource, UsageEvent

log = logging.getLogger(__name__)
LOOK_EVERY_S = 2.0
_ECHO_S = 5.0
_AGAIN_AFTER_S = 120.0
_THERE = (GhostState.READY, GhostState.WARM, GhostState.ACTIVE)


class Histories(Protocol):
    """Where names of opened files are kept (`store.file_histories.FileHistories`). Raises `StoreError`."""

    def load(self, user: UserId, now_s: float) -> FileHistory:
        """What is known of a person."""
        ...

    def append(self, user: UserId, events: Sequence[FileEvent]) -> None:
        """Add what happened."""
        ...

    def forget(self, user: UserId) -> None:
        """Remove all of a person."""
        ...

    def keep_only(self, allowed: Callable[[UserId], bool]) -> tuple[UserId, ...]:
        """Remove what is kept of all others."""
        ...

    def records(self, user: UserId, now_s: float) -> Iterator[dict[str, Any]]:
        """For a person's export."""
        ...


@dataclass
class Links:
    """What is called elsewhere; the wiring fills it.

    Args:
        keeps: whether something of that source and time may be kept of the person (`ConsentBook.keeps`).
        chances: how likely the person uses each application next; empty where nothing is known.
        spare_bytes: memory that may be filled with files now; 0 while the host is under pressure.
        note: remembers, for the person to see, what was prepared and why; it names no file.
    """

    keeps: Callable[[UserId, TelemetrySource | None, float], bool] = lambda _user, _source, _time_s: True
    chances: Callable[[UserId], Mapping[AppId, float]] = lambda _user: {}
    spare_bytes: Callable[[], float] = lambda: float("inf")
    note: Callable[[UserId, str, str], None] = lambda _user, _what, _why: None


@dataclass
class _Person:
    """A person whose desktop is here."""

    ghost: Ghost
    model: NextFiles
    loaded: dict[str, int]
    session: set[str]
    asked_s: dict[AppId | None, float]
    lock: asyncio.Lock
    watched: bool = False


class UserFiles:
    """Implements `personal_files.PrivateFiles`.

    Args:
        engine_files: the engine's part; None where it has none: then only what is kept can be read and deleted.
        histories: where names are kept.
        clock: tells the time.
        zone: of people's clocks.
        budget: of one person and desktop.
    """

    def __init__(
        self, engine_files: HomeFiles | None, histories: Histories, clock: Clock, zone: tzinfo, budget: FileBudget
    ) -> None:
        self.links = Links()
        self.tally = FilesView()
        self._files, self._histories, self._clock = engine_files, histories, clock
        self._zone, self._budget = zone, budget
        self._people: dict[UserId, _Person] = {}
        self._echoes: dict[UserId, float] = {}
        self._lock = threading.Lock()
        self._forgotten: dict[UserId, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    # what the control plane tells

    def on_change(self, step: Step, event: GhostEvent, _outcomes: Sequence[Outcome]) -> None:
        """A ghost changed: bound or warmed for somebody, claimed, or gone."""
        ghost = step.ghost
        owner = ghost.owner
        if owner is None or self._files is None:
            return
        if ghost.state is GhostState.DRAINING:
            self._leave(owner, ghost)
        elif ghost.state in _THERE and isinstance(event, Done) and event.what in ("bind", "warm", "claim"):
            self._spawn(self._arrive(owner, ghost))

    def resume(self, ghosts: Iterable[Ghost]) -> None:
        """Take over desktops that ran before this control plane did."""
        for ghost in ghosts:
            if ghost.owner is not None and ghost.state in _THERE and self._files is not None:
                self._spawn(self._arrive(ghost.owner, ghost))

    def on_event(self, event: UsageEvent) -> None:
        """A person started an application: its likely files are loaded while it starts."""
        if event.kind is EventKind.APP_LAUNCH and event.user in self._people and event.app is not None:
            self._spawn(self._load(event.user, event.app))

    def is_echo(self, event: UsageEvent) -> bool:
        """Whether an agent reports a file as opened that we opened ourselves a moment ago."""
        if event.kind is not EventKind.FILE_OPENED or event.user is None:
            return False
        return event.time_s <= self._echoes.get(event.user, float("-inf"))

    async def settle(self) -> None:
        """Wait for everything that was begun."""
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def cancel(self) -> None:
        """Give up what is under way (at a stop)."""
        for task in self._tasks:
            task.cancel()

    async def follow_every(self, period_s: float = LOOK_EVERY_S) -> None:
        """Look for ever what people opened."""
        while True:
            await self._clock.sleep(period_s)
            try:
                await self.look()
            except Exception:  # a forecast that fails must not end the learning
                log.exception("what people open could not be learnt")

    async def look(self) -> None:
        """Learn what people opened since the last look, as far as they agree."""
        if self._files is None:
            return
        await self._watch_those_who_agree()
        for user, waiting in list(self._people.items()):
            if None not in waiting.asked_s and not waiting.lock.locked():  # there was no room for it before
                self._spawn(self._load(user, None))
        fresh: dict[UserId, list[FileEvent]] = {}
        marks = dict(self._forgotten)  # from before anything is heard: what is forgotten meanwhile is not written
        for user, event in await asyncio.to_thread(self._files.events, self._clock.now_s()):
            person = self._people.get(user)
            if person is None or person.ghost.state is not GhostState.ACTIVE:
                continue
            if not self.links.keeps(user, TelemetrySource.FILES, event.time_s):
                continue
            if isinstance(event, FileOpened):
                self._score(person, event)
            elif not person.model.knows(event.path):
                continue  # names of files that nobody opened are nobody's business
            person.model.apply(event)
            fresh.setdefault(user, []).append(event)
        for user, events in fresh.items():
            try:
                await asyncio.to_thread(self._append, user, events, marks.get(user, 0))
            except StoreError as error:
                log.warning("what somebody opened is not kept: %s", error)

    # what the person may see, take along and delete: see PrivateFiles

    def forget(self, user: UserId) -> None:
        """Remove all that is kept of a person, in memory and on disk. From any thread."""
        with self._lock:
            self._forgotten[user] = self._forgotten.get(user, 0) + 1
            person = self._people.get(user)
            if person is not None:
                person.model, person.loaded, person.session = NextFiles(self._zone), {}, set()
            self._histories.forget(user)
        if self._files is not None:
            self._files.forget(user)

    def keep_only(self, allowed: Callable[[UserId], bool]) -> tuple[UserId, ...]:
        """Remove what is kept of all others; returns whose went."""
        gone = self._histories.keep_only(allowed)
        for user in (*gone, *(user for user in list(self._people) if not allowed(user))):
            self.forget(user)
        return gone

    def records(self, user: UserId, now_s: float) -> Iterator[dict[str, Any]]:
        """See `Histories.records`."""
        return self._histories.records(user, now_s)

    # Inside.

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("loading a person's files failed: %s", error, exc_info=error)

    async def _arrive(self, user: UserId, ghost: Ghost) -> None:
        """A ghost is a person's: learn what is known of them, watch if it is in use, and load."""
        person = self._people.get(user)
        if person is None or person.ghost.ghost != ghost.ghost:
            mark = self._forgotten.get(user, 0)
            model = await asyncio.to_thread(self._learnt, user)
            if mark != self._forgotten.get(user, 0):
                model = NextFiles(self._zone)
            person = self._people[user] = _Person(ghost, model, {}, set(), {}, asyncio.Lock())
        person.ghost = ghost
        await self._watch_those_who_agree()
        await self._load(user, None)

    async def _watch_those_who_agree(self) -> None:
        """Desktops in use whose owners agree are watched, and no others: a source that is off does not even look."""
        files, now_s = self._files, self._clock.now_s()
        if files is None:
            return
        for user, person in list(self._people.items()):
            active = person.ghost.state is GhostState.ACTIVE
            wanted = active and self.links.keeps(user, TelemetrySource.FILES, now_s)
            if wanted == person.watched:
                continue
            person.watched = wanted
            if not wanted:
                await asyncio.to_thread(files.unwatch, user)
            elif problem := await asyncio.to_thread(files.watch, person.ghost.ghost, user):
                log.info("what is opened in %s is not learnt: %s", person.ghost.ghost, problem)

    def _learnt(self, user: UserId) -> NextFiles:
        try:
            model = NextFiles.of(self._histories.load(user, self._clock.now_s()), self._zone)
        except StoreError as error:
            log.warning("what somebody opened before is not known: %s", error)
            return NextFiles(self._zone)
        model.end_session()
        return model

    def _leave(self, user: UserId, ghost: Ghost) -> None:
        person = self._people.get(user)
        if person is not None and person.ghost.ghost == ghost.ghost:
            del self._people[user]
            self._echoes.pop(user, None)
            if self._files is not None:
                files = self._files
                self._spawn(asyncio.to_thread(files.unwatch, user))

    async def _load(self, user: UserId, app: AppId | None) -> None:
        person = self._people.get(user)
        if person is not None:
            async with person.lock:
                await self._load_alone(user, person, app)

    async def _load_alone(self, user: UserId, person: _Person, app: AppId | None) -> None:
        now_s = self._clock.now_s()
        if self._files is None or self._people.get(user) is not person:
            return
        if now_s - person.asked_s.get(app, float("-inf")) < _AGAIN_AFTER_S:
            return
        if not self.links.keeps(user, TelemetrySource.FILES, now_s) or self.links.spare_bytes() <= 0:
            return
        person.asked_s[app] = now_s
        choice = self._chosen(person, user, app, now_s)
        if not choice.files:
            return
        self._echoes[user] = float("inf")
        largest = self._budget.largest_bytes
        paths = [one.path for one in choice.files]
        wish = HomeLoad(person.ghost.ghost, user, paths, self._left_bytes(person), largest)
        try:
            loaded = await self._files.load(wish)
        finally:
            self._echoes[user] = self._clock.now_s() + _ECHO_S
        self._took(person, user, loaded, choice)

    def _chosen(self, person: _Person, user: UserId, app: AppId | None, now_s: float) -> FileChoice:
        """The likely files that are not there yet, within what is left of the budget and of the memory."""
        likely = person.model.likely(now_s, app, self.links.chances(user))
        new = [one for one in likely if one.path not in person.loaded]
        return choose_files(new, self._budget.within(self._left_bytes(person)))

    def _left_bytes(self, person: _Person) -> float:
        left_bytes = self._budget.most_bytes - sum(person.loaded.values())
        return max(min(left_bytes, self.links.spare_bytes()), 0.0)

    def _took(self, person: _Person, user: UserId, loaded: HomeLoaded, choice: FileChoice) -> None:
        person.loaded.update(loaded.files)
        size_bytes = sum(size for _, size in loaded.files)
        self._count(loads=1, files=len(loaded.files), loaded_bytes=size_bytes)
        gone = {path for path, reason in loaded.skipped if reason == "deleted"}
        for path in gone:
            person.model.apply(FileRemoved(self._clock.now_s(), path))
        if loaded.files:
            names = {path for path, _ in loaded.files}
            reasons = dict.fromkeys(one.text.split(",")[0] for one in choice.files if one.path in names)
            count = len(loaded.files)
            self.links.note(user, f"{count} of your files" if count > 1 else "one of your files", ", ".join(reasons))
        counts: dict[str, int] = {}
        for _, reason in loaded.skipped:
            counts[reason] = counts.get(reason, 0) + 1
        log.info(
            "%d files (%d bytes) are at hand for %s%s%s", len(loaded.files), size_bytes,
            person.ghost.ghost, f"; left out: {counts}" if counts else "",
            f"; stopped: {loaded.stopped}" if loaded.stopped else "",
        )  # fmt: skip

    def _score(self, person: _Person, event: FileOpened) -> None:
        if event.path not in person.session:
            person.session.add(event.path)
            self._count(opens=1, hits=int(event.path in person.loaded))

    def _count(self, **more: int) -> None:
        self.tally = replace(self.tally, **{name: getattr(self.tally, name) + count for name, count in more.items()})

    def _append(self, user: UserId, events: Sequence[FileEvent], mark: int) -> None:
        """Write, unless the person was forgotten since the events were heard."""
        with self._lock:
            if self._forgotten.get(user, 0) == mark:
                self._histories.append(user, events)
