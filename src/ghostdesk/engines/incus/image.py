"""Images of desktops, as Incus and LXD import them: one tar file with metadata.yaml and rootfs/.

Two kinds:

- *thin*: a skeleton of some hundred kilobytes. The server's own /usr is bound read-only into each instance, as the
  local engine does: nothing is copied, and the page cache is shared by all. For servers that have the applications.
- *whole*: a Debian root made by mmdebstrap, with the applications in it. For servers that have nothing.

Both hold the agent and the session of this version. The same content gives the same bytes, so the server knows an image
that it has by its fingerprint.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
from pathlib import Path

from ghostdesk.engines.images.files import image_files, is_program
from ghostdesk.engines.images.recipe import BINDS, Form
from ghostdesk.engines.local.sandbox import ETC_SHARED, VAR_SHARED

THIN_BINDS = ("/usr",)
_MOST_SHARED_BYTES = 32 * 1024 * 1024
"""Shared parts of /etc and /var beyond this size are left out of a thin image: something else was put there."""
_FOLDERS = (
    "bin:usr/bin lib:usr/lib lib32:usr/lib32 lib64:usr/lib64 var/run:../run var/tmp:../tmp usr etc proc sys dev run "
    "tmp var var/lib var/cache home home/user root opt sbin mnt"
)
_USERS = "root:x:0:0:root:/root:/usr/sbin/nologin\nuser:x:1000:1000:User:/home/user:/bin/bash\n"
_GROUP = "root:x:0:\nuser:x:1000:\nnogroup:x:65534:\n"
_NAMES = "passwd: files\ngroup: files\nhosts: files dns\n"


class ImageBuilder:
    """Collects the parts of an image."""

    def __init__(self, machine: str = "x86_64") -> None:
        self._buffer = io.BytesIO()
        self._tar = tarfile.open(fileobj=self._buffer, mode="w", format=tarfile.GNU_FORMAT)  # noqa: SIM115 - `finish` closes it
        self._made: set[str] = set()
        text = f"architecture: {machine}\ncreation_date: 1\nproperties:\n  description: a ghostdesk desktop\n"
        text += f"  {BINDS}: {' '.join(THIN_BINDS)}\n"
        self.file("metadata.yaml", text.encode(), prefix="")

    def folder(self, path: str, mode: int = 0o755) -> None:
        """A folder, its parents first."""
        for parent in [*reversed(Path(path).parents), Path(path)]:
            name = str(parent)
            if name != "." and name not in self._made:
                self._made.add(name)
                self._add(name, tarfile.DIRTYPE, mode if name == path else 0o755)

    def link(self, path: str, target: str) -> None:
        """A symbolic link."""
        self._made.add(path)
        self._add(path, tarfile.SYMTYPE, 0o777, target=target)

    def file(self, path: str, content: bytes, mode: int = 0o644, prefix: str = "rootfs/") -> None:
        """A file; what is there already stays."""
        if path in self._made:
            return
        if prefix:
            self.folder(str(Path(path).parent))
        self._made.add(path)
        self._add(path, tarfile.REGTYPE, mode, content=content, prefix=prefix)

    def copy(self, source: Path, path: str) -> None:
        """A file or tree of the host: files, folders and links that anybody may read; nothing else."""
        if source.is_symlink():
            self.link(path, str(source.readlink()))
        elif source.is_dir():
            self.folder(path)
            for entry in sorted(source.iterdir()):
                self.copy(entry, f"{path}/{entry.name}")
        elif source.is_file() and source.stat().st_mode & 0o004:
            self.file(path, source.read_bytes(), 0o755 if source.stat().st_mode & 0o111 else 0o644)

    def finish(self) -> bytes:
        """The image."""
        self._tar.close()
        return self._buffer.getvalue()

    def _add(
        self, path: str, kind: bytes, mode: int, *, content: bytes = b"", target: str = "", prefix: str = "rootfs/"
    ) -> None:
        entry = tarfile.TarInfo(prefix + path)
        entry.type, entry.mode, entry.linkname, entry.size = kind, mode, target, len(content)
        entry.uid = entry.gid = 1000 if path == "home/user" else 0
        self._tar.addfile(entry, io.BytesIO(content))


def thin_image(root: Path = Path("/"), machine: str = "x86_64") -> bytes:
    """The image for servers that have the desktop's programs in their own /usr."""
    builder = ImageBuilder(machine)
    for word in _FOLDERS.split():
        path, _, target = word.partition(":")
        if target:
            if path.startswith("var/"):
                builder.folder("var")
            builder.link(path, target)
        else:
            builder.folder(path, 0o1777 if path == "tmp" else 0o755)
    for name, text in (("passwd", _USERS), ("group", _GROUP), ("nsswitch.conf", _NAMES)):
        builder.file(f"etc/{name}", text.encode())
    shared = [(root / "etc" / name, f"etc/{name}") for name in ETC_SHARED]
    shared += [(root / "var" / name, f"var/{name}") for name in VAR_SHARED]
    for source, path in shared:
        if (source.exists() or source.is_symlink()) and _size(source) <= _MOST_SHARED_BYTES:
            builder.folder(str(Path(path).parent))
            builder.copy(source, path)
    _add_runtime(builder)
    return builder.finish()


def fingerprint(image: bytes) -> str:
    """By which the server knows it (the SHA-256 of the file)."""
    return hashlib.sha256(image).hexdigest()


def _add_runtime(builder: ImageBuilder) -> None:
    for source, place in image_files(Form.INCUS):
        builder.file(place.removeprefix("usr/"), source.read_bytes(), 0o755 if is_program(place) else 0o644)


def _size(path: Path) -> int:
    if path.is_dir() and not path.is_symlink():
        return sum(_size(entry) for entry in path.iterdir())
    return path.lstat().st_size
