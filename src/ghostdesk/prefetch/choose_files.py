"""Which of the likely files to load within a budget. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ghostdesk.kernel.resources import MIB
from ghostdesk.prefetch.next_files import LikelyFile


@dataclass(frozen=True, slots=True)
class FileBudget:
    """What may be loaded for one person, and what loading is worth.

    Args:
        most_bytes: in all.
        most_files: in all.
        largest_bytes: of one file; a larger one is left out.
        least_probability: of being opened in this session; what is less likely is left out.
        wait_s: a first read of a file waits so long for the disk or the server, whatever its size.
        read_bytes_per_s: and reads so fast from then on.
    """

    most_bytes: float = 64.0 * MIB
    most_files: int = 200
    largest_bytes: float = 32.0 * MIB
    least_probability: float = 0.05
    wait_s: float = 0.01
    read_bytes_per_s: float = 100e6

    def within(self, bytes_: float) -> FileBudget:
        """The same with at most so many bytes in all."""
        return replace(self, most_bytes=min(self.most_bytes, bytes_))

    def saved_s(self, size_bytes: float) -> float:
        """What a person is spared who opens a file of this size that was loaded."""
        return self.wait_s + size_bytes / self.read_bytes_per_s


@dataclass(frozen=True, slots=True)
class FileToLoad:
    """One file to load, and why.

    Args:
        path: relative to the home.
        size_bytes: when it was opened last; the budget counts what it has when it is loaded.
        saved_s: expected time spared: the probability times what a loaded file spares.
        code, text: the reason; the text names no file.
    """

    path: str
    size_bytes: int
    probability: float
    saved_s: float
    code: str
    text: str


@dataclass(frozen=True, slots=True)
class FileChoice:
    """What to load, in this order, and how many of the likely files were left out for which reason (code, number)."""

    files: tuple[FileToLoad, ...] = ()
    left_out: tuple[tuple[str, int], ...] = ()

    @property
    def size_bytes(self) -> int:
        """Of all that is to be loaded."""
        return sum(one.size_bytes for one in self.files)


def choose_files(likely: Sequence[LikelyFile], budget: FileBudget) -> FileChoice:
    """The files that spare most time per byte first, until the budget is used (greedy knapsack: Dantzig 1957)."""
    left_out: dict[str, int] = {}
    worth: list[tuple[float, LikelyFile]] = []
    for one in likely:
        if one.probability < budget.least_probability:
            left_out["unlikely"] = left_out.get("unlikely", 0) + 1
        elif one.size_bytes > budget.largest_bytes:
            left_out["too-large"] = left_out.get("too-large", 0) + 1
        else:
            saved_s = one.probability * budget.saved_s(one.size_bytes)
            worth.append((saved_s / max(one.size_bytes, 1), one))
    worth.sort(key=lambda item: (-item[0], item[1].path))
    files: list[FileToLoad] = []
    left_bytes = budget.most_bytes
    for _, one in worth:
        if one.size_bytes > left_bytes or len(files) >= budget.most_files:
            left_out["budget"] = left_out.get("budget", 0) + 1
            continue
        left_bytes -= one.size_bytes
        saved_s = one.probability * budget.saved_s(one.size_bytes)
        text = f"{one.why}, {one.probability:.0%} likely in this session"
        files.append(FileToLoad(one.path, one.size_bytes, one.probability, saved_s, one.code, text))
    return FileChoice(tuple(files), tuple(sorted(left_out.items())))
