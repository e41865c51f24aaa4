"""How long opening files of a home takes, cold and after they were read ahead, on this very disk or server."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ghostdesk.bench.stats import Summary, summarise
from ghostdesk.engines.local.beneath import NotOpened, open_beneath, open_home
from ghostdesk.engines.local.filesystems import remote_kind
from ghostdesk.engines.local.home_loader import Order, Report
from ghostdesk.kernel.errors import ConfigError, EngineError
from ghostdesk.kernel.resources import MIB

_MOST_FOLDERS = 2000
_LARGEST_BYTES = 32 * MIB
_LIMIT_S = 300.0


@dataclass(frozen=True, slots=True)
class HomeFilesBench:
    """Times of all files together, in seconds; a round each.

    Args:
        home, kind: the folder, and the kind of its file system where it is on a server.
        files, total_bytes: what was opened.
        cold_s: opening and reading them with no page of theirs in memory.
        ready_s: the same after they were read ahead.
        loading_s: reading them ahead.
        ratio: median of cold over median of ready.
    """

    home: str
    kind: str
    files: int
    total_bytes: int
    cold_s: tuple[float, ...]
    ready_s: tuple[float, ...]
    loading_s: tuple[float, ...]
    cold: Summary
    ready: Summary
    loading: Summary
    ratio: float


def bench_home_files(
    home: Path, most_files: int, rounds: int, seed: int, progress: Callable[[int], None] = lambda _done: None
) -> HomeFilesBench:
    """Measure.

    Raises:
        ConfigError: it is no folder, or has no files to open.
        EngineError: the loader fails.
    """
    if not home.is_dir() or rounds < 1:
        raise ConfigError(f"{home} is no folder.", "Give a home, such as one that is mounted from a server.")
    paths = some_files(home, most_files, seed)
    if not paths:
        raise ConfigError(f"{home} has no visible files of 1 byte to 32 MiB.", "Give a home with documents.")
    times: list[tuple[float, float, float]] = []
    total_bytes = 0
    for done in range(rounds):
        _evict(home, paths)
        cold_s, total_bytes = _read_all(home, paths)
        _evict(home, paths)
        loading_s = _load(home, paths).duration_s
        ready_s, _ = _read_all(home, paths)
        times.append((cold_s, ready_s, loading_s))
        progress(done + 1)
    cold, ready, loading = (tuple(column) for column in zip(*times, strict=True))
    sums = [summarise(column) for column in (cold, ready, loading)]
    assert sums[0] is not None and sums[1] is not None and sums[2] is not None
    ratio = sums[0].median / max(sums[1].median, 1e-9)
    kind = remote_kind(home.absolute())
    return HomeFilesBench(
        str(home), kind, len(paths), total_bytes, cold, ready, loading, sums[0], sums[1], sums[2], ratio
    )


def some_files(home: Path, most: int, seed: int) -> list[str]:
    """Visible regular files beneath a home, drawn at random, in the order drawn."""
    found: list[str] = []
    folders = [home]
    for _ in range(_MOST_FOLDERS):
        if not folders:
            break
        folder = folders.pop()
        with os.scandir(folder) as entries:
            for entry in sorted(entries, key=lambda one: one.name):
                if entry.name.startswith("."):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    folders.append(Path(entry.path))
                elif entry.is_file(follow_symlinks=False) and 0 < entry.stat().st_size <= _LARGEST_BYTES:
                    found.append(str(Path(entry.path).relative_to(home)))
    return random.Random(seed).sample(found, min(most, len(found)))  # noqa: S311 - no secret


def _evict(home: Path, paths: Sequence[str]) -> None:
    """Have the kernel drop their pages; nothing else on the host is touched."""
    handle = open_home(home)
    try:
        for path in paths:
            try:
                file, _ = open_beneath(handle, path)
            except NotOpened:
                continue
            os.fsync(file)
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(file)
    finally:
        os.close(handle)


def _read_all(home: Path, paths: Sequence[str]) -> tuple[float, int]:
    """Seconds and bytes: each file opened by its name and read to its end, one after the other."""
    begun_s, total = time.perf_counter(), 0
    for path in paths:
        try:
            with (home / path).open("rb", buffering=0) as file:
                while data := file.read(MIB):
                    total += len(data)
        except FileNotFoundError:
            continue
    return time.perf_counter() - begun_s, total


def _load(home: Path, paths: Sequence[str]) -> Report:
    order = Order(str(home), paths, float("1e18"), float(_LARGEST_BYTES), _LIMIT_S)
    words = [sys.executable, "-m", "ghostdesk.engines.local.home_loader"]
    environment = {"PATH": os.environ.get("PATH", ""), "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        words, input=json.dumps(asdict(order)).encode(), capture_output=True, check=False, env=environment
    )
    if done.returncode != 0:
        raise EngineError(f"Reading ahead failed: {done.stderr.decode(errors='replace').strip()[-200:]}.")
    report = Report(**json.loads(done.stdout))
    if report.stopped:
        raise EngineError(f"Reading ahead stopped early: {report.stopped}.", "Take fewer files.")
    return report
