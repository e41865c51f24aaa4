"""Real desktops for tests, in folders of their own, with nothing left behind."""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from ghostdesk.engines.local.abilities import check_requirements
from ghostdesk.engines.local.engine import LocalEngine
from ghostdesk.engines.local.mounts import mounted_under
from ghostdesk.ghosts.ghost import DesktopTemplate
from ghostdesk.kernel.errors import GhostdeskError
from ghostdesk.kernel.ids import TemplateId

Inside = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def open_dir() -> Iterator[Path]:
    """A folder with a short path that other uids may pass (pytest's own is closed to them)."""
    folder = Path(tempfile.mkdtemp(prefix="gd-", dir="/tmp"))
    folder.chmod(0o711)
    yield folder
    assert mounted_under(folder) == []
    shutil.rmtree(folder)


@pytest.fixture
def template() -> DesktopTemplate:
    return DesktopTemplate(TemplateId("plain"), network="isolated")


@pytest.fixture
def desktop_host() -> None:
    """Skip where desktops cannot run as root."""
    try:
        check_requirements()
    except GhostdeskError as error:
        pytest.skip(str(error))
    if os.geteuid() != 0:
        pytest.skip("needs root")


@pytest.fixture(params=["auto"])
async def engine(desktop_host: None, open_dir: Path, request: pytest.FixtureRequest) -> AsyncIterator[LocalEngine]:
    """A started engine; everything of it goes at the end."""
    engine = LocalEngine(
        open_dir / "state",
        open_dir / "run",
        cgroup_mode=request.param,
        ghosts_yield=getattr(request.module, "GHOSTS_YIELD", False),
    )
    try:
        await engine.start()
    except GhostdeskError as error:
        pytest.skip(str(error))
    yield engine
    await engine.stop(keep_ghosts=False)
    trees = Path("/sys/fs/cgroup")
    assert not [*trees.glob(f"{cgroup_parent(open_dir)}*"), *trees.glob(f"*/{cgroup_parent(open_dir)}*")]


def cgroup_parent(open_dir: Path) -> str:
    import hashlib

    return f"ghostdesk-{hashlib.sha256(os.fsencode(open_dir.resolve() / 'state')).hexdigest()[:8]}"


@pytest.fixture
def record_of(open_dir: Path) -> Callable[[str], dict[str, object]]:
    def read(ghost: str) -> dict[str, object]:
        return dict(json.loads((open_dir / "state/ghosts" / ghost / "ghost.json").read_text()))

    return read


@pytest.fixture
def inside(record_of: Callable[[str], dict[str, object]]) -> Inside:
    """Run a shell command inside a ghost, as its user: `inside("g1", "ls /")`."""

    def run(ghost: str, command: str) -> "subprocess.CompletedProcess[str]":
        enter = ["nsenter", "-t", str(record_of(ghost)["pid"]), "-U", "-m", "-p", "-n", "-i", "-u"]
        variables = ["HOME=/home/user", "DISPLAY=:0", "PATH=/usr/bin:/bin", "XDG_RUNTIME_DIR=/run/user/1000"]
        return subprocess.run(
            [*enter, "--setuid", "1000", "--setgid", "1000", "env", "-i", *variables, "sh", "-c", f"cd; {command}"],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
            stdin=subprocess.DEVNULL,
        )

    return run
