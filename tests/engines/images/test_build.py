"""Building: a real small image, and builds that fail and leave nothing."""

import os
import socket
import subprocess
import tarfile
from pathlib import Path

import pytest

from ghostdesk.engines.images import build as building
from ghostdesk.engines.images.build import build_image, read_image
from ghostdesk.engines.images.files import image_files
from ghostdesk.engines.images.recipe import Content, Form, Recipe
from ghostdesk.kernel.errors import ConfigError, EngineError, InsufficientCapacity, MissingRequirement

SKELETON = Recipe(Form.INCUS, "tiny", content=Content.SKELETON)


def programs(folder: Path, monkeypatch: pytest.MonkeyPatch, mmdebstrap: str) -> None:
    """A PATH with a stand-in for mmdebstrap (a shell script) and the real dpkg."""
    bin_dir = folder / "bin"
    bin_dir.mkdir()
    (bin_dir / "mmdebstrap").write_text(f"#!/bin/sh\n{mmdebstrap}\n")
    (bin_dir / "dpkg").write_text('#!/bin/sh\n[ "$1" = --print-architecture ] && echo amd64\n')
    for program in bin_dir.iterdir():
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{bin_dir}:/usr/bin:/bin")


def test_a_build_is_told_step_by_step_and_described(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    last = "for word; do last=$word; done"
    programs(tmp_path, monkeypatch, f"{last}; echo 'I: downloading packages with apt...'; echo root >\"$last\"")
    steps: list[str] = []
    built = build_image(SKELETON, tmp_path / "made" / "tiny", progress=steps.append)
    assert steps == ["downloading packages"]
    assert sorted(path.name for path in built.folder.iterdir()) == ["image.json", "metadata.tar", "rootfs.tar"]
    assert read_image(built.folder).manifest == built.manifest
    assert built.manifest["files_bytes"]["rootfs.tar"] == 5
    with pytest.raises(ConfigError, match="is there already"):
        build_image(SKELETON, built.folder)
    (tmp_path / "other").mkdir()
    with pytest.raises(ConfigError, match="is there already"):
        build_image(SKELETON, tmp_path / "other", replace=True)  # a folder that is no image is never replaced
    build_image(SKELETON, built.folder, replace=True)


def test_a_failed_build_leaves_nothing_and_an_older_image_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs(tmp_path, monkeypatch, 'for word; do last=$word; done; echo root >"$last"')
    built = build_image(SKELETON, tmp_path / "made" / "tiny")
    (tmp_path / "bin" / "mmdebstrap").write_text("#!/bin/sh\necho 'No space left on device'; exit 1\n")
    with pytest.raises(InsufficientCapacity, match="disk became full"):
        build_image(SKELETON, built.folder, replace=True)
    assert read_image(built.folder).manifest["name"] == "tiny"
    with pytest.raises(InsufficientCapacity):
        build_image(SKELETON, tmp_path / "made" / "second")
    assert [path.name for path in (tmp_path / "made").iterdir()] == ["tiny"]


def test_what_is_missing_is_named_before_anything_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs(tmp_path, monkeypatch, "exit 1")
    foreign = Recipe(Form.INCUS, "arm", architecture="arm64", content=Content.SKELETON)
    monkeypatch.setattr(building, "_runs_foreign", lambda _architecture: False)
    with pytest.raises(MissingRequirement, match="arm64 do not run on this amd64"):
        build_image(foreign, tmp_path / "arm")
    monkeypatch.setattr(building, "room_bytes", lambda _recipe: 2**60)
    with pytest.raises(InsufficientCapacity, match="GB free"):
        build_image(SKELETON, tmp_path / "tiny")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingRequirement, match="mmdebstrap is not installed") as told:
        build_image(SKELETON, tmp_path / "tiny")
    assert told.value.mend == "apt-get install mmdebstrap"
    assert not (tmp_path / "tiny").exists()


def test_what_holds_no_image_is_said(tmp_path: Path) -> None:
    for text in (None, "", "[]", '{"for": "fridge"}'):
        if text is not None:
            (tmp_path / "image.json").write_text(text)
        with pytest.raises(ConfigError, match="holds no image"):
            read_image(tmp_path)


@pytest.fixture
def debian() -> None:
    """mmdebstrap and Debian's mirror, for real."""
    if building.shutil.which("mmdebstrap") is None:
        pytest.skip("mmdebstrap is not installed here")
    if os.geteuid() != 0:
        pytest.skip("needs root")
    try:
        socket.create_connection(("deb.debian.org", 80), timeout=10).close()
    except OSError:
        pytest.skip("Debian's mirror cannot be reached from here")


@pytest.mark.usefixtures("debian")
def test_a_real_small_image(tmp_path: Path) -> None:
    steps: list[str] = []
    built = build_image(SKELETON, tmp_path / "tiny", progress=steps.append)
    assert "downloading packages" in steps
    with tarfile.open(built.folder / "rootfs.tar") as root:
        files = {member.name.removeprefix("./"): member for member in root}
        machine_id = root.extractfile(files["etc/machine-id"])
        assert machine_id is not None and machine_id.read() == b""
    for wanted in ("bin/busybox", "usr/sbin/init", "opt/ghostdesk/ghostdesk/agent/__main__.py"):
        assert wanted in files
    assert files["home/user"].uid == 1000 and files["usr/sbin/init"].mode & 0o111
    assert "etc/hostname" not in files
    with tarfile.open(built.folder / "metadata.tar") as metadata:
        assert metadata.getnames() == ["metadata.yaml"]


@pytest.mark.usefixtures("debian")
def test_a_real_small_disk(tmp_path: Path) -> None:
    if building.shutil.which("debugfs", path="/usr/sbin:/sbin") is None:
        pytest.skip("e2fsprogs is not installed here")
    built = build_image(Recipe(Form.VM, "tiny", content=Content.SKELETON, spare_bytes=0), tmp_path / "tiny")
    assert sorted(path.name for path in built.folder.iterdir()) == ["disk.raw", "image.json"]
    for place, said in (("/opt/ghostdesk/vm/init.sh", "Mode:  0755"), ("/home/user", "User:  1000")):
        command = ["/usr/sbin/debugfs", "-R", f"stat {place}", str(built.folder / "disk.raw")]
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert said in told, told
    assert read_image(built.folder).manifest["for"] == "vm"


@pytest.mark.usefixtures("debian")
def test_a_mirror_that_is_not_there(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, but nobody listens
        nowhere = Recipe(
            Form.INCUS, "tiny", content=Content.SKELETON, mirror=f"http://127.0.0.1:{taken.getsockname()[1]}/debian"
        )
        with pytest.raises(EngineError, match="cannot be reached"):
            build_image(nowhere, tmp_path / "tiny")
    assert list(tmp_path.iterdir()) == []


def test_the_files_of_a_machine_are_those_that_its_engine_calls() -> None:
    places = {place for _, place in image_files(Form.VM)}
    for script in ("init.sh", "screen.sh", "identify.sh", "home.sh", "agent_later.py"):
        assert f"opt/ghostdesk/vm/{script}" in places
    assert "opt/ghostdesk/ghostdesk/agent/__main__.py" in places and "opt/ghostdesk/desktop/inside.sh" in places
