"""What a ghost cannot see or do, tried from inside."""

# ruff: noqa: ASYNC221 - short commands, with nothing else on the loop

import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from ghostdesk.engines.local.engine import LocalEngine
from ghostdesk.engines.local.network import unusable
from ghostdesk.engines.local.processes import descendants
from ghostdesk.ghosts.commands import AttachHome, Build
from ghostdesk.ghosts.ghost import DesktopTemplate
from ghostdesk.kernel.ids import GhostId, TemplateId, UserId
from ghostdesk.kernel.resources import NOTHING

pytestmark = pytest.mark.desktop
Inside = Callable[..., "subprocess.CompletedProcess[str]"]
RecordOf = Callable[[str], dict[str, object]]


@pytest.fixture
async def two(engine: LocalEngine) -> LocalEngine:
    """Two ghosts, with the way out where this host has one, owned by Alice and Bob."""
    template = DesktopTemplate(TemplateId("plain"), network="isolated" if unusable() else "outbound")
    for ghost, user in (("g1", "alice"), ("g2", "bob")):
        assert (await engine.apply(Build(GhostId(ghost), template, NOTHING))).ok
        assert (await engine.apply(AttachHome(GhostId(ghost), UserId(user)))).ok
    return engine


async def test_processes(two: LocalEngine, inside: Inside, record_of: RecordOf) -> None:
    shown = {int(pid) for pid in inside("g1", "ls /proc").stdout.split() if pid.isdecimal()}
    own = descendants(int(str(record_of("g1")["pid"])))
    assert len(shown) <= len(own) + 4
    assert (
        inside("g1", "cat /proc/*/environ 2>/dev/null | tr '\\0' '\\n' | grep -c 'GHOSTDESK_GHOST=g2'").stdout == "0\n"
    )
    assert inside("g1", f"kill -0 {record_of('g2')['pid']}").returncode != 0
    uids = {record_of(ghost)["uid"] for ghost in ("g1", "g2")}
    assert len(uids) == 2
    folders = [Path(f"/proc/{process.pid}") for process in own]
    assert {folder.stat().st_uid for folder in folders if folder.exists()} == {record_of("g1")["uid"]}


async def test_files(two: LocalEngine, inside: Inside, open_dir: Path) -> None:
    assert inside("g1", "ls -A /home").stdout == "user\n"
    for path in (
        open_dir,
        "/root",
        "/srv",
        "/mnt",
        "/media",
        "/boot",
        "/etc/shadow",
        "/etc/ssh",
        "/var/log",
        "/run/dbus",
    ):
        assert inside("g1", f"ls -d {path}").returncode != 0, path
    for path in ("/usr/x", "/etc/x", "/opt/x", "/opt/ghostdesk/x", "/run/ghost/x", "/home/x", "/sys/x", "/x"):
        assert inside("g1", f"echo x > {path}").returncode != 0, path
    assert inside("g1", "rm -f /run/ghost/agent.token; ls /run/ghost").stdout.split() == ["agent.token", "rfb.sock"]
    assert inside("g1", "cat /etc/machine-id").stdout != inside("g2", "cat /etc/machine-id").stdout
    assert inside("g1", "cat /etc/machine-id").stdout != Path("/etc/machine-id").read_text()
    assert inside("g1", "hostname").stdout == "g1\n"


async def test_set_uid_programs_give_nothing(two: LocalEngine, inside: Inside) -> None:
    assert inside("g1", "grep -E '^(CapEff|NoNewPrivs)' /proc/1/status").stdout.split() == [
        "CapEff:", "0000000000000000", "NoNewPrivs:", "1",
    ]  # fmt: skip
    assert inside("g1", "cp /bin/true t; chmod u+s t; findmnt -no OPTIONS -T t").stdout.count("nosuid") == 1


async def test_displays(two: LocalEngine, inside: Inside) -> None:
    assert inside("g2", "xprop -root -f GD_SECRET 8s -set GD_SECRET bobs").returncode == 0
    assert "bobs" in inside("g2", "xprop -root GD_SECRET").stdout
    assert "bobs" not in inside("g1", "xprop -root GD_SECRET").stdout
    abstract = inside("g1", "cat /proc/net/unix").stdout
    assert abstract.count("@/tmp/.X11-unix/") >= 1
    assert "/tmp/.X11-unix/X0" in abstract


async def test_network_ports(two: LocalEngine, inside: Inside) -> None:
    listen = (
        "import socket; s = socket.socket(); s.bind(('0.0.0.0', 4711)); s.listen(); print('on', flush=True); s.accept()"
    )
    with socket.socket() as host:
        host.bind(("127.0.0.1", 0))
        host.listen()
        port = host.getsockname()[1]
        serve = f'timeout 20 /usr/bin/python3 -c "{listen}" > /tmp/on 2>&1 &'
        assert inside("g2", f"{serve} until grep on /tmp/on; do sleep 0.05; done").stdout == "on\n"
        own = "127.0.0.1 4711", "10.0.2.100 4711"
        for target in (*own, f"127.0.0.1 {port}", f"10.0.2.2 {port}", "10.0.2.2 4711"):
            address, number = target.split()
            connect = f"import socket; socket.create_connection(('{address}', {number}), 2)"
            assert inside("g1", f'/usr/bin/python3 -c "{connect}"').returncode != 0, target


async def test_another_ghosts_uid_cannot_take_its_screen(two: LocalEngine, open_dir: Path, record_of: RecordOf) -> None:
    """Even outside the namespaces, as if the sandbox had failed: file permissions alone keep ghosts apart."""
    drop = ["setpriv", f"--reuid={record_of('g1')['uid']}", f"--regid={record_of('g1')['uid']}", "--clear-groups", "--"]
    for path in ("run/g2/rfb.sock", "run/g2/agent.token", "state/ghosts/g2/ghost.json", "state/homes/bob"):
        done = subprocess.run([*drop, "stat", str(open_dir / path)], capture_output=True, text=True, check=False)
        assert "Permission denied" in done.stderr, path
    assert "Permission denied" in subprocess.run(
        [*drop, "ls", f"/proc/{record_of('g2')['pid']}/root/"], capture_output=True, text=True, check=False
    ).stderr  # fmt: skip


async def test_isolated_means_loopback_only(engine: LocalEngine, template: DesktopTemplate, inside: Inside) -> None:
    assert (await engine.apply(Build(GhostId("g1"), template, NOTHING))).ok
    interfaces = inside("g1", "tail -n +3 /proc/net/dev").stdout
    assert [line.split(":")[0].strip() for line in interfaces.splitlines()] == ["lo"]


@pytest.mark.browser
async def test_chromium_keeps_its_own_sandbox(engine: LocalEngine, template: DesktopTemplate, inside: Inside) -> None:
    if not Path("/usr/bin/chromium").exists():
        pytest.skip("Debian's chromium is not installed")
    assert (await engine.apply(Build(GhostId("g1"), template, NOTHING))).ok
    done = inside("g1", "timeout 25 chromium --headless --disable-gpu --dump-dom 'data:text/html,<p>painted'")
    assert "painted" in done.stdout, done.stderr
