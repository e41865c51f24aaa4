"""Homes on a real SSH server: read ahead through the mount, never stale, written through, gone when the ghost goes."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sftp_servers import SshServer, await_port, free_port, missing_programs, ssh_server

from ghostdesk.engines.local.engine import LocalEngine
from ghostdesk.engines.local.filesystems import remote_kind
from ghostdesk.engines.local.mounts import unmount_all_under
from ghostdesk.engines.local.remote_homes import FRESH_S, RemoteHomes, RemoteSource, is_mounted
from ghostdesk.engines.protocol import HomeLoad
from ghostdesk.ghosts.commands import AttachHome, Build, Destroy
from ghostdesk.ghosts.ghost import DesktopTemplate
from ghostdesk.kernel.errors import ConfigError, EngineError, GhostdeskError
from ghostdesk.kernel.ids import AppId, GhostId, UserId
from ghostdesk.kernel.resources import GIB, Resources
from ghostdesk.prefetch.file_history import FileOpened

Inside = Callable[..., "subprocess.CompletedProcess[str]"]
ADA, UID = UserId("ada"), 54321
needs_server = [
    pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts homes"),
    pytest.mark.skipif(bool(missing_programs()), reason=f"not here: {', '.join(missing_programs())}"),
]


@pytest.mark.parametrize(
    "text", ["", "ftp:{user}", "sshfs:host:/home", "sshfs:-oProxyCommand=x{user}", "rclone:", "{user}", "sshfs"]
)
def test_what_is_no_place_of_homes_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ConfigError, match=r"Write sshfs:\{user\}@"):
        RemoteSource.parse(text)


def test_each_user_has_a_place_and_a_user_that_names_none_is_refused() -> None:
    source = RemoteSource.parse("sshfs:{user}@files:/home/{user}", ["port=22"])
    assert source.of(ADA) == "ada@files:/home/ada"
    with pytest.raises(ValueError, match="is no user id"):
        source.of(UserId("../root"))
    with pytest.raises(ConfigError, match="is no size"):
        RemoteSource.parse("rclone:s3:{user}", cache_bytes=0.0)


def test_copies_are_forgotten_at_once_or_when_they_are_used_no_more(tmp_path: Path) -> None:
    homes = RemoteHomes(RemoteSource.parse("rclone:s3:{user}"), tmp_path / "cache")
    homes.forget(ADA, in_use=False)  # there is nothing
    for in_use in (False, True):
        (tmp_path / "cache/ada").mkdir(parents=True)
        (tmp_path / "cache/ada/copy").write_text("telltale")
        homes.forget(ADA, in_use=in_use)
        assert (tmp_path / "cache/ada").exists() == in_use
    homes.sweep([ADA])
    assert (tmp_path / "cache/ada").exists()
    homes.sweep([])
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SshServer]:
    with ssh_server(tmp_path / "server") as made:
        (made.homes / "ada/Documents").mkdir(parents=True)
        yield made


def source_of(server: SshServer) -> RemoteSource:
    return RemoteSource.parse(f"sshfs:127.0.0.1:{server.homes}/{{user}}", server.options)


@pytest.fixture
def mounted(server: SshServer, tmp_path: Path) -> Iterator[Path]:
    target = tmp_path / "slot/user"
    target.mkdir(parents=True)
    RemoteHomes(source_of(server), tmp_path / "cache").mount(ADA, target, UID)
    yield target
    unmount_all_under(target.parent)


class TestMounted:
    pytestmark = needs_server

    def test_what_changed_on_the_server_is_never_served_from_the_cache(self, server: SshServer, mounted: Path) -> None:
        there = server.homes / "ada"
        for name in ("longer", "same size", "unchanged", "gone"):
            (there / name).write_text("old")
            assert (mounted / name).read_text() == "old"
            assert resident_pages(mounted / name) == 1
        (there / "longer").write_text("changed")
        (there / "same size").write_text("new")
        os.utime(there / "same size", (2e9, 2e9))
        (there / "gone").unlink()
        time.sleep(FRESH_S + 0.1)
        assert (mounted / "longer").read_text() == "changed"
        assert (mounted / "same size").read_text() == "new"
        assert not (mounted / "gone").exists()
        assert resident_pages(mounted / "unchanged") == 1  # still there: it pays to read ahead
        assert (mounted / "unchanged").read_text() == "old"

    def test_what_is_written_is_on_the_server_when_the_file_is_closed(self, server: SshServer, mounted: Path) -> None:
        (mounted / "new").write_text("written here")
        assert (server.homes / "ada/new").read_text() == "written here"

    def test_it_belongs_to_the_ghosts_uid(self, server: SshServer, mounted: Path) -> None:
        (server.homes / "ada/letter").write_text("x")
        assert {(one.stat().st_uid, one.stat().st_gid) for one in (mounted, mounted / "letter")} == {(UID, UID)}
        assert remote_kind(mounted) == "fuse.sshfs"

    def test_mounting_twice_mounts_once(self, server: SshServer, mounted: Path, tmp_path: Path) -> None:
        RemoteHomes(source_of(server), tmp_path / "cache").mount(ADA, mounted, UID)
        assert is_mounted(mounted)
        assert (
            len([line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(mounted) in line]) == 1
        )


class TestRefused:
    pytestmark = needs_server

    def test_a_home_that_the_server_does_not_have_is_a_clear_error(self, server: SshServer, tmp_path: Path) -> None:
        (tmp_path / "slot").mkdir()
        with pytest.raises(EngineError, match=r"The home of bob cannot be mounted: .*No such file"):
            RemoteHomes(source_of(server), tmp_path / "cache").mount(UserId("bob"), tmp_path / "slot", UID)

    def test_a_server_that_is_gone_is_a_clear_error(self, server: SshServer, tmp_path: Path) -> None:
        (tmp_path / "slot").mkdir()
        server.stop()
        with pytest.raises(EngineError, match="The home of ada cannot be mounted"):
            RemoteHomes(source_of(server), tmp_path / "cache").mount(ADA, tmp_path / "slot", UID)

    @pytest.mark.skipif(shutil.which("rclone") is None, reason="not installed: rclone")
    def test_a_server_that_tells_neither_times_nor_digests_is_refused(self, tmp_path: Path) -> None:
        port = free_port()
        words = ["rclone", "serve", "webdav", "--addr", f"127.0.0.1:{port}", str(tmp_path)]
        serving = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            await_port(port)
            (tmp_path / "ada").mkdir()
            source = RemoteSource.parse(f"rclone::webdav,url='http://127.0.0.1:{port}',vendor=other:{{user}}")
            with pytest.raises(EngineError, match="stale files would pass for fresh ones"):
                RemoteHomes(source, tmp_path / "cache").mount(ADA, tmp_path / "ada", UID)
        finally:
            serving.terminate()
            serving.wait(10)


@dataclass
class Objects:
    """A remote of rclone's, with a folder of ada's; `folder` where it is a folder of this host."""

    remote: str
    folder: Path | None = None

    def put(self, name: str, text: str) -> None:
        if self.folder is not None:
            (self.folder / "ada" / name).write_text(text)
            return
        words = ["rclone", "rcat", f"{self.remote}/ada/{name}"]
        subprocess.run(words, input=text.encode(), check=True, capture_output=True)

    def get(self, name: str) -> str:
        if self.folder is not None:
            return (self.folder / "ada" / name).read_text()
        words = ["rclone", "cat", f"{self.remote}/ada/{name}"]
        return subprocess.run(words, check=True, capture_output=True, stdin=subprocess.DEVNULL).stdout.decode()


@pytest.fixture(params=["sftp", "s3"])
def objects(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Objects]:
    """A real SFTP server, and a simulated S3 (moto) where it is installed."""
    if shutil.which("rclone") is None:
        pytest.skip("not installed: rclone")
    if request.param == "sftp":
        with ssh_server(tmp_path / "server") as server:
            login = f"host=127.0.0.1,port={server.port},user=root,key_file={tmp_path / 'server/user'}"
            (server.homes / "ada").mkdir()
            yield Objects(f":sftp,{login}:{server.homes}", server.homes)
        return
    if shutil.which("moto_server") is None:
        pytest.skip("not installed: moto[server]")
    monkeypatch.delenv("AWS_CA_BUNDLE", raising=False)  # rclone 1.60 cannot use it
    port, quiet = free_port(), subprocess.DEVNULL
    words = ["moto_server", "-H", "127.0.0.1", "-p", str(port)]
    serving = subprocess.Popen(words, stdin=quiet, stdout=quiet, stderr=quiet)
    try:
        await_port(port)
        keys = "access_key_id=a,secret_access_key=b,region=us-east-1"
        yield Objects(f":s3,provider=Other,endpoint='http://127.0.0.1:{port}',{keys}:homes")
    finally:
        serving.terminate()
        serving.wait(10)


class TestRclone:
    pytestmark = needs_server

    def test_kept_files_are_fresh_private_written_through_and_forgotten(self, objects: Objects, tmp_path: Path) -> None:
        objects.put("same size", "old")
        objects.put("longer", "old")
        target = tmp_path / "slot/user"
        target.mkdir(parents=True)
        homes = RemoteHomes(RemoteSource("rclone", f"{objects.remote}/{{user}}"), tmp_path / "cache")
        homes.mount(ADA, target, UID)
        try:
            assert (target / "same size").read_text() == (target / "longer").read_text() == "old"
            assert (target / "same size").stat().st_uid == UID
            kept = [one for one in (tmp_path / "cache/ada/vfs").rglob("*") if one.is_file()]
            assert {one.name for one in kept} == {"same size", "longer"}
            assert (tmp_path / "cache").stat().st_mode & 0o077 == 0
            time.sleep(1.1)  # SFTP tells times in whole seconds
            objects.put("same size", "new")
            objects.put("longer", "changed")
            time.sleep(FRESH_S + 0.1)
            assert (target / "same size").read_text() == "new"
            assert (target / "longer").read_text() == "changed"
            (target / "written").write_text("here")
            wait_for(lambda: objects.get("written") == "here")
            homes.forget(ADA, in_use=True)
        finally:
            unmount_all_under(target.parent)
        homes.sweep([])
        assert list((tmp_path / "cache").iterdir()) == []


def wait_for(true: Callable[[], bool]) -> None:
    for _ in range(100):
        try:
            if true():
                return
        except (subprocess.CalledProcessError, OSError):
            pass
        time.sleep(0.1)
    raise AssertionError("it did not happen")


class TestAttached:
    pytestmark = needs_server

    async def test_a_real_ghost_uses_a_remote_home_and_leaves_no_mount(
        self, desktop_host: None, server: SshServer, open_dir: Path, template: DesktopTemplate, inside: Inside
    ) -> None:
        (server.homes / "ada/Documents/letter").write_bytes(b"x" * 5000)
        engine = LocalEngine(open_dir / "state", open_dir / "run", remote_homes=source_of(server))
        try:
            await engine.start()
        except GhostdeskError as error:
            pytest.skip(str(error))
        ghost = GhostId("g1")
        try:
            for command in (
                Build(ghost, template, Resources(memory_bytes=GIB)),
                AttachHome(ghost, ADA),
                AttachHome(ghost, ADA),
            ):
                assert (await engine.apply(command)).error is None
            loaded = await engine.home_files().load(HomeLoad(ghost, ADA, ["Documents/letter", "gone"], 1e6, 1e6))
            assert (list(loaded.files), list(loaded.skipped)) == ([("Documents/letter", 5000)], [("gone", "deleted")])
            assert loaded.remote == "fuse.sshfs"
            files = engine.home_files()
            assert files.watch(ghost, ADA) == ""
            opening = "exec 3< Documents/letter 4> .hidden 5> new; sleep 5"
            inside(ghost, f"env GHOSTDESK_APP=writer sh -c '{opening}' > /dev/null 2>&1 & sleep 0.5")
            found = [(user, event) for user, event in files.events(1000.0) or files.events(1003.0)]
            assert found == [
                (ADA, FileOpened(1000.0, AppId("writer"), "Documents/letter", 5000)),
                (ADA, FileOpened(1000.0, AppId("writer"), "new", 0)),
            ]
            assert (server.homes / "ada/new").exists()
        finally:
            await engine.apply(Destroy(ghost))
            await engine.stop(keep_ghosts=False)
        assert (server.homes / "ada/Documents/letter").exists()
        for _ in range(600):
            if not processes_with(str(open_dir)):
                return
            await asyncio.sleep(0.05)
        raise AssertionError("sshfs goes on")


def processes_with(word: str) -> list[str]:
    """Command lines of programs that serve a mount there."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if line.startswith("sshfs ") and word in line:
            found.append(line)
    return found


def resident_pages(path: Path) -> int:
    """Of a file, in the page cache."""
    told = subprocess.run(["fincore", "-n", "-o", "PAGES", str(path)], capture_output=True, text=True, check=True)
    return int(told.stdout.strip() or 0)
