"""What an image of a running desktop is, and what its clones are restored with. Pure.

Theory of operation. A *template desktop* is started once, without owner, network or secrets, in a user namespace of one
level that also has a root (`INSIDE_ROOT`), as CRIU needs one to set a restored desktop up. CRIU writes its processes
and the files of its own (/tmp, the runtime folder) into an *image*. A clone gets namespaces, control groups, a uid,
a machine-id, a home, sockets and a credential of its own; two small files of the image say which uids its namespace
maps and what its host is called, and each clone has these written anew. All others are shared by all clones.

CRIU's files: https://criu.org/Images. Each begins with two magic numbers of 4 bytes; an entry is its length in 4 bytes
and a protocol buffer (images/userns.proto, images/utsns.proto in CRIU's source).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ghostdesk.engines.local.mounts import unescape
from ghostdesk.engines.local.sandbox import INSIDE_UID
from ghostdesk.ghosts.ghost import DesktopTemplate
from ghostdesk.kernel.errors import EngineError

FORMAT = 1
"""Of our own part of an image; another one is made anew."""
INSIDE_ROOT_OFFSET = 10_000
"""The host's uid of a clone's inner root is this far above the clone's own. No process keeps it."""
FRESH = ("/", "/proc", "/dev", "/dev/pts", "/tmp", "/run/user/1000")  # noqa: S108 - mount points inside
"""What each clone has of its own from the image; every other mount is bound from the host."""
_MAGIC_BYTES = 8
_FEWEST_BYTES = _MAGIC_BYTES + 4


class ImageBroken(EngineError):
    """An image of a desktop is missing, damaged, or made for another host; a cold start is used instead."""

    code = "image"


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """Our own part of an image (image.json).

    Args:
        key: what it was made from (`image_key`); another key makes it worthless.
        mounts: CRIU's name of each mount that is bound from the host, by where it is inside.
        groups: processes, as their own namespace counts them, of each application that was launched ahead.
        bytes: of CRIU's files.
        made_s: when, seconds since 1970-01-01 UTC.
    """

    key: str
    mounts: Mapping[str, str]
    groups: Mapping[str, Sequence[int]] = field(default_factory=dict)
    bytes: int = 0
    made_s: float = 0.0
    format: int = FORMAT

    def to_text(self) -> str:
        """As it is kept."""
        table = {
            "format": self.format,
            "key": self.key,
            "mounts": dict(self.mounts),
            "groups": {name: list(pids) for name, pids in self.groups.items()},
            "bytes": self.bytes,
            "made_s": self.made_s,
        }
        return json.dumps(table, indent=1)

    @classmethod
    def of_text(cls, text: str) -> ImageInfo:
        """Read it again; raises `ImageBroken`."""
        try:
            table = json.loads(text)
            if table["format"] != FORMAT:
                raise ImageBroken(f"The image is of format {table['format']}, and this version reads {FORMAT}.")
            return cls(
                str(table["key"]),
                {str(place): str(name) for place, name in table["mounts"].items()},
                {str(name): [int(pid) for pid in pids] for name, pids in table["groups"].items()},
                int(table["bytes"]),
                float(table["made_s"]),
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ImageBroken(f"The image's description cannot be read: {error!r}.") from None


def image_key(template: DesktopTemplate, apps: Sequence[str], runtime: str, host: Sequence[str]) -> str:
    """What an image depends on, as text: same text, same image.

    Args:
        apps: launched ahead in it.
        runtime: the version of what is bound at /opt/ghostdesk.
        host: CRIU's version, the kernel's, the processor's: what CRIU cannot restore across.
    """
    parts = (template.template, template.width_px, template.height_px, list(apps), runtime, list(host))
    return json.dumps(parts)


def mount_names(mountinfo: str) -> dict[str, str]:
    """A name for every mount that a clone has bound from the host, by its place inside.

    Args:
        mountinfo: the template desktop's /proc/PID/mountinfo (proc(5)).
    """
    places = [unescape(line.split()[4]) for line in mountinfo.splitlines() if line.strip()]
    return {place: f"m{number}" for number, place in enumerate(dict.fromkeys(places)) if place not in FRESH}


def dump_arguments(pid: int, mounts: Mapping[str, str]) -> list[str]:
    """CRIU's arguments (criu(8)) that write the desktop with this first process; it ends with that.

    The network namespace is made anew, empty but for sockets; control groups are ours to choose.
    """
    external = [word for place, name in mounts.items() for word in ("--external", f"mnt[{place}]:{name}")]
    return [
        "dump",
        *("--tree", str(pid), "--manage-cgroups=ignore", "--empty-ns", "net", "--network-lock", "skip"),
        *("--file-locks", "--link-remap", "--ghost-limit", "64M"),
        *external,
    ]


def restore_arguments(root: Path, pid_file: str, sources: Mapping[str, str]) -> list[str]:
    """CRIU's arguments that restore a clone and leave it running.

    Args:
        root: the folder that becomes its root.
        pid_file: written beside the image, with the host's pid of the first process.
        sources: a path of the host for each mount's name.
    """
    external = [word for name, source in sources.items() for word in ("--external", f"mnt[{name}]:{source}")]
    return [
        "restore",
        *("--root", str(root), "--manage-cgroups=ignore", "--empty-ns", "net"),
        *("--file-locks", "--link-remap", "--restore-detached", "--pidfile", pid_file),
        *external,
    ]


def id_map(uid: int) -> str:
    """A user namespace's uid_map or gid_map (user_namespaces(7)) of a desktop that may be imaged or cloned."""
    return "".join(f"{inside} {outside} 1\n" for inside, outside in _ids(uid))


def _ids(uid: int) -> tuple[tuple[int, int], ...]:
    return (0, uid + INSIDE_ROOT_OFFSET), (INSIDE_UID, uid)


def with_ids(image: bytes, uid: int) -> bytes:
    """CRIU's userns image with the maps of a clone's own uid; raises `ImageBroken`."""
    extents = [_number(1, inside) + _number(2, outside) + _number(3, 1) for inside, outside in _ids(uid)]
    return _head(image) + _entry(b"".join(_bytes(place, extent) for place in (1, 2) for extent in extents))


def with_host_name(image: bytes, name: str) -> bytes:
    """CRIU's utsns image with a clone's own host name; raises `ImageBroken`."""
    return _head(image) + _entry(_bytes(1, name.encode()) + _bytes(2, b"(none)"))


def _head(image: bytes) -> bytes:
    if len(image) < _FEWEST_BYTES:
        raise ImageBroken(f"A file of the image has only {len(image)} bytes.")
    return image[:_MAGIC_BYTES]


def _entry(message: bytes) -> bytes:
    return len(message).to_bytes(4, "little") + message


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _number(place: int, value: int) -> bytes:
    return _varint(place << 3) + _varint(value)


def _bytes(place: int, value: bytes) -> bytes:
    return _varint(place << 3 | 2) + _varint(len(value)) + value


def root_entries(mounts: Iterable[str]) -> list[str]:
    """The folders and files that a clone's root must have to mount on, parents first; what is in /dev comes with it."""
    places = {*mounts, *FRESH} - {"/"}
    return sorted(place.lstrip("/") for place in places if not place.startswith("/dev/"))
