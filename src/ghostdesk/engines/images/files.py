"""What is put on top of a Debian root: agent, session, first process. The same files give the same bytes."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import ghostdesk
from ghostdesk.engines.images.recipe import Form
from ghostdesk.engines.libvirt.guest_files import guest_files
from ghostdesk.engines.local.runtime import runtime_files

_PACKAGE = Path(ghostdesk.__file__).parent
_INCUS = _PACKAGE / "engines" / "incus"
_CONTAINER = ((_INCUS / "init.sh", "usr/sbin/init"), (_INCUS / "relay.py", "opt/ghostdesk/incus/relay.py"))


def image_files(form: Form) -> list[tuple[Path, str]]:
    """Each file with its place in the image."""
    if form is Form.VM:
        return [(source, place) for source, place, _ in guest_files()]
    runtime = runtime_files(_PACKAGE, _PACKAGE / "engines" / "local" / "desktop")
    return [*((source, f"opt/ghostdesk/{place}") for source, place in runtime), *_CONTAINER]


def is_program(place: str) -> bool:
    """Whether it is run by its name."""
    return place.endswith((".sh", "/init"))


def files_tar(files: Iterable[tuple[Path, str]]) -> bytes:
    """They as a tar file, with their folders; all of root's."""
    buffer = io.BytesIO()
    made: set[str] = set()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for source, place in files:
            for parent in [*reversed(Path(place).parents)][1:]:
                # What Debian has, links among them, is left as it is.
                if str(parent) not in made and str(parent).startswith("opt/"):
                    made.add(str(parent))
                    folder = tarfile.TarInfo(str(parent))
                    folder.type, folder.mode = tarfile.DIRTYPE, 0o755
                    tar.addfile(folder)
            content = source.read_bytes()
            entry = tarfile.TarInfo(place)
            entry.size, entry.mode = len(content), 0o755 if is_program(place) else 0o644
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def runtime_version(form: Form = Form.INCUS) -> str:
    """Which agent and session this version of ghostdesk has, in 16 hexadecimal digits."""
    return version_of(image_files(form))


def version_of(files: Sequence[tuple[Path, str]]) -> str:
    """The same for these files."""
    digest = hashlib.sha256()
    for source, place in files:
        content = source.read_bytes()
        digest.update(f"{place}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:16]
