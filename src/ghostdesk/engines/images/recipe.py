"""What goes into an image of a desktop: packages, settings of the build, and the text that describes it. Pure.

An image is a Debian root made by mmdebstrap (mmdebstrap(1)) with the desktop, the applications asked for, the agent and
the session of this version. It comes in two forms:

- *incus*: `metadata.tar` and `rootfs.tar`, the split form that Incus and LXD import (doc/reference/image_format);
- *vm*: a disk with one ext4 file system and no boot loader, beside the kernel and the initial RAM disk that boot it.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from ghostdesk.kernel.errors import ConfigError

MIB = 1024 * 1024


class Form(StrEnum):
    """What the image is for."""

    INCUS = "incus"
    VM = "vm"


class Content(StrEnum):
    """How much is in it: a desktop, or only what shows that a root can be made, for tests and dry runs."""

    DESKTOP = "desktop"
    SKELETON = "skeleton"


MACHINES: Mapping[str, str] = MappingProxyType({"amd64": "x86_64", "arm64": "aarch64"})
"""Debian's architectures that images can be built for, with the names that Incus, LXD and the kernel use."""
SUITES = ("bookworm",)

_DESKTOP = (
    "openbox tint2 dbus util-linux x11-utils x11-xkb-utils x11-xserver-utils xdotool fonts-dejavu-core "
    "adwaita-icon-theme hicolor-icon-theme shared-mime-info python3 python3-xlib pulseaudio-utils iproute2"
)
DESKTOP_PACKAGES = tuple(_DESKTOP.split())
"""What the session, the agent and applications need, whatever the screen."""
SCREEN_PACKAGES: Mapping[Form, tuple[str, ...]] = MappingProxyType(
    {
        Form.INCUS: ("tigervnc-standalone-server",),
        Form.VM: (
            "xserver-xorg-core",
            "xserver-xorg-input-evdev",
            "qemu-guest-agent",
            "kmod",
            "mount",
            "busybox-static",
        ),
    }
)
"""A container's screen is a server of its own; a machine's is the console of its hypervisor."""
KERNELS: Mapping[str, str] = MappingProxyType({"amd64": "linux-image-amd64", "arm64": "linux-image-arm64"})
"""Whose kernel boots a machine, and whose drivers are in its first root. Not Debian's kernel for clouds: that has no
driver for a screen."""
APPS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "terminal": ("lxterminal",),
        "editor": ("mousepad",),
        "viewer": ("evince",),
        "chromium": ("chromium",),
        "firefox": ("firefox-esr",),
        "writer": ("libreoffice-writer", "libreoffice-gtk3"),
        "office": ("libreoffice-writer", "libreoffice-calc", "libreoffice-impress", "libreoffice-gtk3"),
        "gimp": ("gimp",),
        "thunderbird": ("thunderbird",),
    }
)
USUAL_APPS = ("terminal", "editor", "viewer", "chromium")

_EXCLUDED = ("doc/*", "man/*", "info/*", "help/*", "lintian/*")
_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]+")
_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{0,61}")
_ROOM_BYTES: Mapping[Content, int] = MappingProxyType({Content.DESKTOP: 4096 * MIB, Content.SKELETON: 256 * MIB})
_SPARE_BYTES = 512 * MIB


@dataclass(frozen=True, slots=True)
class Recipe:
    """What is asked for.

    Args:
        form: what it is for.
        name: of the image, which is also the alias that it is imported under: letters, digits, dots and hyphens.
        apps: applications by the short names of `APPS`, or names of Debian packages.
        architecture: Debian's name of it.
        suite: Debian's release.
        mirror: where packages come from; empty for Debian's own.
        content: a whole desktop, or a skeleton.
        spare_bytes: of a machine's disk, beyond what is in it.
    """

    form: Form
    name: str = "ghostdesk"
    apps: tuple[str, ...] = USUAL_APPS
    architecture: str = "amd64"
    suite: str = "bookworm"
    mirror: str = ""
    content: Content = Content.DESKTOP
    spare_bytes: int = _SPARE_BYTES


def check_recipe(recipe: Recipe) -> None:
    """Raise `ConfigError` for a recipe that cannot be built anywhere."""
    if not _NAME.fullmatch(recipe.name):
        raise ConfigError(f"{recipe.name!r} cannot be an image's name.", "Use lower-case letters, digits, . and -.")
    if recipe.architecture not in MACHINES:
        raise ConfigError(
            f"Images of architecture {recipe.architecture!r} cannot be built.", f"Give one of: {', '.join(MACHINES)}."
        )
    if recipe.suite not in SUITES:
        raise ConfigError(f"Images of Debian {recipe.suite!r} cannot be built.", f"Give {' or '.join(SUITES)}.")
    if recipe.mirror and not recipe.mirror.startswith(("http://", "https://", "file:", "copy:")):
        raise ConfigError(f"{recipe.mirror!r} is no mirror.", "Give an address such as http://deb.debian.org/debian.")
    for app in recipe.apps:
        if app not in APPS and not _PACKAGE.fullmatch(app):
            raise ConfigError(f"{app!r} is neither an application nor a package.", f"Applications: {', '.join(APPS)}.")


def packages(recipe: Recipe) -> tuple[str, ...]:
    """Every Debian package that is asked for by name, sorted; what they depend on comes with them."""
    if recipe.content is Content.SKELETON:
        return ("busybox-static",)
    wanted = {*DESKTOP_PACKAGES, *SCREEN_PACKAGES[recipe.form]}
    for app in recipe.apps:
        wanted.update(APPS.get(app, (app,)))
    return tuple(sorted(wanted))


def room_bytes(recipe: Recipe) -> int:
    """Free space that a build is not begun without: an estimate, some applications take more."""
    more = sum(600 * MIB for app in recipe.apps if app in {"office", "writer", "firefox", "thunderbird"})
    return _ROOM_BYTES[recipe.content] + (more if recipe.content is Content.DESKTOP else 0)


def mmdebstrap_command(recipe: Recipe, output: str, files: str, *, root: bool, kernel: str = "") -> list[str]:
    """The command that makes the root.

    Args:
        recipe: what is asked for.
        output: file of the root (a tar file), or its folder for a virtual machine.
        files: tar file with what is put on top: the agent, the session, the first process.
        kernel: folder that the kernel's package is fetched into, for a virtual machine; empty for none.
        root: whether we are root; else mmdebstrap makes namespaces of its own.
    """
    variant = "essential" if recipe.content is Content.DESKTOP else "extract"
    command = ["mmdebstrap", f"--variant={variant}", f"--mode={'root' if root else 'unshare'}"]
    command += [
        f"--format={'directory' if recipe.form is Form.VM else 'tar'}",
        f"--architectures={recipe.architecture}",
    ]
    command += [f"--include={','.join(packages(recipe))}"]
    for option in ('Acquire::Languages "none"', 'APT::Install-Recommends "false"', 'Acquire::Retries "1"'):
        command.append(f"--aptopt={option}")
    excluded = [f"/usr/share/{name}" for name in _EXCLUDED]
    # unsafe-io: a build that is cut off is thrown away, so nothing is gained by waiting for the disk at each file.
    command += [f"--dpkgopt=path-exclude={path}" for path in excluded] + ["--dpkgopt=force-unsafe-io"]
    hook = "customize-hook" if recipe.content is Content.DESKTOP else "extract-hook"
    command += [f"--{hook}=tar-in {shlex.quote(files)} /", f"--{hook}={IDENTITY_HOOK}"]
    if recipe.content is Content.DESKTOP:
        command.append(f"--{hook}={COMPILE_HOOK}")
    if kernel:
        command.append(f"--{hook}={kernel_hook(KERNELS[recipe.architecture], kernel)}")
    command += [recipe.suite, output]
    return command + ([recipe.mirror] if recipe.mirror else [])


IDENTITY_HOOK = (
    'mkdir -p "$1/etc" "$1/home/user"; '
    'grep -qs "^user:" "$1/etc/passwd" || echo "user:x:1000:1000:User:/home/user:/bin/bash" >>"$1/etc/passwd"; '
    'grep -qs "^user:" "$1/etc/group" || echo "user:x:1000:" >>"$1/etc/group"; '
    'chown 1000:1000 "$1/home/user"; : >"$1/etc/machine-id"; rm -f "$1/etc/hostname" "$1/var/lib/dbus/machine-id" '
    '"$1"/etc/ssh/ssh_host_*'
)
"""The user; and nothing that tells one machine from another, as each desktop gets its own."""


COMPILE_HOOK = 'chroot "$1" /usr/bin/python3 -m compileall -q /opt/ghostdesk'
"""Compiled once, not at the start of each desktop, which would not keep it."""


def kernel_hook(package: str, folder: str) -> str:
    """Fetches the newest kernel that `package` stands for, with the lists and keys of this build."""
    apt = 'APT_CONFIG="$MMDEBSTRAP_APT_CONFIG"'
    newest = f"{apt} apt-cache depends {package} | sed -n 's/^ *Depends: \\(linux-image-[^ ]*\\)$/\\1/p' | head -1"
    return f'cd {shlex.quote(folder)} && {apt} apt-get -qq download "$({newest})"'


def description(recipe: Recipe) -> str:
    """One line for people."""
    what = (
        "a skeleton" if recipe.content is Content.SKELETON else f"a desktop with {', '.join(recipe.apps) or 'nothing'}"
    )
    return f"ghostdesk: {what}, Debian {recipe.suite}, {recipe.architecture}"


def metadata_yaml(recipe: Recipe, runtime: str, created_s: int, binds: Sequence[str] = ()) -> str:
    """`metadata.yaml` of an image for Incus or LXD; JSON, which is YAML too.

    Args:
        recipe: what it was made from.
        runtime: which version of the agent and the session is in it.
        created_s: seconds since 1970-01-01 UTC.
        binds: folders of the server that its instances must see read-only.
    """
    properties = {
        "description": description(recipe), "os": "Debian", "release": recipe.suite,
        "architecture": recipe.architecture, **image_properties(runtime, binds),
    }  # fmt: skip
    told = {
        "architecture": MACHINES[recipe.architecture],
        "creation_date": created_s,
        "properties": properties,
    }
    return json.dumps(told, indent=1, sort_keys=True) + "\n"


BINDS, RUNTIME = "ghostdesk.binds", "ghostdesk.runtime"
"""Properties by which the engine knows an image: what it needs of the server, and whose agent it holds."""


def image_properties(runtime: str, binds: Sequence[str]) -> dict[str, str]:
    """The properties that the engine reads."""
    return {BINDS: " ".join(binds), RUNTIME: runtime}


def disk_bytes(used_bytes: int, spare_bytes: int) -> int:
    """How large a disk for a root of that size has to be: ext4's own tables take some; whole MiB."""
    return -(-int(used_bytes * 1.12 + 96 * MIB + spare_bytes) // MIB) * MIB


def machine_files(content: Content) -> list[str]:
    """What an image for virtual machines consists of; a skeleton boots nothing, so it has no kernel."""
    return ["disk.raw", "vmlinuz", "initrd"] if content is Content.DESKTOP else ["disk.raw"]


def plan_of(recipe: Recipe) -> dict[str, Any]:
    """The recipe with all that follows from it, for scripts and for people who look before they build."""
    return {
        "name": recipe.name,
        "for": recipe.form.value,
        "description": description(recipe),
        "suite": recipe.suite,
        "architecture": recipe.architecture,
        "mirror": recipe.mirror or "Debian's own",
        "packages": list(packages(recipe)),
        "needs_free_bytes": room_bytes(recipe),
        "makes": ["metadata.tar", "rootfs.tar"] if recipe.form is Form.INCUS else machine_files(recipe.content),
    }
