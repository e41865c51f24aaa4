"""Control groups, of whichever kind the host has: freezing, limits, use and reclaim of each ghost.

| mode | freezing | resources |
|---|---|---|
| v2 | `cgroup.freeze`, confirmed by `cgroup.events` | v2 controllers |
| hybrid | the same, in the v2 tree beside | v1 controllers |
| v1 | the v1 freezer | v1 controllers |
| none | not here: SIGSTOP | not limited |

Each ghost has a group <root>/<parent>/<ghost>, or <root>/<parent>.<ghost> in the tree that shares out CPU, whose
resource files stay root's. There the groups stand side by side: below one parent, what ghosts use would be charged to
the person's desktop in the same parent, and the parent, which is not idle itself, would hold its own against the
control plane and everything else on the host.

A ghost's session starts in `desk` below its group, and the group's folder is delegated to the ghost's uid (kernel:
cgroup-v2.rst, "Delegation"), so that the agent can make groups beside `desk` and freeze single applications.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ghostdesk.engines.local.mounts import unescape
from ghostdesk.engines.local.reclaim import Group, NoGroup, V1Group, V2Group
from ghostdesk.kernel.errors import ConfigError, EngineError
from ghostdesk.kernel.ids import GhostId

MODES = ("auto", "v2", "hybrid", "v1", "none")
V1_RESOURCES = ("memory", "cpu", "cpuacct", "blkio", "pids")
V2_RESOURCES = ("memory", "cpu", "io", "pids", "dmem")
PINS = "cpuset"
"""Used only where desktops are pinned to cores."""
PIDS_MAX = 4096
"""Enough for any desktop; stops a fork bomb."""
FREEZE_TIMEOUT_S = 3.0
DESK = "desk"
_DELEGATED = {"v2": ("cgroup.procs", "cgroup.threads", "cgroup.subtree_control"), "v1": ("cgroup.procs", "tasks")}
"""Never a resource file: limits stay root's."""


@dataclass(frozen=True, slots=True)
class Hierarchies:
    """Which cgroup trees to use.

    Args:
        mode: "v2", "hybrid", "v1" or "none".
        unified: where cgroup2 is mounted, in the modes that use it.
        v1: mount point of each v1 controller that is used.
        detail: why this mode, for people.
        pin: whether desktops may be pinned to cores.
    """

    mode: str
    unified: Path | None = None
    v1: Mapping[str, Path] = field(default_factory=dict)
    detail: str = ""
    pin: bool = False


def _writable(path: Path) -> bool:
    return os.access(path, os.W_OK)


def _controllers(unified: Path) -> set[str]:
    try:
        return set((unified / "cgroup.controllers").read_text().split())
    except OSError:
        return set()


def detect(
    mountinfo: str, want: str = "auto", writable: Callable[[Path], bool] = _writable, *, pin: bool = False
) -> Hierarchies:
    """Choose the cgroup trees from /proc/self/mountinfo (proc(5)); `pin` where desktops are to be pinned to cores.

    Raises:
        ConfigError: `want` is no mode, or the host has not what it asks for.
    """
    if want not in MODES:
        raise ConfigError(f"cgroup_mode = {want!r} is unknown.", f"Use one of: {', '.join(MODES)}.")
    unified: Path | None = None
    v1: dict[str, Path] = {}
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        kind, _, options = right.split(" ", 2)
        point = Path(unescape(left.split()[4]))
        if kind == "cgroup2":
            unified = unified or point
        elif kind == "cgroup":
            for option in options.split(","):
                if option in {*V1_RESOURCES, "freezer"} or (pin and option == PINS):
                    v1.setdefault(option, point)
    v1 = {name: point for name, point in v1.items() if writable(point)}
    usable = unified if unified is not None and writable(unified) else None
    found = _choose(usable, v1, want)
    if found is None:
        raise ConfigError(
            f"cgroup_mode = {want!r} cannot be used: the host has no such cgroup tree that we may write.",
            'Set engine.cgroup_mode = "auto".',
        )
    return replace(found, pin=pin)


def _choose(unified: Path | None, v1: Mapping[str, Path], want: str) -> Hierarchies | None:
    resources = {name: point for name, point in v1.items() if name != "freezer"}
    full_v2 = unified is not None and "memory" in _controllers(unified)
    if want == "v2" and unified is not None:
        return Hierarchies("v2", unified, {}, "cgroup v2, as asked")
    if want == "auto" and full_v2:
        return Hierarchies("v2", unified, {}, "cgroup v2")
    if want in {"auto", "hybrid"} and unified is not None:
        return Hierarchies("hybrid", unified, resources, "cgroup v2 freezes, v1 controllers limit")
    if want in {"auto", "v1"} and "freezer" in v1:
        return Hierarchies("v1", None, v1, "cgroup v1")
    if want in {"auto", "none"}:
        return Hierarchies("none", None, {}, "no cgroup tree that we may write" if want == "auto" else "as asked")
    return None


class Cgroups:
    """The groups of all ghosts under one parent group.

    Args:
        trees: which trees to use.
        parent: name of the parent group, unique to one state folder, so that two engines do not meet.
    """

    def __init__(self, trees: Hierarchies, parent: str) -> None:
        self.trees = trees
        self.parent = parent

    @property
    def kind(self) -> str:
        """How the agent may freeze: "v2", "v1" or "none"."""
        return {"v2": "v2", "hybrid": "v2", "v1": "v1", "none": "none"}[self.trees.mode]

    def roots(self) -> Iterator[Path]:
        """The mount point of each tree that is used, once each (v1 controllers may share one)."""
        yield from dict.fromkeys([*([self.trees.unified] if self.trees.unified else []), *self.trees.v1.values()])

    def root_of(self, controller: str) -> Path | None:
        """The tree that holds a resource controller; None where there is none that we may write."""
        return self.trees.unified if self.trees.mode == "v2" else self.trees.v1.get(controller)

    def _shares_cpu(self, root: Path) -> bool:
        return root == self.root_of("cpu")

    def group(self, root: Path, ghost: GhostId) -> Path:
        """The group of a ghost in a tree: below a parent of all, but beside the others where CPU is shared out."""
        return root / f"{self.parent}.{ghost}" if self._shares_cpu(root) else root / self.parent / ghost

    def groups(self, root: Path) -> dict[str, Path]:
        """The groups of all ghosts in a tree, by their ghosts' names."""
        if self._shares_cpu(root):
            return {path.name.partition(".")[2]: path for path in root.glob(f"{self.parent}.*") if path.is_dir()}
        parent = root / self.parent
        return {path.name: path for path in parent.iterdir() if path.is_dir()} if parent.is_dir() else {}

    def freezing(self, ghost: GhostId) -> Path | None:
        """The group in the tree that freezes; the one that is delegated and bound inside."""
        if self.trees.unified is not None:
            return self.group(self.trees.unified, ghost)
        return self.group(self.trees.v1["freezer"], ghost) if self.kind == "v1" else None

    def _v1(self, controller: str, ghost: GhostId) -> Path | None:
        root = self.trees.v1.get(controller)
        return self.group(root, ghost) if root is not None else None

    def prepare(self) -> None:
        """Make the parent groups; raises `EngineError` when that is refused."""
        try:
            for root in self.roots():
                if not self._shares_cpu(root):
                    (root / self.parent).mkdir(exist_ok=True)
            if self.trees.mode == "v2" and self.trees.unified is not None:
                _enable(self.trees.unified, (*V2_RESOURCES, PINS) if self.trees.pin else V2_RESOURCES)
            if (pins := self.trees.v1.get(PINS)) is not None:
                _inherit_cores(pins / self.parent)
        except OSError as error:
            raise EngineError(
                f"A cgroup cannot be made: {error.strerror} ({error.filename}).", 'Set engine.cgroup_mode = "none".'
            ) from error

    def create(self, ghost: GhostId, uid: int) -> None:
        """Make the ghost's groups and delegate the freezing one to `uid`."""
        freezing = self.freezing(ghost)
        for root in self.roots():
            group = self.group(root, ghost)
            group.mkdir(exist_ok=True)
            _write(group / "pids.max", str(PIDS_MAX), missing_ok=True)
        if (pins := self._v1(PINS, ghost)) is not None:
            _inherit_cores(pins)
        if freezing is None:
            return
        (freezing / DESK).mkdir(exist_ok=True)
        for folder in (freezing, freezing / DESK):
            os.chown(folder, uid, uid)
            for name in _DELEGATED[self.kind]:
                with contextlib.suppress(FileNotFoundError):
                    os.chown(folder / name, uid, uid)

    def entrances(self, ghost: GhostId, leaf: str = DESK) -> list[Path]:
        """The `cgroup.procs` files that a process of the ghost must join."""
        groups = [self.group(root, ghost) for root in self.roots()]
        freezing = self.freezing(ghost)
        if freezing is not None:
            (freezing / leaf).mkdir(exist_ok=True)
            groups[groups.index(freezing)] = freezing / leaf
        return [group / "cgroup.procs" for group in groups]

    def adopt(self, ghost: GhostId, uid: int, session: Sequence[int], helpers: Sequence[int]) -> None:
        """Make groups of a living ghost anew, after somebody took them away, and bring its processes back into them.

        Args:
            ghost, uid: as for `create`.
            session: every process of the desktop.
            helpers: those outside that work for it (its network).
        """
        self.create(ghost, uid)
        for pids, leaf in ((session, DESK), (helpers, "net")):
            for entrance in self.entrances(ghost, leaf):
                for pid in pids:
                    with contextlib.suppress(ProcessLookupError):  # it ended meanwhile
                        _write(entrance, str(pid))

    def parts(self, ghost: GhostId) -> dict[str, list[int]]:
        """The groups that the agent made in the ghost's own, each with its processes."""
        group = self.freezing(ghost)
        if group is None or not group.is_dir():
            return {}
        found = {path.name: [int(pid) for pid in _read(path / "cgroup.procs").split()] for path in group.glob("app-*")}
        return {name: pids for name, pids in found.items() if pids}

    def freeze_part(self, ghost: GhostId, uid: int, name: str, pids: Sequence[int]) -> None:
        """Put processes of a ghost into a group that its agent knows, and freeze that."""
        if (group := self.freezing(ghost)) is None:
            return
        part = group / name
        part.mkdir(exist_ok=True)
        for path in (part, *(part / file for file in (*_DELEGATED[self.kind], "cgroup.freeze", "freezer.state"))):
            with contextlib.suppress(FileNotFoundError):
                os.chown(path, uid, uid)
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                _write(part / "cgroup.procs", str(pid))
        self._switch_part(part, frozen=True)

    def thaw_part(self, ghost: GhostId, name: str) -> None:
        """Let one of the agent's groups run."""
        if (group := self.freezing(ghost)) is not None:
            self._switch_part(group / name, frozen=False)

    def _switch_part(self, part: Path, *, frozen: bool) -> None:
        if self.kind == "v1":
            _write(part / "freezer.state", "FROZEN" if frozen else "THAWED")
        else:
            _write(part / "cgroup.freeze", "1" if frozen else "0")

    def freeze(self, ghost: GhostId) -> None:
        """Freeze the ghost and wait until the kernel confirms it; raises `EngineError` after 3 s."""
        self._switch(ghost, frozen=True)

    def thaw(self, ghost: GhostId) -> None:
        """Let it run on; groups that the agent froze inside stay frozen."""
        self._switch(ghost, frozen=False)

    def _switch(self, ghost: GhostId, *, frozen: bool) -> None:
        group = self.freezing(ghost)
        if group is None:
            raise EngineError("This host has no cgroup that freezes.")
        if self.kind == "v1":
            _write(group / "freezer.state", "FROZEN" if frozen else "THAWED")
            _wait(lambda: _read(group / "freezer.state").strip() == ("FROZEN" if frozen else "THAWED"), ghost, frozen)
            return
        _write(group / "cgroup.freeze", "1" if frozen else "0")
        if frozen and _read(group / "cgroup.events").find("populated 1") >= 0:
            _wait(lambda: "frozen 1" in _read(group / "cgroup.events"), ghost, frozen)

    def frozen(self, ghost: GhostId) -> bool:
        """Whether the whole ghost was told to freeze."""
        group = self.freezing(ghost)
        if group is None:
            return False
        if self.kind == "v1":
            return _read(group / "freezer.self_freezing").strip() == "1"
        return _read(group / "cgroup.freeze").strip() == "1"

    def memory_of(self, ghost: GhostId, pids: Sequence[int]) -> Group:
        """What counts the ghost's memory and pushes it out, in whichever way the host has."""
        if self.trees.mode == "v2" and self.trees.unified is not None:
            v2 = self.group(self.trees.unified, ghost)
            if (v2 / "memory.stat").exists():
                return V2Group(v2)
        v1 = self._v1("memory", ghost)
        return V1Group(v1) if v1 is not None and (v1 / "memory.stat").exists() else NoGroup(tuple(pids))

    def use(self, ghost: GhostId) -> tuple[int, float]:
        """Memory in bytes (page cache included) and CPU seconds; 0 for what is unknown."""
        memory = cpu_s = 0.0
        if self.trees.unified is not None:
            group = self.group(self.trees.unified, ghost)
            memory = float(_read(group / "memory.current") or 0)
            for line in _read(group / "cpu.stat").splitlines():
                if line.startswith("usage_usec "):
                    cpu_s = int(line.split()[1]) / 1e6
        if (v1_memory := self._v1("memory", ghost)) is not None:
            memory = float(_read(v1_memory / "memory.usage_in_bytes") or 0)
        if not cpu_s and (v1_cpu := self._v1("cpuacct", ghost)) is not None:
            cpu_s = float(_read(v1_cpu / "cpuacct.usage") or 0) / 1e9
        return int(memory), cpu_s

    def cpu_wait_s(self, ghost: GhostId) -> float:
        """How long some process of the ghost has waited for a CPU so far (kernel: psi.rst); 0 where nothing tells."""
        if self.trees.unified is None:
            return 0.0
        for line in _read(self.group(self.trees.unified, ghost) / "cpu.pressure").splitlines():
            if line.startswith("some "):
                return int(line.rpartition("total=")[2]) / 1e6
        return 0.0

    def pids(self, ghost: GhostId) -> set[int]:
        """Every process in the ghost's groups."""
        found: set[int] = set()
        for root in self.roots():
            for group in _tree(self.group(root, ghost)):
                found |= {int(pid) for pid in _read(group / "cgroup.procs").split()}
        return found

    def remove(self, ghost: GhostId) -> None:
        """Remove the ghost's groups, and those made inside; raises `EngineError` when a process stays in one."""
        for root in self.roots():
            _remove_tree(self.group(root, ghost))

    def ghosts(self) -> set[str]:
        """The names of all ghosts that have a group."""
        return {name for root in self.roots() for name in self.groups(root)}

    def remove_parent(self) -> None:
        """Remove the parent groups, if empty."""
        for root in self.roots():
            with contextlib.suppress(OSError):
                (root / self.parent).rmdir()


def _enable(group: Path, controllers: Sequence[str]) -> None:
    available = _read(group / "cgroup.controllers").split()
    for controller in controllers:
        if controller in available:
            with contextlib.suppress(OSError):  # a controller bound to v1, or refused: `set_limits` names it
                _write(group / "cgroup.subtree_control", f"+{controller}")


def _inherit_cores(group: Path) -> None:
    """A new v1 group has neither cores nor memory nodes, and takes no process before it has (cpuset(7))."""
    for name in ("cpuset.mems", "cpuset.cpus"):
        if not _read(group / name).strip():
            _write(group / name, _read(group.parent / name).strip())


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _write(path: Path, text: str, *, missing_ok: bool = False) -> None:
    try:
        # Never O_CREAT: in a cgroup tree a file that is not there means a controller that is not there.
        descriptor = os.open(path, os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC)
    except FileNotFoundError:
        if missing_ok:
            return
        raise EngineError(f"{path} does not exist.", "The ghost is gone: destroy it.") from None
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def _wait(done: Callable[[], bool], ghost: GhostId, frozen: bool) -> None:
    deadline_s = time.monotonic() + FREEZE_TIMEOUT_S
    while not done():
        if time.monotonic() > deadline_s:
            raise EngineError(f"Ghost {ghost} did not {'freeze' if frozen else 'thaw'} within {FREEZE_TIMEOUT_S:g} s.")
        time.sleep(0.0002)


def _tree(group: Path) -> list[Path]:
    """The group and all below it, deepest first."""
    if not group.is_dir():
        return []
    return [Path(directory) for directory, _, _ in os.walk(group, topdown=False)]


def _remove_tree(group: Path) -> None:
    for path in _tree(group):
        for attempt in range(100):
            try:
                path.rmdir()
            except FileNotFoundError:
                pass
            except OSError as error:
                if error.errno == errno.EBUSY and attempt < 99:
                    time.sleep(0.005)
                    continue
                raise EngineError(f"The cgroup {path} cannot be removed: {error.strerror}.") from error
            break
