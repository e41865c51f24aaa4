"""Users' likely files beside their ghosts: who teaches, when files are loaded, and what is forgotten."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC
from pathlib import Path

import pytest
from control_world import START_S, World

from ghostdesk.control.user_files import Links, UserFiles
from ghostdesk.engines.protocol import HomeLoad, HomeLoaded
from ghostdesk.kernel.ids import AppId, GhostId, UserId
from ghostdesk.prefetch.choose_files import FileBudget
from ghostdesk.prefetch.file_history import FileEvent, FileOpened, FileRemoved, FileRenamed
from ghostdesk.store.file_histories import FileHistories
from ghostdesk.telemetry.consent import Consent
from ghostdesk.telemetry.events import EventKind, TelemetrySource, UsageEvent

ADA, BOB, WRITER = UserId("ada"), UserId("bob"), AppId("writer")
FILES = TelemetrySource.FILES
DAY_S = 86_400.0


@dataclass
class FakeHomes:
    """Homes in memory: sizes of files by path, and what applications did."""

    sizes: dict[str, int] = field(default_factory=dict)
    happened: list[tuple[UserId, FileEvent]] = field(default_factory=list)
    watched: dict[UserId, GhostId] = field(default_factory=dict)
    loads: list[HomeLoad] = field(default_factory=list)
    stopped: str = ""
    forgotten: list[UserId] = field(default_factory=list)

    def watch(self, ghost: GhostId, user: UserId) -> str:
        self.watched[user] = ghost
        return ""

    def unwatch(self, user: UserId) -> None:
        self.watched.pop(user, None)

    def forget(self, user: UserId) -> None:
        self.forgotten.append(user)

    def events(self, now_s: float) -> Sequence[tuple[UserId, FileEvent]]:
        found, self.happened = self.happened, []
        return found

    async def load(self, wish: HomeLoad) -> HomeLoaded:
        self.loads.append(wish)
        there = [(path, self.sizes[path]) for path in wish.files if path in self.sizes]
        gone = [(path, "deleted") for path in wish.files if path not in self.sizes]
        return HomeLoaded([] if self.stopped else there, gone, 0.1, self.stopped)


@dataclass
class Setting:
    world: World
    homes: FakeHomes
    files: UserFiles
    histories: FileHistories

    async def opens(self, *paths: str, user: UserId = ADA) -> None:
        now_s = self.world.clock.now_s()
        self.homes.happened += [(user, FileOpened(now_s, WRITER, path, 10)) for path in paths]
        await self.files.look()

    async def claim(self, user: UserId = ADA) -> None:
        await self.world.clock.run(self.world.loop.sign_in(user))
        await self.settled()

    async def later(self, wait_s: float) -> None:
        await self.world.clock.run_until(self.world.clock.now_s() + wait_s)

    async def settled(self) -> None:
        await self.files.settle()

    def known(self, user: UserId = ADA) -> list[str]:
        return [one.path for one in self.histories.load(user, self.world.clock.now_s()).opens]


@pytest.fixture
async def setting(tmp_path: Path) -> Setting:
    world, homes = World(tmp_path, floor=2), FakeHomes({"letter": 10, "plan": 10})
    histories = FileHistories(tmp_path / "file-history")
    files = UserFiles(homes, histories, world.clock, UTC, FileBudget())
    personal = world.plane.personal
    files.links = Links(personal.book.keeps, note=personal.note_prepared)
    personal.file_names.kept = files
    world.executor.listeners.append(files.on_change)
    world.plane.heard.append(files.on_event)
    world.plane.is_echo = files.is_echo
    await world.pass_time(30.0)
    return Setting(world, homes, files, histories)


@pytest.fixture(autouse=True)
def closed(setting: Setting) -> Iterator[None]:
    yield
    setting.world.close()


async def taught(setting: Setting, *paths: str) -> None:
    """A history of some days, from an earlier life of the control plane."""
    events = [FileOpened(START_S - day * DAY_S, WRITER, path, 10) for day in range(9, 0, -1) for path in paths]
    setting.histories.append(ADA, events)


async def test_only_a_claimed_desktop_teaches(setting: Setting) -> None:
    await setting.opens("letter")
    assert setting.known() == []
    await setting.claim()
    assert set(setting.homes.watched) == {ADA}
    await setting.opens("letter")
    await setting.opens("plan", user=BOB)
    assert setting.known() == ["letter"]
    assert setting.known(BOB) == []


async def test_likely_files_are_loaded_when_the_desktop_is_claimed_and_the_person_can_see_why(setting: Setting) -> None:
    await taught(setting, "letter")
    await setting.claim()
    (wish,) = setting.homes.loads
    assert (wish.user, list(wish.files)) == (ADA, ["letter"])
    data = await setting.world.plane.personal.data(ADA)
    assert "one of your files" in [one.what for one in data.prepared]
    assert "letter" not in json.dumps([(one.what, one.reason) for one in data.prepared])
    await setting.opens("letter", "plan")
    assert (setting.files.tally.opens, setting.files.tally.hits) == (2, 1)


async def test_they_are_loaded_while_the_ghost_waits_for_its_person(setting: Setting) -> None:
    await taught(setting, "letter")
    await setting.world.clock.run(setting.world.loop.prepare(ADA))
    await setting.settled()
    assert [list(wish.files) for wish in setting.homes.loads] == [["letter"]]
    assert setting.homes.watched == {}  # nobody is there whose openings would tell anything
    await setting.claim()
    assert len(setting.homes.loads) == 1  # they are there already
    assert set(setting.homes.watched) == {ADA}


async def test_an_application_that_starts_has_its_files_loaded(setting: Setting) -> None:
    await setting.claim()
    await setting.opens("letter")
    await setting.later(DAY_S)
    launch = UsageEvent(setting.world.clock.now_s(), EventKind.APP_LAUNCH, ADA, WRITER)
    setting.world.plane.on_user_event(launch)
    await setting.settled()
    assert [list(wish.files) for wish in setting.homes.loads] == [["letter"]]


async def test_our_own_openings_are_not_reported_as_the_persons(setting: Setting) -> None:
    await taught(setting, "letter")
    await setting.claim()
    (ghost,) = setting.homes.watched.values()
    for wait_s in (1.0, 30.0):
        await setting.later(wait_s)
        event = UsageEvent(setting.world.clock.now_s(), EventKind.FILE_OPENED, detail="text/plain")
        setting.world.plane.on_usage(ghost, event)
    await setting.world.journal.flush()
    kinds = [one.time_s for one in setting.world.store.events(user=ADA) if one.kind is EventKind.FILE_OPENED]
    assert kinds == [setting.world.clock.now_s()]


async def test_renaming_and_removal_are_followed_and_of_unknown_files_not_written(setting: Setting) -> None:
    await setting.claim()
    await setting.opens("letter", "plan")
    setting.homes.happened += [
        (ADA, FileRenamed(START_S, "letter", "poem")),
        (ADA, FileRenamed(START_S, "telltale", "telltale-2")),
        (ADA, FileRemoved(START_S, "plan")),
        (ADA, FileRemoved(START_S, "telltale-3")),
    ]
    await setting.files.look()
    assert setting.known() == ["poem"]
    assert b"telltale" not in (setting.world.folder / "file-history/ada.jsonl").read_bytes()


async def test_files_that_are_gone_are_not_asked_for_again(setting: Setting) -> None:
    await taught(setting, "gone", "letter")
    await setting.claim()
    await setting.later(600.0)
    launch = UsageEvent(setting.world.clock.now_s(), EventKind.APP_LAUNCH, ADA, WRITER)
    setting.world.plane.on_user_event(launch)
    await setting.settled()
    assert sum("gone" in wish.files for wish in setting.homes.loads) == 1


async def test_a_refusal_stops_it_and_deletes_what_was_kept(setting: Setting) -> None:
    await setting.claim()
    await setting.opens("telltale")
    await setting.world.plane.personal.set_consent(ADA, FILES, False)
    await setting.opens("telltale-2")
    assert not (setting.world.folder / "file-history/ada.jsonl").exists()
    assert setting.homes.watched == {}  # a source that is off does not even look
    await setting.world.plane.personal.set_consent(ADA, FILES, True)
    await setting.opens("letter")
    assert setting.known() == ["letter"]


async def test_a_refusal_from_the_command_line_and_one_from_before_the_start_delete_too(setting: Setting) -> None:
    personal = setting.world.plane.personal
    await personal.load()
    for user in (ADA, BOB):
        setting.histories.append(user, [FileOpened(START_S, WRITER, "telltale", 1)])
    setting.world.store.put_consent(Consent(ADA, FILES, False, setting.world.clock.now_s()))
    await personal.refresh()
    assert setting.histories.users() == (BOB,)
    setting.histories.append(ADA, [FileOpened(START_S, WRITER, "telltale", 1)])
    await personal.load()
    assert setting.histories.users() == (BOB,)


async def test_while_the_choices_are_not_known_nothing_is_recorded_and_nothing_deleted(setting: Setting) -> None:
    await setting.claim()
    await setting.opens("letter")
    setting.world.plane.personal.book.known = False
    await setting.opens("plan")
    await setting.world.plane.personal.file_names.drop_refused()
    assert setting.known() == ["letter"]


@pytest.mark.parametrize("source", [None, FILES])
async def test_deletion_leaves_no_byte_and_the_model_forgets(setting: Setting, source: TelemetrySource | None) -> None:
    await taught(setting, "telltale")
    await setting.claim()
    await setting.opens("telltale-2")
    await setting.world.plane.personal.delete(ADA, source)
    await setting.world.clock.run(setting.world.executor.settle())
    left = b"".join(path.read_bytes() for path in setting.world.folder.rglob("*") if path.is_file())
    assert b"telltale" not in left
    assert ADA in setting.homes.forgotten
    await setting.later(DAY_S)
    setting.homes.loads.clear()
    setting.world.plane.on_user_event(UsageEvent(setting.world.clock.now_s(), EventKind.APP_LAUNCH, ADA, WRITER))
    await setting.settled()
    assert setting.homes.loads == []


async def test_deleting_another_source_keeps_them(setting: Setting) -> None:
    await setting.claim()
    await setting.opens("letter")
    await setting.world.plane.personal.delete(ADA, TelemetrySource.CAMERA)
    assert setting.known() == ["letter"]


async def test_what_is_kept_can_be_seen_and_taken_along(setting: Setting) -> None:
    await setting.claim()
    await setting.opens("letter")
    personal = setting.world.plane.personal
    exported = json.loads("".join(await personal.export(ADA)))
    assert [one["path"] for one in exported["files_opened"]] == ["letter"]
    (consent,) = [one for one in (await personal.data(ADA)).consents if one.source == "files"]
    assert (consent.events, consent.first_s) == (1, exported["files_opened"][0]["time_s"])


async def test_a_disk_that_cannot_be_written_stops_nothing(setting: Setting) -> None:
    (setting.world.folder / "file-history").write_text("in the way")
    await setting.claim()
    await setting.opens("letter")
    assert setting.files.tally.opens == 1


async def test_little_memory_means_little_is_loaded(setting: Setting) -> None:
    await taught(setting, "letter", "plan")
    setting.files.links.spare_bytes = lambda: 15.0
    await setting.claim()
    (wish,) = setting.homes.loads
    assert (len(wish.files), wish.most_bytes) == (1, 15.0)


async def test_what_pressure_held_back_is_loaded_when_it_is_over(setting: Setting) -> None:
    await taught(setting, "letter")
    setting.files.links.spare_bytes = lambda: 0.0
    await setting.claim()
    await setting.files.look()
    await setting.settled()
    assert setting.homes.loads == []
    setting.files.links.spare_bytes = lambda: 1e9
    for _ in range(3):
        await setting.files.look()
        await setting.settled()
    assert [list(wish.files) for wish in setting.homes.loads] == [["letter"]]


async def test_desktops_that_ran_before_are_taken_over_and_those_that_end_are_left(setting: Setting) -> None:
    await taught(setting, "letter")
    await setting.claim()
    setting.homes.watched.clear()
    later = UserFiles(setting.homes, setting.histories, setting.world.clock, UTC, FileBudget())
    later.links = setting.files.links
    later.resume(setting.world.manager)
    await later.settle()
    assert set(setting.homes.watched) == {ADA}
    await setting.world.clock.run(setting.world.loop.end_session(ADA, "done"))
    await setting.settled()
    assert setting.homes.watched == {}


async def test_without_an_engine_that_knows_homes_what_is_kept_can_still_be_deleted(setting: Setting) -> None:
    files = UserFiles(None, setting.histories, setting.world.clock, UTC, FileBudget())
    await taught(setting, "letter")
    await files.look()
    files.forget(ADA)
    assert setting.known() == []
