"""The part of ghostdesk that runs inside desktops: copied once a version, world-readable, bound read-only."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import ghostdesk
from ghostdesk.engines.local.records import clear_disk_errors

_WANTED = ("__init__.py", "kernel", "telemetry/__init__.py", "telemetry/events.py", "agent")
"""What the agent imports; the standard library and Debian's own modules are all it needs besides."""


def runtime_files(package: Path, desktop: Path) -> Iterator[tuple[Path, str]]:
    """Each file of the runtime with its place in it, sorted by place."""
    found: list[tuple[Path, str]] = []
    for wanted in _WANTED:
        source = package / wanted
        files = [source] if source.is_file() else [path for path in source.rglob("*") if path.is_file()]
        found += [(path, f"ghostdesk/{path.relative_to(package)}") for path in files]
    found += [(path, f"desktop/{path.name}") for path in desktop.iterdir() if path.is_file()]
    # openbox looks for themes only in folders of this shape below $XDG_DATA_DIRS.
    found += [(desktop / "themerc", "share/themes/Ghostdesk/openbox-3/themerc")]
    kept = (pair for pair in found if "__pycache__" not in pair[1])
    return iter(sorted(kept, key=lambda pair: pair[1]))


def install_runtime(into: Path) -> Path:
    """Copy the runtime to `into`/HASH, if that version is not there yet, and return that folder.

    The copy appears in one step, so that a crash or a second control plane never leaves half of one.
    """
    package = Path(ghostdesk.__file__).parent
    files = [(path.read_bytes(), place) for path, place in runtime_files(package, Path(__file__).parent / "desktop")]
    digest = hashlib.sha256()
    for content, place in files:
        digest.update(f"{place}\0{len(content)}\0".encode() + content)
    target = into / digest.hexdigest()[:16]
    if target.is_dir():
        return target
    beside = into / f".{target.name}.{os.getpid()}"
    with clear_disk_errors(target):
        shutil.rmtree(beside, ignore_errors=True)
        for content, place in files:
            path = beside / place
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        for path in [beside, *beside.rglob("*")]:
            path.chmod(0o755 if path.is_dir() or path.suffix == ".sh" else 0o644)
        with contextlib.suppress(OSError):
            beside.rename(target)
        shutil.rmtree(beside, ignore_errors=True)
    return target
