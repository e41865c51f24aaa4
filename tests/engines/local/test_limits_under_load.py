"""Each limit holds under a real load, and is gone once it is lifted. Amounts are counted, and compared widely."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ghostdesk.engines.local import network, shaping
from ghostdesk.engines.local.cgroup_limits import BlockDevice
from ghostdesk.engines.local.cgroup_writer import CgroupWriter
from ghostdesk.engines.local.cgroups import Cgroups, detect
from ghostdesk.engines.local.disks import block_device_of
from ghostdesk.engines.local.launch import Patience
from ghostdesk.kernel.errors import EngineError, GhostdeskError
from ghostdesk.kernel.ids import GhostId
from ghostdesk.kernel.resources import MIB, NOTHING, Priority, Resources

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="limits need root")
G1, G2 = GhostId("g1"), GhostId("g2")


class Bare:
    """Groups of ghosts that have no desktop, with real processes in them."""

    def __init__(self, folder: Path, *, pin: bool = False) -> None:
        trees = detect(Path("/proc/self/mountinfo").read_text(), pin=pin)
        self.groups = Cgroups(trees, f"ghostdesk-test-{os.getpid()}")
        self.groups.prepare()
        self.writer = CgroupWriter(self.groups, lambda: block_device_of(folder), len(os.sched_getaffinity(0)))
        self.running: list[subprocess.Popen[str]] = []
        for ghost in (G1, G2):
            self.groups.create(ghost, 0)

    def start(self, ghost: GhostId, code: str, *arguments: str) -> "subprocess.Popen[str]":
        """Run Python in the ghost's groups."""
        join = "".join(f"echo $$ > {path}; " for path in self.groups.entrances(ghost))
        command = ["sh", "-c", f'{join} exec "$@"', "sh", sys.executable, "-I", "-c", code, *arguments]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.running.append(process)
        return process

    def close(self) -> None:
        for process in self.running:
            with process:
                process.kill()
        for ghost in (G1, G2):
            self.groups.remove(ghost)
        self.groups.remove_parent()


@pytest.fixture
def bare(open_dir: Path) -> Iterator[Bare]:
    try:
        bare = Bare(open_dir)
    except GhostdeskError as error:
        pytest.skip(str(error))
    yield bare
    bare.close()


def enforced(bare: Bare, limits: Resources, priority: Priority = Priority.PERSON) -> None:
    """Set limits, or skip where this host cannot."""
    if missing := bare.writer.apply(G1, limits, priority):
        pytest.skip(f"not limited on this host: {missing}")


def until(true: Callable[[], bool], within_s: float = 20.0) -> bool:
    """Wait until it is so."""
    end_s = time.monotonic() + within_s
    while not true():
        if time.monotonic() > end_s:
            return False
        time.sleep(0.01)
    return True


class Rate:
    """How much of something a second, since this was made."""

    def __init__(self, amount: Callable[[], float]) -> None:
        self._amount, self._begin, self._begin_s = amount, amount(), time.monotonic()

    def over(self, seconds: float) -> float:
        time.sleep(seconds)
        return (self._amount() - self._begin) / (time.monotonic() - self._begin_s)


BURN = "while True: pass"


def test_cpu(bare: Bare) -> None:
    enforced(bare, Resources(cpu_cores=0.1))
    for _ in range(2):
        bare.start(G1, BURN)
    cpu_s = lambda: bare.groups.use(G1)[1]  # noqa: E731
    assert until(lambda: cpu_s() > 0.05)
    assert Rate(cpu_s).over(0.8) < 0.2
    bare.writer.apply(G1, NOTHING, Priority.PERSON)
    lifted = Rate(cpu_s)
    assert until(lambda: lifted.over(0.3) > 0.3)


def test_people_come_before_ghosts_on_a_core(bare: Bare) -> None:
    enforced(bare, NOTHING, Priority.GHOST)
    bare.writer.apply(G2, NOTHING, Priority.PERSON)
    core = min(os.sched_getaffinity(0))
    for ghost in (G1, G2):
        bare.start(ghost, f"import os; os.sched_setaffinity(0, [{core}])\n{BURN}")
    assert until(lambda: bare.groups.use(G2)[1] > 0.1)
    ghost, person = Rate(lambda: bare.groups.use(G1)[1]), Rate(lambda: bare.groups.use(G2)[1])
    time.sleep(0.8)
    assert person.over(0) > 5 * ghost.over(0)
    bare.writer.apply(G1, NOTHING, Priority.PERSON)  # claimed
    ghost, person = Rate(lambda: bare.groups.use(G1)[1]), Rate(lambda: bare.groups.use(G2)[1])
    time.sleep(0.8)
    assert ghost.over(0) > person.over(0) / 3


def test_whole_cores_are_pinned_and_let_go(open_dir: Path) -> None:
    cores = os.sched_getaffinity(0)
    if len(cores) < 2:
        pytest.skip("pinning needs two cores")
    bare = Bare(open_dir, pin=True)
    try:
        if bare.groups.root_of("cpuset") is None:
            pytest.skip("no cpuset controller that we may write")
        pinned = []
        for ghost in (G1, G2):
            bare.writer.apply(ghost, Resources(cpu_cores=1), Priority.GHOST)
            running = bare.start(ghost, "print('here', flush=True); input()")
            assert running.stdout is not None
            assert running.stdout.readline() == "here\n"
            pinned.append(os.sched_getaffinity(running.pid))
        assert [len(each) for each in pinned] == [1, 1]
        assert pinned[0] != pinned[1]
        bare.writer.apply(G2, NOTHING, Priority.PERSON)
        assert os.sched_getaffinity(running.pid) == cores
    finally:
        bare.close()


HOLD = """
import sys
held = b"x" * int(sys.argv[1])
print("held", flush=True)
sys.stdin.read()
"""


def test_memory(bare: Bare) -> None:
    enforced(bare, Resources(memory_bytes=48 * MIB))
    killed = bare.start(G1, HOLD, str(300 * MIB))
    assert killed.wait(20) == -signal.SIGKILL  # swap is held too
    bare.writer.apply(G1, NOTHING, Priority.PERSON)
    living = bare.start(G1, HOLD, str(300 * MIB))
    assert living.stdout is not None
    assert living.stdout.readline() == "held\n"


def test_memory_is_lowered_by_reclaiming_and_never_by_killing(bare: Bare, open_dir: Path) -> None:
    enforced(bare, Resources(memory_bytes=200 * MIB))
    swap = Path("/proc/swaps").read_text().count("\n") > 1
    cached = open_dir / "cached"
    held = bare.start(G1, f"open({str(cached)!r}, 'wb').write(bytes({60 * MIB}))\n{HOLD}", str(40 * MIB))
    assert held.stdout is not None
    assert held.stdout.readline() == "held\n"
    os.sync()
    before = bare.groups.use(G1)[0]
    enforced(bare, Resources(memory_bytes=75 * MIB))  # the cached file goes
    assert bare.groups.use(G1)[0] <= 75 * MIB < before
    if not swap:
        with pytest.raises(EngineError, match="cannot be pushed out"):
            bare.writer.apply(G1, Resources(cpu_cores=0.5, memory_bytes=20 * MIB), Priority.PERSON)
    assert held.poll() is None
    enforced(bare, Resources(memory_bytes=400 * MIB))


WRITE = """
import os, sys
out = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)
while True:
    os.lseek(out, 0, 0)
    os.write(out, bytes(262144))
    os.fsync(out)
    sys.stdout.write("."); sys.stdout.flush()
"""


def test_storage(bare: Bare, open_dir: Path) -> None:
    """Buffered writes, brought to the disk as an application does that saves."""
    enforced(bare, Resources(storage_bytes_per_s=MIB))
    writer = bare.start(G1, WRITE, str(open_dir / "written"))
    assert writer.stdout is not None
    os.set_blocking(writer.stdout.fileno(), False)
    written = 0

    def bytes_written() -> int:
        nonlocal written
        assert writer.stdout is not None
        with contextlib.suppress(BlockingIOError):
            written += 262144 * len(os.read(writer.stdout.fileno(), 65536))
        return written

    assert until(lambda: bytes_written() > 0)
    assert Rate(bytes_written).over(1.2) < 2 * MIB
    bare.writer.apply(G1, NOTHING, Priority.PERSON)
    lifted = Rate(bytes_written)
    assert until(lambda: lifted.over(0.2) > 3 * MIB)


def test_a_disk_that_cannot_be_limited_is_told(bare: Bare) -> None:
    enforced(bare, NOTHING)
    gone = CgroupWriter(bare.groups, lambda: BlockDevice(255, 250), 2)
    missing = gone.apply(G1, Resources(cpu_cores=1, storage_bytes_per_s=MIB), Priority.PERSON)
    assert set(missing) == {"storage"}
    assert "255:250" in missing["storage"]


class Peer:
    """A server on this host that sends or takes as much as it can, and counts what came."""

    def __init__(self, address: str) -> None:
        self._listener = socket.create_server((address, 0))
        self.address: tuple[str, int] = self._listener.getsockname()
        self.taken = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                way = self._send if connection.recv(1) == b"D" else self._take
                threading.Thread(target=way, args=(connection,), daemon=True).start()

    def _send(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            while True:
                connection.sendall(bytes(65536))

    def _take(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            while part := connection.recv(65536):
                self.taken += len(part)

    def close(self) -> None:
        self._listener.close()


def own_address() -> str:
    """An address of this host that is not loopback's; no packet is sent to find it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return ""
        return str(probe.getsockname()[0])


CLIENT = """
import socket, sys
way, host, port = sys.argv[1:]
peer = socket.create_connection((host, int(port)), 10)
peer.sendall(way.encode())
if way == "U":
    while True: peer.sendall(bytes(65536))
total = 0
while part := peer.recv(65536):
    total += len(part)
    sys.stdout.write("%d\\n" % total); sys.stdout.flush()
"""


def apart(pid: int) -> bool:
    """Whether a process is in a network namespace of its own yet."""
    return Path(f"/proc/{pid}/ns/net").readlink() != Path("/proc/self/ns/net").readlink()


@pytest.fixture
def namespace(open_dir: Path) -> Iterator[int]:
    """A process in a network namespace of its own, with slirp4netns at its `tap0`, as a ghost has it."""
    if problem := network.unusable() or shaping.unusable():
        pytest.skip(problem)
    with subprocess.Popen(["unshare", "--net", "sleep", "100"]) as process:
        assert until(lambda: apart(process.pid))
        pid, start = network.start_network(process.pid, 0, open_dir / "log", [], Patience(20.0))
        yield process.pid
        process.kill()
    network.kill_and_wait(pid, start)


@pytest.fixture
def peer() -> Iterator[Peer]:
    if not (address := own_address()):
        pytest.skip("this host has no address but loopback's")
    peer = Peer(address)
    yield peer
    peer.close()


def client(pid: int, peer: Peer, way: str) -> "subprocess.Popen[bytes]":
    host, port = peer.address
    enter = ["nsenter", f"--net=/proc/{pid}/ns/net", sys.executable, "-I", "-c", CLIENT, way, host, str(port)]
    return subprocess.Popen(enter, stdout=subprocess.PIPE)


def test_network_both_ways_and_live(namespace: int, peer: Peer) -> None:
    limit = 400_000
    assert shaping.shape(namespace, limit) == ""
    with client(namespace, peer, "U") as up, client(namespace, peer, "D") as down:
        assert down.stdout is not None
        os.set_blocking(down.stdout.fileno(), False)
        got = 0

        def received() -> int:
            nonlocal got
            assert down.stdout is not None
            with contextlib.suppress(BlockingIOError):
                if lines := os.read(down.stdout.fileno(), 1 << 20).split():
                    got = max(map(int, lines[:-1]), default=got)
            return got

        # A full bucket first, and what was under way when the connection began.
        assert until(lambda: peer.taken > limit and received() > limit)
        sent_rate, received_rate = Rate(lambda: peer.taken), Rate(received)
        time.sleep(1.0)
        assert sent_rate.over(0) < 2 * limit
        assert received_rate.over(0) < 2 * limit
        for rate in (0, limit, 0):  # changed under way, the connections live on
            assert shaping.shape(namespace, rate) == ""
        sent_rate, received_rate = Rate(lambda: peer.taken), Rate(received)
        assert until(lambda: sent_rate.over(0.2) > 5 * limit)
        assert until(lambda: received_rate.over(0.2) > 5 * limit)
        up.kill()
        down.kill()


def test_half_done_shaping_is_finished(namespace: int) -> None:
    """Whatever a crash left behind: a device without buckets, or one bucket alone."""
    enter = ["nsenter", f"--net=/proc/{namespace}/ns/net"]
    subprocess.run([*enter, "ip", "link", "add", shaping.IFB, "type", "ifb"], check=True)
    for _ in range(2):
        assert shaping.shape(namespace, 1e6) == ""
        shown = subprocess.run([*enter, "tc", "qdisc"], capture_output=True, text=True, check=True).stdout
        assert [line.split()[4] for line in shown.splitlines() if "tbf" in line] == [shaping.TAP, shaping.IFB]
        assert "rate 8Mbit" in shown
        subprocess.run([*enter, "tc", "qdisc", "del", "dev", shaping.TAP, "root"], check=True)
    assert shaping.shape(namespace, 0) == ""
    shown = subprocess.run([*enter, "tc", "qdisc"], capture_output=True, text=True, check=True).stdout
    assert shown.count("rate 100Gbit") == 2


def test_nothing_to_shape_is_no_error() -> None:
    with subprocess.Popen(["unshare", "--net", "sleep", "100"]) as process:
        assert until(lambda: apart(process.pid))
        assert shaping.shape(process.pid, 1e6) == ""  # isolated
        process.kill()
    assert shaping.shape(process.pid, 1e6) == ""  # gone


UNPRIVILEGED = """
import subprocess, sys, time
from ghostdesk.engines.local import shaping
with subprocess.Popen(["unshare", "-Ur", "--net", "sleep", "100"]) as ghost:
    while shaping.interfaces(ghost.pid) != {"lo"}:
        time.sleep(0.01)
    enter = ["nsenter", "-t", str(ghost.pid), "-U", "-n", "--preserve-credentials"]
    made = subprocess.run([*enter, "ip", "link", "add", "tap0", "type", "ifb"], check=False)
    if made.returncode == 0:
        for rate in (1e6, 2e6, 0):
            print("problem:", shaping.shape(ghost.pid, rate))
            shown = subprocess.run([*enter, "tc", "qdisc"], capture_output=True, text=True, check=True).stdout
            print(*[line.partition("rate ")[2].split()[0] for line in shown.splitlines() if "tbf" in line])
    ghost.kill()
"""


def test_an_ordinary_user_limits_the_networks_of_their_ghosts() -> None:
    """Through the user namespace that owns the network namespace; an ifb device stands for `tap0`."""
    if problem := shaping.unusable():
        pytest.skip(problem)
    source = Path(shaping.__file__).parents[3]
    drop = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "env", f"PYTHONPATH={source}"]
    command = [*drop, "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "PYTHONDONTWRITEBYTECODE=1", "/usr/bin/python3"]
    if subprocess.run([*command, "-c", "import ghostdesk, tomllib"], capture_output=True, check=False).returncode:
        pytest.skip("an ordinary user cannot read this checkout, or /usr/bin/python3 is too old")
    done = subprocess.run([*command, "-c", UNPRIVILEGED], capture_output=True, text=True, timeout=60, check=False)
    if not done.stdout:
        pytest.skip(f"an ordinary user makes no namespaces or devices here: {done.stderr.strip()}")
    both = ["problem: ", "{0} {0}"]
    assert done.stdout.splitlines() == [line.format(rate) for rate in ("8Mbit", "16Mbit", "100Gbit") for line in both]
