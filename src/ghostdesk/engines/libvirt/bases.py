"""Bases: for each kind of desktop, one machine that was booted once and saved when its desktop was on the screen.

A new ghost is a copy of it: an overlay on its disk, its file of memory with the ghost's own name and files in the head
(`saved`), restored. That takes a second where a boot takes half a minute. What was booted by another image, kernel or
version of ghostdesk has another key, and is removed when no ghost stands on it any more.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ghostdesk.engines.libvirt.capabilities import DriverCapabilities
from ghostdesk.engines.libvirt.connection import Connection
from ghostdesk.engines.libvirt.disks import Image, find_image, make_disk, remove_disk
from ghostdesk.engines.libvirt.guest import Guest
from ghostdesk.engines.libvirt.records import MachineRecords
from ghostdesk.engines.libvirt.render import (
    GhostPlaces,
    MachinePlan,
    copied_domain_xml,
    disk_name,
    domain_xml,
    machine_name,
)
from ghostdesk.engines.libvirt.saved import HEADER_BYTES, head_bytes_wanted, read_head, write_head
from ghostdesk.engines.local.records import clear_disk_errors
from ghostdesk.ghosts.ghost import DesktopTemplate
from ghostdesk.kernel.errors import EngineError

FORMAT = 1
_BLOCK_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Base:
    """A saved machine.

    Args:
        key: tells it from others.
        saved: the file of its memory.
        disk: its disk, on which the copies' disks stand.
        boot_s, save_s: how long it took to boot until the desktop was painted, and to save.
    """

    key: str
    saved: Path
    disk: Image
    boot_s: float = 0.0
    save_s: float = 0.0


class Bases:
    """Makes bases, and begins ghosts from them.

    Args:
        connection, plan, can: of the host.
        folder: where the files of memory are; the host must see it at the same path.
        records: for the base machine's own sockets while it boots.
        boot_timeout_s: how long a boot may take until the desktop is painted.
    """

    def __init__(
        self,
        connection: Connection,
        plan: MachinePlan,
        can: DriverCapabilities,
        folder: Path,
        records: MachineRecords,
        boot_timeout_s: float,
    ) -> None:
        self._connection, self._plan, self._can = connection, plan, can
        self._folder, self._records = folder, records
        self._boot_timeout_s = boot_timeout_s
        self._locks: dict[str, asyncio.Lock] = {}

    async def get(self, template: DesktopTemplate, agent_uid: int) -> Base:
        """The base of this template, made when it is not there; raises `BuildFailed` and what libvirt says."""
        image = await self._connection.call(lambda c: find_image(c, self._plan))
        key = base_key(self._plan, template, image)
        async with self._locks.setdefault(key, asyncio.Lock()):
            base = self._read(key)
            if base is None:
                base = await self._make(key, template, image, agent_uid)
            return base

    def _read(self, key: str) -> Base | None:
        saved = self._folder / f"{key}.saved"
        try:
            disk = json.loads((self._folder / f"{key}.json").read_text())
            with saved.open("rb") as stream:
                start = stream.read(HEADER_BYTES)
                read_head(start + stream.read(head_bytes_wanted(start) - HEADER_BYTES))
            if not Path(disk["path"]).exists():
                return None
            image = Image(disk["path"], disk["disk_format"], disk["size_bytes"])
            return Base(key, saved, image, disk["boot_s"], disk["save_s"])
        except (OSError, ValueError, KeyError, TypeError, EngineError):
            return None

    async def _make(self, key: str, template: DesktopTemplate, image: Image, agent_uid: int) -> Base:
        """Boot a machine, wait for its desktop, save it."""
        name = f"base{key}"
        await self.remove(key)
        with clear_disk_errors(self._folder / key):
            self._folder.mkdir(mode=0o711, parents=True, exist_ok=True)
            self._records.make_folders(name, agent_uid)
        began_s = time.perf_counter()
        try:
            disk = await self._boot(name, template, image)
            guest = Guest(self._connection, machine_name(self._plan.pool, name))
            await guest.await_painted(self._boot_timeout_s)
            painted_s = time.perf_counter()
            saved = self._folder / f"{key}.saved"
            await self._connection.call(lambda c: _save(c, machine_name(self._plan.pool, name), saved), 300.0)
            took = {"boot_s": painted_s - began_s, "save_s": time.perf_counter() - painted_s}
            told = {"path": disk, "disk_format": "qcow2", "size_bytes": image.size_bytes, "format": FORMAT, **took}
            (self._folder / f"{key}.json").write_text(json.dumps(told))
        except BaseException:
            await self.remove(key)
            raise
        finally:
            await asyncio.to_thread(self._records.remove, name)
        return Base(key, saved, Image(disk, "qcow2", image.size_bytes), **took)

    async def _boot(self, name: str, template: DesktopTemplate, image: Image) -> str:
        places = self._records.places(name)

        def work(connection: Any) -> str:
            disk = make_disk(connection, self._plan, self._can.disks, disk_name(self._plan.pool, name, "qcow2"), image)
            xml = domain_xml(self._plan, self._can, name, template, disk, places)
            connection.createXML(xml, 0)  # not defined: it is gone once it is saved
            return disk

        return await self._connection.call(work)

    async def remove(self, key: str) -> None:
        """Remove a base and all that it left anywhere."""
        name = machine_name(self._plan.pool, f"base{key}")

        def work(connection: Any) -> None:
            from ghostdesk.engines.libvirt.connection import binding

            with contextlib.suppress(binding().libvirtError):
                connection.lookupByName(name).destroy()
            remove_disk(connection, self._plan, disk_name(self._plan.pool, f"base{key}", "qcow2"))

        await self._connection.call(work)
        for suffix in ("json", "saved"):
            (self._folder / f"{key}.{suffix}").unlink(missing_ok=True)
        await asyncio.to_thread(self._records.remove, f"base{key}")

    async def remove_all_but(self, keys: Collection[str]) -> None:
        """Remove every base that is not among these."""
        with contextlib.suppress(FileNotFoundError):
            for path in list(self._folder.glob("*.json")):
                if path.stem not in keys:
                    await self.remove(path.stem)

    def key_of(self, template: DesktopTemplate, image: Image) -> str:
        """The key of a template's base now."""
        return base_key(self._plan, template, image)

    async def begin(self, base: Base, ghost: str, disk: str, places: GhostPlaces) -> None:
        """Define a ghost's machine and restore it from the base; raises `UnknownFormat` and what libvirt says."""
        memory = self._folder / f"{ghost}.memory"

        def define(xml: str) -> Callable[[Any], Any]:
            return lambda connection: connection.defineXML(xml)

        try:
            xml = await asyncio.to_thread(copy_saved, base.saved, memory, self._plan.pool, ghost, disk, places)
            await self._connection.call(define(xml))
            await self._connection.call(lambda c: _restore(c, memory))
        finally:
            memory.unlink(missing_ok=True)


def base_key(plan: MachinePlan, template: DesktopTemplate, image: Image) -> str:
    """Which base a ghost is a copy of: whatever shows inside is in it."""
    pool_apart = replace(plan, pool="")
    told = (FORMAT, repr(pool_apart), template.width_px, template.height_px, image, _stamp(image.path),
            _stamp(plan.kernel), _stamp(plan.first_root))  # fmt: skip
    return hashlib.sha256(repr(told).encode()).hexdigest()[:12]


def _stamp(path: str) -> tuple[int, int]:
    """Of a file that may be replaced: its size and time; zeros where it cannot be seen from here."""
    try:
        status = Path(path).stat() if path else None
    except OSError:
        status = None
    return (status.st_size, status.st_mtime_ns) if status is not None else (0, 0)


def copy_saved(saved: Path, target: Path, pool: str, ghost: str, disk: str, places: GhostPlaces) -> str:
    """Copy a saved machine's file with the ghost's head on it; returns the ghost's XML. Blocks."""
    with clear_disk_errors(target), saved.open("rb", buffering=0) as source:
        start = source.read(HEADER_BYTES)
        head = read_head(start + source.read(head_bytes_wanted(start) - HEADER_BYTES))
        xml = copied_domain_xml(head.xml, pool, ghost, disk, places)
        target.touch(0o600)
        with target.open("wb") as copy:
            copy.write(write_head(head, xml))
            copy.flush()
            try:
                while os.copy_file_range(source.fileno(), copy.fileno(), _BLOCK_BYTES * 64):
                    pass
            except OSError:  # not between these file systems
                shutil.copyfileobj(source, copy, _BLOCK_BYTES)
    return xml


def _save(connection: Any, name: str, path: Path) -> None:
    from ghostdesk.engines.libvirt.connection import binding

    connection.lookupByName(name).saveFlags(str(path), None, binding().VIR_DOMAIN_SAVE_RUNNING)


def _restore(connection: Any, path: Path) -> None:
    from ghostdesk.engines.libvirt.connection import binding

    connection.restoreFlags(str(path), None, binding().VIR_DOMAIN_SAVE_RUNNING)
