"""The rendering of a ghost: what is bound, what is not, and what its /etc says."""

from pathlib import Path

from ghostdesk.engines.local.records import GhostPaths
from ghostdesk.engines.local.runtime import install_runtime
from ghostdesk.engines.local.sandbox import (
    ETC_GENERATED,
    ETC_SHARED,
    SandboxPlan,
    bwrap_arguments,
    environment,
    generated_etc,
)
from ghostdesk.kernel.ids import GhostId

PLAN = SandboxPlan(
    ghost=GhostId("g1"),
    paths=GhostPaths(Path("/state/ghosts/g1"), Path("/run/gd/g1")),
    runtime=Path("/state/runtime/abc"),
    width_px=1280,
    height_px=800,
    cgroup=Path("/sys/fs/cgroup/gd/g1"),
    cgroup_kind="v2",
    usr_merged={"bin": "usr/bin"},
)


def binds(arguments: list[str]) -> dict[str, tuple[str, str]]:
    return {
        arguments[place + 2]: (argument, arguments[place + 1])
        for place, argument in enumerate(arguments)
        if argument in {"--bind", "--ro-bind", "--ro-bind-try"}
    }


def test_only_its_own_folders_are_writable() -> None:
    writable = {target for target, (how, _) in binds(bwrap_arguments(PLAN, ["true"])).items() if how == "--bind"}
    assert writable == {"/run/ghost", "/home", "/run/cgroup"}


def test_no_secret_of_the_host_is_bound() -> None:
    sources = {source for _, source in binds(bwrap_arguments(PLAN, ["true"])).values()}
    for secret in (
        "/",
        "/etc",
        "/etc/shadow",
        "/etc/ssh",
        "/etc/ssl",
        "/etc/machine-id",
        "/root",
        "/home",
        "/var",
        "/sys",
        "/run",
        "/tmp",
    ):
        assert secret not in sources
    assert not set(ETC_SHARED) & set(ETC_GENERATED)


def test_every_namespace_is_its_own_and_it_outlives_us() -> None:
    arguments = bwrap_arguments(PLAN, ["/bin/session"])
    assert {"--unshare-user", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts"} <= set(arguments)
    assert "--die-with-parent" not in arguments
    assert arguments[-2:] == ["--", "/bin/session"]


def test_the_environment_is_made_anew() -> None:
    variables = environment(PLAN)
    assert variables["GHOSTDESK_CGROUP"] == "/run/cgroup"
    assert variables["HOME"] == "/home/user"
    assert "SSH_AUTH_SOCK" not in variables
    assert all("token" not in value.lower() or value.startswith("/run/ghost/") for value in variables.values())


def test_etc_is_the_ghosts_own() -> None:
    files = generated_etc(GhostId("g1"), "0" * 32, outbound=True)
    assert set(files) == set(ETC_GENERATED)
    assert files["machine-id"] == "0" * 32 + "\n"
    assert "nameserver" in files["resolv.conf"]
    assert generated_etc(GhostId("g1"), "0" * 32, outbound=False)["resolv.conf"] == ""


def test_the_runtime_is_installed_once_a_version(tmp_path: Path) -> None:
    first = install_runtime(tmp_path)
    assert install_runtime(tmp_path) == first
    assert [path.name for path in tmp_path.iterdir()] == [first.name]
    assert (first / "ghostdesk/agent/wire.py").is_file()
    assert (first / "share/themes/Ghostdesk/openbox-3/themerc").is_file()
    assert (first / "desktop/session.sh").stat().st_mode & 0o777 == 0o755
    assert not list(first.rglob("__pycache__"))
    assert not (first / "ghostdesk/control").exists()
