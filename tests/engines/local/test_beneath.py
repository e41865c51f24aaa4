"""Names in a home that are hostile: links, FIFOs, sockets, devices, folders, swaps between a look and the opening."""

from __future__ import annotations

import os
import socket
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ghostdesk.engines.local.beneath import (
    NotOpened,
    data_ranges,
    find_beneath,
    open_beneath,
    open_folder_beneath,
    open_home,
)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[tuple[int, Path]]:
    folder = tmp_path / "home"
    (folder / "Documents").mkdir(parents=True)
    (folder / "Documents/letter").write_text("mine")
    (tmp_path / "secret").write_text("another's")
    handle = open_home(folder)
    yield handle, folder
    os.close(handle)


def refused(home: int, path: str) -> str:
    with pytest.raises(NotOpened) as caught:
        open_beneath(home, path)
    return caught.value.reason


def test_a_plain_file_is_opened_for_reading(home: tuple[int, Path]) -> None:
    handle, status = open_beneath(home[0], "Documents/letter")
    assert os.read(handle, 100) == b"mine"
    assert status.st_size == 4
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.write(handle, b"x")
    os.close(handle)


@pytest.mark.parametrize("path", ["../secret", "Documents/../../secret", "/etc/hostname", "Documents/../letter/../.."])
def test_no_name_leads_out(home: tuple[int, Path], path: str) -> None:
    assert refused(home[0], path) in ("outside", "deleted", "not-a-file")


def test_links_are_not_followed_wherever_they_lead(home: tuple[int, Path]) -> None:
    handle, folder = home
    (folder / "out").symlink_to("../secret")
    (folder / "absolute").symlink_to("/etc/hostname")
    (folder / "inside").symlink_to("Documents/letter")
    (folder / "folder").symlink_to("..")
    (folder / "magic").symlink_to("/proc/self/root")
    for path in ("out", "absolute", "inside", "folder/secret", "magic/etc/hostname"):
        assert refused(handle, path) == "link", path


def test_what_is_no_regular_file_is_never_opened(home: tuple[int, Path]) -> None:
    handle, folder = home
    os.mkfifo(folder / "fifo")
    with socket.socket(socket.AF_UNIX) as line:
        line.bind(str(folder / "socket"))
        for path in ("fifo", "socket", "Documents", "."):
            assert refused(handle, path) == "not-a-file", path
    # a writer that waits for somebody to open the FIFO for reading would have been let on
    with pytest.raises(OSError, match="No such device or address"):
        os.open(folder / "fifo", os.O_WRONLY | os.O_NONBLOCK)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes devices")
def test_a_device_is_never_opened(home: tuple[int, Path]) -> None:
    try:
        os.mknod(home[1] / "device", 0o600 | stat.S_IFCHR, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("devices cannot be made here")
    assert refused(home[0], "device") == "not-a-file"


def test_what_is_gone_or_no_name_has_a_reason(home: tuple[int, Path]) -> None:
    for path in ("gone", "Documents/letter/x"):
        assert refused(home[0], path) == "deleted"
    for path in ("", "a\0b", "x" * 300):
        assert refused(home[0], path) == "bad-name"


def test_a_file_swapped_for_a_link_after_the_look_is_the_file_that_was_looked_at(
    home: tuple[int, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    handle, folder = home
    look = find_beneath

    def swap_after_looking(root: int, path: str) -> tuple[int, os.stat_result]:
        found = look(root, path)
        (folder / path).unlink()
        (folder / path).symlink_to("../../secret")
        return found

    monkeypatch.setattr("ghostdesk.engines.local.beneath.find_beneath", swap_after_looking)
    opened, _ = open_beneath(handle, "Documents/letter")
    assert os.read(opened, 100) == b"mine"
    os.close(opened)


def test_a_home_whose_names_change_all_the_time_never_gives_another_file(home: tuple[int, Path]) -> None:
    handle, folder = home
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            (folder / "new").symlink_to("../../secret")
            (folder / "new").rename(folder / "Documents/letter")
            (folder / "new").write_text("mine")
            (folder / "new").rename(folder / "Documents/letter")

    swapper = threading.Thread(target=swap)
    swapper.start()
    try:
        read = set()
        for _ in range(1500):
            try:
                opened, _ = open_beneath(handle, "Documents/letter")
            except NotOpened as no:
                assert no.reason in ("link", "not-a-file", "deleted"), no.reason
                continue
            read.add(os.read(opened, 100))
            os.close(opened)
    finally:
        stop.set()
        swapper.join()
    assert read <= {b"mine", b""}


def test_folders_are_opened_beneath_too(home: tuple[int, Path]) -> None:
    handle, folder = home
    (folder / "link").symlink_to("/etc")
    opened = open_folder_beneath(handle, "Documents/")
    assert os.listdir(opened) == ["letter"]  # noqa: PTH208 - a descriptor
    os.close(opened)
    for path in ("link", "..", "Documents/letter"):
        with pytest.raises(NotOpened):
            open_folder_beneath(handle, path)


def test_a_home_that_is_a_link_is_not_opened(tmp_path: Path) -> None:
    (tmp_path / "home").symlink_to("/etc")
    with pytest.raises(OSError, match="Not a directory"):
        open_home(tmp_path / "home")


def test_holes_of_a_sparse_file_are_no_data(tmp_path: Path) -> None:
    sparse = tmp_path / "sparse"
    with sparse.open("wb") as file:
        file.seek(8 << 20)
        file.write(b"x" * 4096)
        file.truncate(64 << 30)
    with sparse.open("rb") as file:
        ranges = data_ranges(file.fileno(), 64 << 30)
    assert sum(end - start for start, end in ranges) <= 1 << 20
    assert any(start <= 8 << 20 < end for start, end in ranges)
