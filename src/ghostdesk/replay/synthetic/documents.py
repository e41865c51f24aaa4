"""Which files people open with which application: their own, and the department's. All synthetic. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ghostdesk.replay.synthetic.draws import Draws, Ints
from ghostdesk.replay.synthetic.people import DEPARTMENTS, NAMES, SOURCE, People, user_name

MIME_TYPES = ("application/pdf", "text/plain", "image/png", "application/vnd.oasis.opendocument.text")
_SUFFIXES = ("pdf", "txt", "png", "odt")
_SHARED_CHANCE = 0.2
_NEW_CHANCE = 0.15
_SPREAD = 1.0
_MIDDLE_BYTES = (400e3, 6e3, 250e3, 60e3)
"""At the median, of each kind. Assumed, as are the other figures here: no recorded set tells of files."""
_RING = 8


@dataclass(frozen=True)
class Opened:
    """Files that were opened, in the order of person and time; arrays of shape (files,).

    Args:
        row: of the person in their block.
        time_ms: milliseconds since 1970 UTC.
        app: number of the application that opened it.
        shared: department whose file it is, -1 of the person's own.
        number: of the file, among those of its owner and application.
        mime: position in `MIME_TYPES`.
        size_bytes: of the file; equal whenever it is opened.
    """

    row: Ints
    time_ms: Ints
    app: Ints
    shared: Ints
    number: Ints
    mime: npt.NDArray[np.int64]
    size_bytes: Ints

    def path(self, place: int, people: People) -> str:
        """Name of one of them; every part that could name somebody begins with "synthetic"."""
        row, app, shared = int(self.row[place]), int(self.app[place]), int(self.shared[place])
        owner = f"{SOURCE}-shared-{list(DEPARTMENTS)[shared]}" if shared >= 0 else user_name(int(people.index[row]))
        suffix = _SUFFIXES[int(self.mime[place])]
        return f"/{SOURCE}/{owner}/{NAMES[app]}/{SOURCE}-file-{int(self.number[place]):05d}.{suffix}"


def documents(seed: int, people: People, row: Ints, time_ms: Ints, app: Ints, turn: Ints) -> Opened:
    """Which file each opening is of: mostly one that the person opened with that application not long ago.

    Files are numbered in the order in which people come to them, a new one every few openings: of a person and
    application's openings, the n-th reaches back to the newest at that time, or by a geometric number of files before.
    """
    draws, who = Draws(seed, "documents"), people.index[row]
    order = np.lexsort((np.arange(len(row)), app, row))
    first = np.ones(len(row), dtype=bool)
    first[1:] = (row[order][1:] != row[order][:-1]) | (app[order][1:] != app[order][:-1])
    fresh = np.where(first, 1, draws.uniform(who, turn, 0)[order] < _NEW_CHANCE).astype(np.int64)
    total = np.cumsum(fresh)
    begun = np.maximum.accumulate(np.where(first, total - fresh, 0))
    newest = np.empty(len(row), dtype=np.int64)
    newest[order] = total - begun
    is_new = np.empty(len(row), dtype=bool)
    is_new[order] = fresh.astype(bool)
    back = np.floor(-np.log(draws.uniform(who, turn, 1)) / np.log(1.8)).astype(np.int64)
    number = np.where(is_new, newest, np.maximum(newest - np.minimum(back, _RING), 1))
    shared = np.where(draws.uniform(who, turn, 2) < _SHARED_CHANCE, people.department[row], -1)
    # a department's files are few, and some are everyone's favourites
    popular = 1 + np.floor(30.0 * draws.uniform(who, turn, 3) ** 3).astype(np.int64)
    number = np.where(shared >= 0, popular, number)
    owner = np.where(shared >= 0, -1 - shared, who)
    mime = (draws.uniform(owner, app, number, 4) * len(MIME_TYPES)).astype(np.int64)
    size = draws.lognormal(np.asarray(_MIDDLE_BYTES)[mime], _SPREAD, owner, app, number, 5)
    return Opened(row, time_ms, app, shared, number, mime, np.maximum(size, 1).astype(np.int64))
