"""The image that desktops' pods are made from: a build context for podman, buildah or docker."""

from __future__ import annotations

import shutil
from pathlib import Path

import ghostdesk
from ghostdesk.engines.kubernetes.render import COMMAND, INSIDE_UID
from ghostdesk.engines.local.runtime import runtime_files

DESKTOP = (
    "tigervnc-standalone-server", "openbox", "tint2", "dbus", "util-linux", "x11-utils", "x11-xkb-utils",
    "x11-xserver-utils", "xdotool", "fonts-dejavu-core", "adwaita-icon-theme", "hicolor-icon-theme",
    "shared-mime-info", "python3", "python3-xlib", "pulseaudio-utils",
)  # fmt: skip
"""Debian packages of the desktop itself: the part of scripts/packages-run.txt that runs inside desktops."""
APPLICATIONS = ("lxterminal", "mousepad", "evince", "firefox-esr")
_OPT = "opt/ghostdesk"


def containerfile(applications: tuple[str, ...] = APPLICATIONS, base: str = "docker.io/library/debian:12-slim") -> str:
    """The recipe: Debian, the desktop, the applications, ghostdesk's agent; a user without any right."""
    packages = " ".join([*DESKTOP, *applications])
    uid = INSIDE_UID
    command = ", ".join(f'"{word}"' for word in COMMAND)
    return f"""\
FROM {base}
ENV DEBIAN_FRONTEND=noninteractive
RUN apt-get update && apt-get install -y --no-install-recommends {packages} && rm -rf /var/lib/apt/lists/*
RUN groupadd --gid {uid} user \\
 && useradd --uid {uid} --gid {uid} --no-create-home --home-dir /home/user user \\
 && install -d -m 0700 -o {uid} -g {uid} /home/user /run/ghost /run/user/{uid} \\
 && mkdir -p /run/identity && touch /etc/machine-id
COPY {_OPT} /{_OPT}
ENV PYTHONPATH=/{_OPT}
USER {uid}:{uid}
CMD [{command}]
"""


def write_context(folder: Path, applications: tuple[str, ...] = APPLICATIONS) -> None:
    """Write the recipe and what it copies into `folder`, which must be empty or not there; raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise FileExistsError(f"{folder} is not empty")
    package = Path(ghostdesk.__file__).parent
    for source, place in runtime_files(package, package / "engines" / "local" / "desktop"):
        target = folder / _OPT / place
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        target.chmod(0o755 if target.suffix == ".sh" else 0o644)
    (folder / "Containerfile").write_text(containerfile(applications))
