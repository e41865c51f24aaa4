"""Swap that is ghostdesk's own: compressed in RAM, and a file behind it. Nobody else's swap or zram is ever touched.

What is set up is on record (`swap.json` in the state folder), so that a control plane that was killed finds it again,
and `ghostdesk clean` takes it down. A device counts as ours when its swap header still has the UUID on record.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

from ghostdesk.engines.local.processes import boot_id
from ghostdesk.engines.local.records import write_atomically
from ghostdesk.engines.local.zram import (
    SYS,
    ZramDevice,
    in_use_as_swap,
    make_swap,
    reset_zram,
    set_up_zram,
    swap_off,
    swap_uuid,
)
from ghostdesk.engines.protocol import Ability
from ghostdesk.kernel.errors import GhostdeskError, MissingRequirement
from ghostdesk.kernel.resources import GIB

_T = TypeVar("_T")
ABILITY = "parking swap"
FILE_PRIORITY = 10
"""Below zram, which is quicker: the kernel fills the higher priority first."""
_DISK_KEPT_FREE_BYTES = 2 * GIB


@dataclass(frozen=True, slots=True)
class SwapWish:
    """What the operator asked for; zero bytes ask for nothing.

    Args:
        zram_bytes: size of the compressed swap, before compression.
        algorithm: "auto", or one that the kernel offers.
        priority: of the compressed swap.
        file_bytes: size of a swap file on disk behind it.
    """

    zram_bytes: int = 0
    algorithm: str = "auto"
    priority: int = 100
    file_bytes: int = 0


@dataclass(frozen=True, slots=True)
class _Record:
    boot: str = ""
    zram: ZramDevice | None = None
    file: str = ""
    file_bytes: int = 0


class ParkingSwap:
    """Sets the swap up and takes it down; both may be repeated.

    Args:
        state_dir: where the record and the swap file are.
    """

    def __init__(self, state_dir: Path, sys: Path = SYS) -> None:
        self._record_path = state_dir.absolute() / "swap.json"
        self._file_path = state_dir.absolute() / "parking.swap"
        self._sys = sys

    def set_up(self, wish: SwapWish) -> tuple[Ability, ...]:
        """Have what is wished for. What cannot be had is said, with its mend, and stops nothing."""
        record = self._read()
        zram, file = self._living_zram(record), self._living_file(record)
        told: list[Ability] = []
        if wish.zram_bytes > 0:
            zram = zram or _attempt(told, lambda: self._make_zram(wish))
            if zram is not None:
                told.append(_ability(f"{zram.size_bytes / GIB:.1f} GiB on {zram.name}, {zram.algorithm}"))
        self._write(_Record(boot_id(), zram, file, record.file_bytes if file else 0))
        if wish.file_bytes > 0:
            file = file or _attempt(told, lambda: self._make_file(wish)) or ""
            if file:
                told.append(_ability(f"{wish.file_bytes / GIB:.1f} GiB in {file}"))
        self._write(_Record(boot_id(), zram, file, wish.file_bytes if file else 0))
        return tuple(told)

    def take_down(self) -> str:
        """Take down what is ours; why something of it is still there, or an empty string."""
        record = self._read()
        zram, file = self._living_zram(record), self._living_file(record)
        problems = []
        if zram is not None:
            if problem := swap_off(zram.node):
                problems.append(f"{zram.name}: {problem}")
            else:
                reset_zram(zram, self._sys)
                zram = None
        if file and (problem := swap_off(Path(file))):
            problems.append(f"{file}: {problem}")
        elif record.file == str(self._file_path):
            self._file_path.unlink(missing_ok=True)
            file = ""
        if zram is None and not file:
            self._record_path.unlink(missing_ok=True)
        else:
            self._write(_Record(boot_id(), zram, file, record.file_bytes))
        return "; ".join(problems)

    def _make_zram(self, wish: SwapWish) -> ZramDevice:
        memory_bytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        if wish.zram_bytes > 4 * memory_bytes:
            raise MissingRequirement(
                f"parking.zram_bytes is {wish.zram_bytes / GIB:.0f} GiB, and the host has {memory_bytes / GIB:.0f}.",
                "Desktops compress to about a quarter: give at most four times the memory.",
            )
        return set_up_zram(wish.zram_bytes, wish.algorithm, wish.priority, self._sys)

    def _make_file(self, wish: SwapWish) -> str:
        path = self._file_path
        free = shutil.disk_usage(path.parent).free
        if free - wish.file_bytes < _DISK_KEPT_FREE_BYTES:
            raise MissingRequirement(
                f"{path.parent} has {free / GIB:.1f} GiB free: too few for a swap file of {wish.file_bytes / GIB:.1f}.",
                "Lower parking.file_bytes, or free space there.",
            )
        path.unlink(missing_ok=True)
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(descriptor, 0, wish.file_bytes)
            finally:
                os.close(descriptor)
            make_swap(path, str(uuid4()), FILE_PRIORITY)
        except (OSError, GhostdeskError) as error:
            path.unlink(missing_ok=True)
            if isinstance(error, GhostdeskError):
                raise
            raise MissingRequirement(f"A swap file cannot be made: {error}.", "Use a disk with ext4 or xfs.") from error
        return str(path)

    def _living_zram(self, record: _Record) -> ZramDevice | None:
        """The device on record, if it is still the one that we made and swaps."""
        device = record.zram
        if device is None or record.boot != boot_id() or not in_use_as_swap(device.node):
            return None
        return device if swap_uuid(device.node) == device.uuid else None

    def _living_file(self, record: _Record) -> str:
        ours = record.file == str(self._file_path)
        return record.file if ours and in_use_as_swap(self._file_path) else ""

    def _read(self) -> _Record:
        try:
            table = json.loads(self._record_path.read_text())
            zram = ZramDevice(**table["zram"]) if table.get("zram") else None
            return _Record(str(table["boot"]), zram, str(table.get("file", "")), int(table.get("file_bytes", 0)))
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return _Record()

    def _write(self, record: _Record) -> None:
        if record.zram is None and not record.file:
            self._record_path.unlink(missing_ok=True)
        else:
            write_atomically(self._record_path, json.dumps(asdict(record), indent=1))


def _ability(detail: str) -> Ability:
    return Ability(ABILITY, True, detail)


def _attempt(told: list[Ability], make: Callable[[], _T]) -> _T | None:
    try:
        return make()
    except GhostdeskError as error:
        told.append(Ability(ABILITY, False, error.cause, error.mend))
        return None
