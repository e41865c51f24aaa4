"""What is missing is named with its package; what cannot be done is named with its mend."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from ghostdesk.engines.local import abilities
from ghostdesk.engines.local.cgroup_limits import BlockDevice
from ghostdesk.engines.local.cgroups import Hierarchies
from ghostdesk.engines.local.engine import LocalEngine
from ghostdesk.engines.local.limit_abilities import describe_limits
from ghostdesk.kernel.errors import ConfigError, EngineError, MissingRequirement


@pytest.mark.parametrize(("program", "package"), [("Xvnc", "tigervnc-standalone-server"), ("bwrap", "bubblewrap")])
async def test_a_missing_program_names_its_package(
    program: str, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = shutil.which

    def which(name: str, **rest: str) -> str | None:
        return None if name == program else found(name, **rest) or f"/usr/bin/{name}"

    monkeypatch.setattr(abilities.shutil, "which", which)
    with pytest.raises(MissingRequirement, match=f"{program} is not installed. Run: apt-get install {package}"):
        await LocalEngine(tmp_path / "state", tmp_path / "run").start()


def test_a_missing_module_names_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(abilities.shutil, "which", lambda name, **_: f"/usr/bin/{name}")
    monkeypatch.setattr(abilities, "PYTHON_PACKAGES", {"no_such_module": "python3-no-such-module"})
    with pytest.raises(MissingRequirement, match="apt-get install python3-no-such-module"):
        abilities.check_requirements()


def test_refused_namespaces_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(abilities.shutil, "which", lambda name, **_: f"/usr/bin/{name}")
    monkeypatch.setattr(abilities, "missing_modules", list)
    monkeypatch.setattr(abilities, "_NAMESPACES", ["sh", "-c", "echo 'unshare failed: not permitted' >&2; exit 1"])
    with pytest.raises(MissingRequirement, match=r"refuses unprivileged user namespaces .*max_user_namespaces"):
        abilities.check_requirements()


def test_each_lack_has_a_mend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(abilities.os, "geteuid", lambda: 1000)
    monkeypatch.setattr(abilities.network, "unusable", lambda: "slirp4netns is not installed")
    monkeypatch.setattr(abilities, "swap_total_bytes", lambda: 0)
    listed = abilities.describe(Hierarchies("none", detail="none to write"), "only root may", "outbound")
    lacking = {ability.name: ability.mend for ability in listed if not ability.available}
    limits = {"limit cpu", "limit memory", "limit storage", "people first on disk"}
    assert set(lacking) == {"root", "cgroups", "parked in swap", "attach home", "network"} | limits
    assert all(lacking.values())


def test_each_resource_says_how_it_is_limited() -> None:
    v1 = {name: Path("/sys/fs/cgroup") / name for name in ("cpu", "memory", "blkio")}
    trees, disk = Hierarchies("hybrid", None, v1), BlockDevice(8, 0)
    full = {a.name: a for a in describe_limits(trees, disk, "mq-deadline", "", isolated=False)}
    assert all(ability.available for ability in full.values())
    assert set(full) == {"limit cpu", "limit memory", "limit network", "limit storage", "people first on disk"}
    less = {a.name: a for a in describe_limits(trees, None, "none", "tc is not installed", isolated=False)}
    lacking = {name for name, ability in less.items() if not ability.available}
    assert lacking == {"limit network", "limit storage", "people first on disk"}
    assert all(less[name].mend for name in lacking)
    pinned = {a.name: a for a in describe_limits(replace(trees, pin=True), disk, "bfq", "", isolated=True)}
    assert not pinned["pin cores"].available
    assert pinned["limit network"].available


def test_bad_settings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="network = 'wide open'"):
        LocalEngine(tmp_path, tmp_path, network="wide open")


async def test_commands_before_start_are_refused(tmp_path: Path) -> None:
    engine = LocalEngine(tmp_path / "state", tmp_path / "run")
    with pytest.raises(EngineError, match="not been started"):
        await engine.observe()
    await engine.stop(keep_ghosts=False)
