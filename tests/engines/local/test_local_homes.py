"""Homes are never lost, wherever a crash falls."""

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ghostdesk.engines.local.homes import Homes, change_owner, make_home
from ghostdesk.engines.local.records import GhostRecord, Records
from ghostdesk.kernel.errors import Conflict, EngineError, GhostdeskError
from ghostdesk.kernel.ids import GhostId, UserId

ME = os.geteuid()


class Crash(BaseException):
    """The control plane dies here."""


@pytest.fixture
def records(tmp_path: Path) -> Records:
    return make_records(tmp_path)


def make_records(folder: Path) -> Records:
    records = Records(folder / "state", folder / "run")
    for path in (records.ghosts_dir, records.homes_dir, records.run_dir):
        path.mkdir(parents=True)
    return records


def ghost(records: Records, name: str) -> GhostRecord:
    """A ghost without processes: its record and its slot with a generic home."""
    paths = records.paths(GhostId(name))
    paths.slot.mkdir(parents=True)
    record = GhostRecord(GhostId(name), "plain", "isolated", uid=ME)
    records.write(record)
    make_home(paths.home, ME)
    return record


def test_a_home_moves_in_and_back(records: Records) -> None:
    homes = Homes(records, idmap=False)
    record = homes.attach(ghost(records, "g1"), UserId("alice"), [])
    slot = records.paths(record.ghost)
    assert not homes.path(UserId("alice")).exists()
    (slot.home / "thesis").write_text("precious")
    assert homes.attach(record, UserId("alice"), []) == record
    homes.give_back(record)
    homes.give_back(record)
    assert (homes.path(UserId("alice")) / "thesis").read_text() == "precious"


def test_a_second_user_and_a_second_place_are_refused(records: Records) -> None:
    homes = Homes(records, idmap=False)
    record = homes.attach(ghost(records, "g1"), UserId("alice"), [])
    with pytest.raises(Conflict):
        homes.attach(record, UserId("bob"), [])
    with pytest.raises(EngineError, match="is in ghost g1"):
        homes.attach(ghost(records, "g2"), UserId("alice"), [record])
    assert not homes.path(UserId("alice")).exists(), "no empty home may take the place of the real one"


def test_what_the_user_moved_about_in_the_slot_is_kept(records: Records) -> None:
    homes = Homes(records, idmap=False)
    record = homes.attach(ghost(records, "g1"), UserId("alice"), [])
    paths = records.paths(record.ghost)
    (paths.home / "thesis").write_text("precious")
    paths.home.rename(paths.slot / "elsewhere")
    (paths.slot / "user").mkdir()
    (paths.slot / "user" / "new").write_text("also precious")
    homes.give_back(record)
    assert (homes.path(UserId("alice")) / "thesis").read_text() == "precious"
    assert [path.read_text() for path in records.rescued_dir.rglob("new")] == ["also precious"]


def test_a_link_in_place_of_a_home_is_not_followed(records: Records, tmp_path: Path) -> None:
    homes = Homes(records, idmap=False)
    record = homes.attach(ghost(records, "g1"), UserId("alice"), [])
    paths = records.paths(record.ghost)
    paths.home.rename(paths.slot / "real")
    paths.home.symlink_to(tmp_path)
    homes.give_back(record)
    assert not homes.path(UserId("alice")).is_symlink()
    assert homes.path(UserId("alice")).is_dir()


def test_a_home_is_made_complete_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*_: object) -> None:
        raise Crash

    monkeypatch.setattr("ghostdesk.engines.local.homes.change_owner", crash)
    with pytest.raises(Crash):
        make_home(tmp_path / "alice", ME)
    assert not (tmp_path / "alice").exists()
    monkeypatch.undo()
    make_home(tmp_path / "alice", ME)
    assert (tmp_path / "alice").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "alice/Documents").is_dir()


def test_change_owner_follows_no_link(tmp_path: Path) -> None:
    if ME != 0:
        pytest.skip("needs root")
    (tmp_path / "outside").write_text("root's")
    tree = tmp_path / "tree"
    (tree / "sub").mkdir(parents=True)
    (tree / "sub/file").write_text("x")
    (tree / "link").symlink_to(tmp_path / "outside")
    change_owner(tree, 12345)
    assert (tmp_path / "outside").stat().st_uid == 0
    assert {path.lstat().st_uid for path in (tree, tree / "sub", tree / "sub/file", tree / "link")} == {12345}


class HomesSurvive(RuleBasedStateMachine):
    """Attach, write, die at any rename, recover, destroy: every file that a user wrote can always be found."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.records = make_records(self.folder)
        self.homes = Homes(self.records, idmap=False)
        self.written: set[str] = set()
        self.number = 0

    @initialize()
    def first(self) -> None:
        ghost(self.records, "g0")

    def living(self) -> list[GhostRecord]:
        found = (self.records.read(name) for name in self.records.ghosts())
        return [record for record in found if record is not None]

    @rule(user=st.sampled_from(["alice", "bob"]), which=st.integers(0, 5), crash_after=st.integers(0, 8))
    def attach(self, user: str, which: int, crash_after: int) -> None:
        living = self.living()
        if not living:
            return
        record = living[which % len(living)]
        with crashing(crash_after):
            try:
                self.homes.attach(record, UserId(user), living)
            except (GhostdeskError, Crash):
                return

    @rule(which=st.integers(0, 5), text=st.text("abc", min_size=1, max_size=3))
    def write(self, which: int, text: str) -> None:
        owned = [record for record in self.living() if record.owner is not None]
        if not owned:
            return
        record = owned[which % len(owned)]
        home = self.records.paths(record.ghost).home
        if home.is_dir() and home.stat().st_ino == record.home_inode:
            name = f"{record.owner}-{text}"
            (home / name).write_text("precious")
            self.written.add(name)

    @rule(which=st.integers(0, 5), crash_after=st.integers(0, 8))
    def destroy(self, which: int, crash_after: int) -> None:
        living = self.living()
        if not living:
            return
        record = living[which % len(living)]
        with crashing(crash_after):
            try:
                self.homes.give_back(record)
                shutil.rmtree(self.records.paths(record.ghost).folder)
            except Crash:
                return

    @precondition(lambda self: len(self.living()) < 3)
    @rule()
    def build(self) -> None:
        self.number += 1
        ghost(self.records, f"g{self.number}")

    @invariant()
    def nothing_is_lost(self) -> None:
        found = {path.name for path in self.folder.rglob("*") if path.is_file() and path.read_bytes() == b"precious"}
        assert self.written <= found

    def teardown(self) -> None:
        for record in self.living():
            self.homes.give_back(record)
        kept = [*self.records.homes_dir.rglob("*"), *self.records.rescued_dir.rglob("*")]
        assert self.written <= {path.name for path in kept}
        shutil.rmtree(self.folder)


class crashing:
    """Let `count` renames through, then die at the next."""

    def __init__(self, count: int) -> None:
        self.left = count
        self.rename: Callable[..., Path] = Path.rename

    def __enter__(self) -> None:
        def rename(path: Path, target: Path) -> Path:
            if self.left == 0:
                raise Crash
            self.left -= 1
            return self.rename(path, target)

        Path.rename = rename  # type: ignore[method-assign,assignment]

    def __exit__(self, *_: object) -> None:
        Path.rename = self.rename  # type: ignore[method-assign]


TestHomesSurvive = HomesSurvive.TestCase
TestHomesSurvive.settings = settings(max_examples=15, stateful_step_count=20, deadline=None)
