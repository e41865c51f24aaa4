"""Everyone's training steps in one memory-mapped file, person after person, and its index: read window by window."""

from __future__ import annotations

import hashlib
import json
import mmap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ghostdesk.kernel.errors import ConfigError
from ghostdesk.kernel.ids import UserId
from ghostdesk.profiles.baselines.slots import WeekSlots
from ghostdesk.profiles.features import Step
from ghostdesk.training.encoding import STEP, Names, PersonFacts, decode, encode, turns
from ghostdesk.training.files import told, write_whole
from ghostdesk.training.spool import EventSpool

FEWEST_STEPS: Final = 20
"""Who has fewer steps teaches nothing that could be told from chance, and cannot be held out from."""
_INDEX, _DATA = "steps.json", "steps.bin"


@dataclass(frozen=True, slots=True)
class Extent:
    """Where a person's steps are: `length` rows from row `start` on."""

    user: UserId
    start: int
    length: int


class StepShards:
    """Opened shards. Rows are read when they are asked for, and their pages given back by `release`.

    Args:
        folder: where `write_shards` wrote.

    Raises:
        ConfigError: they are not whole.
    """

    def __init__(self, folder: Path) -> None:
        try:
            index = json.loads((folder / _INDEX).read_text())
            self.people = tuple(Extent(UserId(user), start, length) for user, start, length in index["people"])
            self.apps: list[str] = index["apps"]
            self.words: list[str] = index["words"]
            self.digest: str = index["digest"]
            self.last_s: float = index["last_s"]
            self.facts: dict[str, Any] = index["facts"]
            self._rows = np.memmap(folder / _DATA, dtype=STEP, mode="r")
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(
                f"The prepared history in {folder} cannot be read: {error}.", "Train with --no-resume."
            ) from error
        if len(self._rows) != sum(person.length for person in self.people):
            raise ConfigError(f"The prepared history in {folder} is not whole.", "Train with --no-resume.")

    @property
    def steps_total(self) -> int:
        """How many steps there are."""
        return len(self._rows)

    def steps(self, person: int, first: int = 0, last: int | None = None, scored_from: int = 0) -> list[Step]:
        """A person's steps from index `first` to before `last`; those before `scored_from` (of these) are context."""
        extent = self.people[person]
        last = extent.length if last is None else min(last, extent.length)
        rows = self._rows[extent.start + first : extent.start + last]
        return decode(rows, self.apps, self.words, scored_from)

    def times_s(self, person: int) -> npt.NDArray[np.float64]:
        """(length,) UTC seconds of a person's steps."""
        extent = self.people[person]
        return np.array(self._rows["time_s"][extent.start : extent.start + extent.length])

    def app_counts(self, person: int) -> dict[str, int]:
        """How often a person turned to each application."""
        extent = self.people[person]
        numbers = self._rows["app"][extent.start : extent.start + extent.length]
        found, counts = np.unique(numbers, return_counts=True)
        return {self.apps[n - 1]: c for n, c in zip(found.tolist(), counts.tolist(), strict=True) if n}

    def release(self) -> None:
        """Give the file's pages back to the system, so that they do not count as this process's memory."""
        mapped = getattr(self._rows, "_mmap", None)
        if isinstance(mapped, mmap.mmap):
            mapped.madvise(mmap.MADV_DONTNEED)


def write_shards(
    folder: Path,
    spool: EventSpool,
    slots: WeekSlots,
    facts_of: Callable[[UserId], PersonFacts],
    facts: dict[str, Any],
    progress: Callable[[int], None] = lambda _people: None,
) -> StepShards:
    """Encode everyone who has `FEWEST_STEPS`; the index comes last, so that half of it is never taken for whole.

    Args:
        folder: where to; what was there is replaced.
        spool: the finished first pass.
        slots: tells local time.
        facts_of: what is known of each person.
        facts: kept in the index, for reports.
        progress: called with the number of people done.
    """
    (folder / _INDEX).unlink(missing_ok=True)
    apps, words = Names(), Names()
    people: list[tuple[str, int, int]] = []
    digest = hashlib.blake2b(digest_size=16)
    written, last_s = 0, 0.0
    with told(folder), (folder / _DATA).open("wb") as stream:
        for done, (user, events) in enumerate(spool.people(), start=1):
            rows = encode(turns(events, slots, facts_of(user)), apps, words)
            if len(rows) >= FEWEST_STEPS:
                data = rows.tobytes()
                stream.write(data)
                digest.update(data)
                people.append((user, written, len(rows)))
                written += len(rows)
                last_s = max(last_s, float(rows["time_s"][-1]))
            progress(done)
    digest.update(json.dumps([apps.all(), words.all(), [p[2] for p in people]]).encode())
    index = {
        "people": people, "apps": apps.all(), "words": words.all(), "digest": digest.hexdigest(),
        "last_s": last_s, "facts": facts,
    }  # fmt: skip
    write_whole(folder / _INDEX, json.dumps(index).encode())
    if not people:
        raise ConfigError(
            f"The history holds nobody with {FEWEST_STEPS} applications launched or turned to.",
            "Import more history (`ghostdesk import`), or let ghostdesk run for some days.",
        )
    return StepShards(folder)


def has_shards(folder: Path) -> bool:
    """Whether shards were written to their end."""
    return (folder / _INDEX).is_file()
