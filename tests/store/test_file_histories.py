"""Names of opened files on disk: private, whole after a crash, bounded, and gone when they are to be gone."""

from __future__ import annotations

from pathlib import Path

import pytest

from ghostdesk.kernel.errors import StoreError
from ghostdesk.kernel.ids import AppId, UserId
from ghostdesk.prefetch.file_history import MOST_OPENS, FileOpened, FileRemoved, FileRenamed
from ghostdesk.store.file_histories import FileHistories

ADA, BOB = UserId("ada"), UserId("bob")


def opened(path: str, time_s: float = 1.0) -> FileOpened:
    return FileOpened(time_s, AppId("writer"), path, 10)


@pytest.fixture
def kept(tmp_path: Path) -> FileHistories:
    return FileHistories(tmp_path / "file-history")


def names(kept: FileHistories, user: UserId = ADA) -> list[str]:
    return [one.path for one in kept.load(user, 10.0).opens]


def test_what_was_written_is_read_and_follows_what_happened(kept: FileHistories) -> None:
    kept.append(ADA, [opened("a"), opened("b\udce9\n")])
    kept.append(ADA, [FileRenamed(2.0, "a", "c"), opened("d"), FileRemoved(3.0, "d")])
    kept.append(BOB, [opened("telltale")])
    assert names(kept) == ["c", "b\udce9\n"]
    assert kept.load(ADA, 10.0).opens[0] == opened("c")
    assert next(iter(kept.records(ADA, 10.0))) == {"time_s": 1.0, "app": "writer", "path": "c", "size_bytes": 10}
    assert names(kept, UserId("nobody")) == []


def test_it_is_for_the_owner_of_the_control_plane_alone(kept: FileHistories, tmp_path: Path) -> None:
    kept.append(ADA, [opened("a")])
    file = tmp_path / "file-history/ada.jsonl"
    assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    file.chmod(0o640)
    with pytest.raises(StoreError, match="can be read by others"):
        kept.load(ADA, 10.0)


def test_a_link_in_its_place_is_not_followed(kept: FileHistories, tmp_path: Path) -> None:
    kept.append(BOB, [opened("a")])
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    (tmp_path / "file-history/ada.jsonl").symlink_to(victim)
    for work in (lambda: kept.load(ADA, 10.0), lambda: kept.append(ADA, [opened("a")])):
        with pytest.raises(StoreError):
            work()
    kept.forget(ADA)
    assert victim.read_text() == "untouched"


def test_a_line_that_a_crash_cut_short_costs_itself_alone(kept: FileHistories, tmp_path: Path) -> None:
    kept.append(ADA, [opened("a"), opened("b")])
    file = tmp_path / "file-history/ada.jsonl"
    file.write_bytes(file.read_bytes()[:-7])
    kept.append(ADA, [opened("c")])
    assert names(kept) == ["a", "c"]


@pytest.mark.parametrize(
    "line",
    ["", "no json", "[]", '{"t": 1, "app": "w", "path": "../x", "size": 1}', '{"t": "x"}', "\x00",
     '{"t":1,"removed":3}',
     '{"t": 1, "app": "", "path": "x", "size": 1}', '{"t": 1, "app": "w", "path": 5, "size": 1}'],
)  # fmt: skip
def test_damaged_lines_are_passed_over(kept: FileHistories, tmp_path: Path, line: str) -> None:
    kept.append(ADA, [opened("a")])
    with (tmp_path / "file-history/ada.jsonl").open("a") as file:
        file.write(line + "\n")
    kept.append(ADA, [opened("b")])
    assert names(kept) == ["a", "b"]


def test_names_of_what_is_gone_leave_the_file_when_it_is_written_anew(kept: FileHistories, tmp_path: Path) -> None:
    kept.append(ADA, [opened("telltale")] * 200)
    kept.append(ADA, [FileRemoved(2.0, "telltale"), opened("b")])
    assert names(kept) == ["b"]
    assert b"telltale" not in (tmp_path / "file-history/ada.jsonl").read_bytes()


def test_it_is_bounded(kept: FileHistories, tmp_path: Path) -> None:
    for start in range(0, 4 * MOST_OPENS, 1000):
        kept.append(ADA, [opened(f"f{n}") for n in range(start, start + 1000)])
        kept.load(ADA, 10.0)
    assert len((tmp_path / "file-history/ada.jsonl").read_bytes().splitlines()) <= MOST_OPENS + MOST_OPENS // 2
    assert names(kept)[-1] == f"f{4 * MOST_OPENS - 1}"


def test_forgetting_leaves_nothing_of_one_and_all_of_the_others(kept: FileHistories, tmp_path: Path) -> None:
    for user in (ADA, BOB):
        kept.append(user, [opened(f"telltale-{user}")])
    (tmp_path / "file-history/.ada.jsonl.0123").write_text("telltale-ada")  # a crash left it
    kept.forget(ADA)
    kept.forget(ADA)
    left = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"telltale-ada" not in left
    assert b"telltale-bob" in left
    assert kept.keep_only(lambda user: user == ADA) == (BOB,)
    assert kept.users() == ()


def test_a_folder_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be used"):
        FileHistories(tmp_path / "file/history").append(ADA, [opened("a")])
