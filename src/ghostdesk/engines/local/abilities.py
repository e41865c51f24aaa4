"""What this host lets the local engine do, found by trying."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from ghostdesk.engines.local import network, shaping
from ghostdesk.engines.local.cgroup_limits import BlockDevice
from ghostdesk.engines.local.cgroups import Hierarchies
from ghostdesk.engines.local.disks import scheduler_of
from ghostdesk.engines.local.limit_abilities import describe_limits
from ghostdesk.engines.local.memory import swap_total_bytes
from ghostdesk.engines.local.zram import swap_is_compressed
from ghostdesk.engines.protocol import DESKTOPS, PARKING, Ability
from ghostdesk.kernel.errors import MissingRequirement
from ghostdesk.kernel.resources import Resources

PACKAGES = {
    "bwrap": "bubblewrap",
    "Xvnc": "tigervnc-standalone-server",
    "openbox": "openbox",
    "tint2": "tint2",
    "xdotool": "xdotool",
    "xsetroot": "x11-xserver-utils",
    "xprop": "x11-utils",
    "dbus-run-session": "dbus",
    "setpriv": "util-linux",
    "python3": "python3",
}
"""The programs of a desktop, and the package of each on Debian and Ubuntu."""
PYTHON_PACKAGES = {"Xlib": "python3-xlib"}
"""The modules that the agent cannot do without."""
ASSUMED_NETWORK_BYTES_PER_S = 125e6
"""One gigabit a second, where no network card tells its speed."""
ASSUMED_STORAGE_BYTES_PER_S = 500e6
"""A solid-state disk; nothing on a host tells this without loading the disk."""
_NAMESPACES = ["unshare", "--user", "--pid", "--net", "--ipc", "--uts", "--mount", "--fork", "true"]


def check_requirements() -> None:
    """Raise `MissingRequirement`, naming the apt packages, when desktops cannot run here."""
    missing = [name for name in PACKAGES if shutil.which(name, path="/usr/local/bin:/usr/bin:/bin") is None]
    if missing:
        packages = " ".join(sorted({PACKAGES[name] for name in missing}))
        raise MissingRequirement(f"{', '.join(missing)} is not installed.", f"Run: apt-get install {packages}")
    if modules := missing_modules():
        packages = " ".join(PYTHON_PACKAGES[name] for name in modules)
        raise MissingRequirement(
            f"Debian's Python has no {', '.join(modules)}, which the agent inside desktops needs.",
            f"Run: apt-get install {packages}",
        )
    if problem := namespaces_problem():
        raise MissingRequirement(
            f"This host refuses unprivileged user namespaces ({problem}).",
            "Set user.max_user_namespaces above 0 and, where they exist, kernel.unprivileged_userns_clone=1 and "
            "kernel.apparmor_restrict_unprivileged_userns=0 with sysctl; in a container, allow them in its profile.",
        )


def desktops() -> Ability:
    """Whether desktops can run here at all."""
    try:
        check_requirements()
    except MissingRequirement as error:
        return Ability(DESKTOPS, False, error.cause, error.mend)
    return Ability(DESKTOPS, True, "all that a desktop needs is here")


def missing_modules(python: str = "/usr/bin/python3") -> list[str]:
    """Which modules the Python that runs inside desktops lacks."""
    code = "import sys, importlib.util as u; print(*[n for n in sys.argv[1:] if u.find_spec(n) is None])"
    done = subprocess.run(
        [python, "-I", "-c", code, *PYTHON_PACKAGES], capture_output=True, text=True, timeout=20, check=False
    )
    return done.stdout.split() if done.returncode == 0 else list(PYTHON_PACKAGES)


def namespaces_problem() -> str:
    """Why an unprivileged process cannot make namespaces here; "" when it can."""
    drop = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"] if os.geteuid() == 0 else []
    try:
        done = subprocess.run([*drop, *_NAMESPACES], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return "" if done.returncode == 0 else done.stderr.strip() or f"exit {done.returncode}"


def describe(
    trees: Hierarchies, idmap_problem: str, wanted_network: str, disk: BlockDevice | None = None
) -> Sequence[Ability]:
    """The list for people, each with its mend; `disk` is the one that homes are on."""
    root = os.geteuid() == 0
    swap = swap_total_bytes()
    slirp = network.unusable()
    freeze = {"v2": "cgroup v2", "hybrid": "cgroup v2", "v1": "the v1 freezer"}.get(trees.mode, "SIGSTOP")
    reclaim = {"v2": "memory.reclaim", "hybrid": "memory.force_empty", "v1": "memory.force_empty"}.get(
        trees.mode, "process_madvise"
    )
    can_reclaim = swap > 0 and (root or trees.mode != "none")
    return (
        Ability(
            "root",
            root,
            "a uid of its own for each ghost"
            if root
            else "all ghosts share your uid; namespaces alone keep them apart",
            "" if root else "Run as root, so that each ghost gets a uid of its own.",
        ),
        Ability("user namespaces", True, "unprivileged bubblewrap"),
        Ability("cgroups", trees.mode != "none", trees.detail, "" if trees.mode != "none" else "Run as root."),
        Ability("freeze", True, freeze),
        Ability(
            PARKING,
            can_reclaim,
            f"{reclaim}, {swap / 2**30:.1f} GiB of {'compressed ' if swap_is_compressed() else ''}swap"
            if can_reclaim
            else "no swap: parked ghosts keep their memory"
            if swap == 0
            else "needs root",
            "" if can_reclaim else "Set parking.zram_bytes and run as root, or install zram-tools.",
        ),
        Ability(
            "attach home",
            not idmap_problem,
            "id-mapped mount into the running ghost" if not idmap_problem else f"by moving it ({idmap_problem})",
            "" if not idmap_problem else "Run as root on Linux 5.12 or later, with homes on ext4, xfs or btrfs.",
        ),
        Ability(
            "network",
            wanted_network == "isolated" or not slirp,
            "isolated, as set" if wanted_network == "isolated" else slirp or "outbound through slirp4netns",
            "" if wanted_network == "isolated" or not slirp else "apt-get install slirp4netns, and have /dev/net/tun",
        ),
        *describe_limits(
            trees,
            disk,
            scheduler_of(disk) if disk else "",
            shaping.unusable(),
            isolated=wanted_network == "isolated" or bool(slirp),
        ),
    )


def capacity() -> Resources:
    """What the host has in all; `Gpus` counts the GPUs."""
    speeds = []
    for path in Path("/sys/class/net").glob("*/speed"):
        try:
            speeds.append(int(path.read_text()) * 1e6 / 8)
        except (OSError, ValueError):
            continue
    fastest = max([speed for speed in speeds if speed > 0], default=ASSUMED_NETWORK_BYTES_PER_S)
    return Resources(
        cpu_cores=float(len(os.sched_getaffinity(0))),
        memory_bytes=float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")),
        network_bytes_per_s=fastest,
        storage_bytes_per_s=ASSUMED_STORAGE_BYTES_PER_S,
    )
