"""What a ghost sees of the host: pure rendering of the bubblewrap command line and of the generated /etc."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ghostdesk.engines.local.gpu_sandbox import NO_GPU, GpuView
from ghostdesk.engines.local.records import GhostPaths
from ghostdesk.kernel.ids import GhostId

INSIDE_UID = 1000
"""The uid that every ghost's user has inside, and that homes have on disk."""
INFO_FD = 10
"""The descriptor on which bubblewrap tells the first process's pid."""
SLIRP_RESOLVER = "10.0.2.3"
_OF_ONE_DESKTOP = frozenset({"GHOSTDESK_GHOST", "GHOSTDESK_GEOMETRY"})

_ETC_NAMES = (
    "alsa alternatives bash.bashrc ca-certificates ca-certificates.conf chromium chromium.d dbus-1 dconf "
    "debian_version dictionaries-common evince firefox firefox-esr fonts gai.conf ghostscript gimp glvnd "
    "groff gss gtk-2.0 gtk-3.0 gtk-4.0 host.conf ImageMagick-6 inputrc issue java-11-openjdk "
    "java-17-openjdk java-21-openjdk ld.so.cache ld.so.conf ld.so.conf.d libpaper.d libreoffice "
    "locale.alias localtime magic magic.mime mailcap mime.types networks openal OpenCL opt/chrome os- "
    "release papersize paperspecs perl pipewire profile profile.d protocols pulse python3 python3.9 "
    "python3.10 python3.11 python3.12 python3.13 qt5 rpc security/limits.conf services sgml shells skel "
    "speech-dispatcher ssl/certs ssl/openssl.cnf terminfo thunderbird timezone tint2 vim vulkan X11 "
    "xattr.conf xdg xml "
)
ETC_SHARED = tuple(_ETC_NAMES.split())
"""The parts of /etc that applications read and that hold no secret. Everything else of /etc does not exist inside."""

VAR_SHARED = (
    "cache/fontconfig",
    "cache/dictionaries-common",
    "lib/aspell",
    "lib/dictionaries-common",
    "lib/ghostscript",
    "lib/ispell",
    "lib/libreoffice",
    "lib/openbox",
    "lib/xkb",
    "lib/xfonts",
)
"""The same for /var, into which packages link some of their files under /usr."""

SYS_SHARED = ("devices/system/cpu", "devices/system/node", "devices/virtual/dmi/id/product_name")
"""How many processors there are; the rest of /sys shows hardware and other ghosts' cgroups."""


@dataclass(frozen=True, slots=True)
class SandboxPlan:
    """What one ghost is started with.

    Args:
        ghost: its id, which is also its host name.
        paths: its folders.
        runtime: the folder bound at /opt/ghostdesk.
        width_px, height_px: the first size of its screen.
        cgroup: its delegated cgroup, bound at /run/cgroup; None without one.
        cgroup_kind: "v2", "v1" or "none".
        usr_merged: names at the root that are links into /usr on this host, with their targets.
        firefox_policies: whether to give ours to Firefox (no first-run pages), as the host has none.
        tmp_bytes: how much /tmp may hold.
        gpu: what it sees of a GPU.
    """

    ghost: GhostId
    paths: GhostPaths
    runtime: Path
    width_px: int
    height_px: int
    cgroup: Path | None
    cgroup_kind: str
    usr_merged: Mapping[str, str] = field(default_factory=dict)
    firefox_policies: bool = False
    tmp_bytes: int = 2 * 1024**3
    gpu: GpuView = NO_GPU


def usr_links(root: Path = Path("/")) -> dict[str, str]:
    """Which of /bin, /lib and so on are links on this host, and where they lead."""
    names = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
    return {name: str((root / name).readlink()) for name in names if (root / name).is_symlink()}


def common_environment() -> dict[str, str]:
    """What of the environment is the same for every desktop, whatever its machine and size."""
    nowhere = Path("/nonexistent")
    plan = SandboxPlan(GhostId("x"), GhostPaths(nowhere, nowhere), nowhere, 1, 1, None, "none")
    return {name: value for name, value in environment(plan).items() if name not in _OF_ONE_DESKTOP}


def environment(plan: SandboxPlan) -> dict[str, str]:
    """The whole environment of the session; nothing is inherited from the control plane."""
    return {
        "HOME": "/home/user",
        "USER": "user",
        "LOGNAME": "user",
        "SHELL": "/bin/bash",
        "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/games",
        "LANG": "C.UTF-8",
        "DISPLAY": ":0",
        "XDG_RUNTIME_DIR": "/run/user/1000",
        "XDG_CURRENT_DESKTOP": "ghostdesk",
        "XDG_SESSION_TYPE": "x11",
        "PYTHONPATH": "/opt/ghostdesk",
        "PYTHONDONTWRITEBYTECODE": "1",
        "GHOSTDESK_GHOST": plan.ghost,
        "GHOSTDESK_AGENT_SOCKET": "/run/ghost/agent.sock",
        "GHOSTDESK_TOKEN_FILE": "/run/ghost/agent.token",
        "GHOSTDESK_CGROUP_KIND": plan.cgroup_kind,
        "GHOSTDESK_GEOMETRY": f"{plan.width_px}x{plan.height_px}",
        **({"GHOSTDESK_CGROUP": "/run/cgroup"} if plan.cgroup else {}),
        # Without a session manager or accessibility bus these only cost time at each application's start.
        "NO_AT_BRIDGE": "1",
        "GTK_A11Y": "none",
        "MOZ_CRASHREPORTER_DISABLE": "1",
        **plan.gpu.environment,
    }


_UNMADE_PARENTS = ("/", "/usr", "/proc", "/dev", "/tmp", "/run", "/run/user", "/home")  # noqa: S108


def imageable_arguments(plan: SandboxPlan, command: Sequence[str]) -> list[str]:
    """The same sandbox for a desktop that CRIU is to write to an image.

    It is entered as the root of a user namespace that was made before (CRIU needs one that maps a root, and only one
    level of them), and `command` has to give up that root and its capabilities. A session of its own, because CRIU
    cannot follow one out of the PID namespace. Folders that are only on the way to a mount are made readable.
    """
    inner = bwrap_arguments(plan, command)
    for words in (["--unshare-user"], ["--uid", str(INSIDE_UID)], ["--gid", str(INSIDE_UID)]):
        at = next(n for n in range(len(inner)) if inner[n : n + len(words)] == words)
        del inner[at : at + len(words)]
    end = inner.index("--")
    binds = {"--bind", "--ro-bind", "--ro-bind-try", "--dev-bind"}
    places = [inner[n + 2] for n in range(end - 2) if inner[n] in binds]
    on_the_way = {str(parent) for place in places for parent in Path(place).parents} - {*_UNMADE_PARENTS}
    wanted = sorted(way for way in on_the_way if way.startswith(("/etc", "/var", "/sys", "/opt")))
    ways = [word for way in wanted for word in ("--perms", "0755", "--dir", way)]
    rights = [word for right in ("CHOWN", "SETUID", "SETGID", "SETPCAP") for word in ("--cap-add", f"CAP_{right}")]
    return [inner[0], "--new-session", *rights, *ways, *inner[1:]]


def bwrap_arguments(plan: SandboxPlan, command: Sequence[str]) -> list[str]:
    """The bubblewrap command line (bwrap(1)) that runs `command` as the first process of the ghost.

    No --die-with-parent: a ghost outlives the control plane. --as-pid-1: when the session ends, the kernel ends the
    rest. No --unshare-cgroup: on hosts that mount cgroup2 with `nsdelegate` the agent could then not move processes
    between the ghost's own cgroups, and only the ghost's own id shows.
    """
    arguments = ["bwrap", "--unshare-user", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts"]
    arguments += ["--uid", str(INSIDE_UID), "--gid", str(INSIDE_UID), "--hostname", plan.ghost]
    arguments += ["--as-pid-1", "--info-fd", str(INFO_FD)]
    arguments += ["--ro-bind", "/usr", "/usr"]
    for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32"):
        if name in plan.usr_merged:
            arguments += ["--symlink", plan.usr_merged[name], f"/{name}"]
        else:
            arguments += ["--ro-bind-try", f"/{name}", f"/{name}"]
    arguments += ["--proc", "/proc", "--dev", "/dev"]
    for name in SYS_SHARED:
        arguments += ["--ro-bind-try", f"/sys/{name}", f"/sys/{name}"]
    arguments += ["--perms", "1777", "--size", str(plan.tmp_bytes), "--tmpfs", "/tmp"]  # noqa: S108 - the ghost's own
    arguments += ["--perms", "1777", "--dir", "/tmp/.X11-unix", "--perms", "1777", "--dir", "/tmp/.ICE-unix"]  # noqa: S108
    arguments += ["--perms", "0755", "--dir", "/run", "--perms", "0755", "--dir", "/run/user"]
    arguments += ["--perms", "0700", "--size", str(256 * 1024**2), "--tmpfs", "/run/user/1000"]
    arguments += ["--dir", "/var", "--symlink", "../tmp", "/var/tmp", "--symlink", "../run", "/var/run"]  # noqa: S108
    for name in VAR_SHARED:
        arguments += ["--ro-bind-try", f"/var/{name}", f"/var/{name}"]
    for name in ETC_SHARED:
        arguments += ["--ro-bind-try", f"/etc/{name}", f"/etc/{name}"]
    for name in ETC_GENERATED:
        arguments += ["--ro-bind", str(plan.paths.etc / name), f"/etc/{name}"]
    if plan.firefox_policies:
        source = str(plan.runtime / "desktop" / "firefox-policies.json")
        arguments += ["--ro-bind", source, "/etc/firefox/policies/policies.json"]
    arguments += [*plan.gpu.arguments, "--symlink", "/proc/self/mounts", "/etc/mtab"]
    arguments += ["--ro-bind", str(plan.runtime), "/opt/ghostdesk"]
    arguments += ["--bind", str(plan.paths.run), "/run/ghost"]
    arguments += ["--bind", str(plan.paths.slot), "/home"]
    if plan.cgroup is not None:
        arguments += ["--bind", str(plan.cgroup), "/run/cgroup"]
    arguments += ["--remount-ro", "/", "--chdir", "/home/user"]
    return [*arguments, "--", *command]


ETC_GENERATED = ("passwd", "group", "hosts", "hostname", "machine-id", "resolv.conf", "nsswitch.conf", "environment")


def generated_etc(ghost: GhostId, machine_id: str, *, outbound: bool) -> dict[str, str]:
    """The files of /etc that are the ghost's own, by name (`ETC_GENERATED`).

    Args:
        ghost: its id.
        machine_id: 32 hexadecimal digits, never the host's: machine-id(5) is a secret of the host.
        outbound: whether names of the internet are to be resolved.
    """
    shell = "/bin/bash"
    return {
        "passwd": (
            f"root:x:0:0:root:/root:/usr/sbin/nologin\nuser:x:{INSIDE_UID}:{INSIDE_UID}:User:/home/user:{shell}\n"
            "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
        ),
        "group": f"root:x:0:\nuser:x:{INSIDE_UID}:\nnogroup:x:65534:\n",
        "hosts": f"127.0.0.1 localhost {ghost}\n::1 localhost ip6-localhost ip6-loopback\n",
        "hostname": f"{ghost}\n",
        "machine-id": f"{machine_id}\n",
        "resolv.conf": f"nameserver {SLIRP_RESOLVER}\n" if outbound else "",
        "nsswitch.conf": "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nservices: files\n"
        "protocols: files\nnetworks: files\n",
        "environment": "",
    }
