"""What ghostdesk puts into an image of a virtual machine: agent, session, and the scripts that the host calls inside.

An image for this engine is a disk of one ext4 file system, without partitions, that holds a Debian with Xorg (its
modesetting and evdev drivers), openbox, tint2, dbus, python3 with python3-xlib, xdotool, x11-utils, x11-xserver-utils,
busybox, iproute2 and qemu-guest-agent, a user "user" with uid 1000, and these files. Its kernel is booted directly,
with a first root file system that `kernel_image.first_root` makes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import ghostdesk
from ghostdesk.engines.local.runtime import runtime_files

_GUEST = Path(__file__).parent / "guest"
_OPT = "opt/ghostdesk"
FIRST_PROCESS = _GUEST / "initramfs-init.sh"
"""The script that is the first process of the first root file system."""


def guest_files() -> Sequence[tuple[Path, str, int]]:
    """Each file with its place in the image, and its mode."""
    package = Path(ghostdesk.__file__).parent
    found = [(source, f"{_OPT}/{place}") for source, place in runtime_files(package, package / "engines/local/desktop")]
    found += [(path, f"{_OPT}/vm/{path.name}") for path in sorted(_GUEST.iterdir()) if path.is_file()]
    return [(source, place, 0o755 if place.endswith(".sh") else 0o644) for source, place in found]
