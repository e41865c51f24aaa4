"""What the LSTM sees of an event, and the training batches: numbers of fixed length, free of any vocabulary.

Applications and words (a mode, a place, a role) are hashed into buckets, so a model carries over to users,
applications and installations that it never saw. Whatever is not known is 0 with a missing-indicator beside it.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from ghostdesk.kernel.ids import AppId
from ghostdesk.profiles.recent_apps import CANDIDATES, LIST_STATISTICS, STATISTICS, RecentApps
from ghostdesk.profiles.situation import Situation

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]

APP_BUCKETS: Final = 1024
"""Applications hash to 1..1,024; 0 is no application."""
WORD_BUCKETS: Final = 64
"""Each word hashes to 1..64; 0 is missing."""
WORDS: Final = ("file_type", "mode", "place", "job_role", "department", "calendar_series")
NEW_APP: Final = CANDIDATES
"""The rank of an application that is not among the most recent ones."""
NO_APP: Final = CANDIDATES + 1
"""The rank of a step without an application, such as a sign-in."""
RANKS: Final = CANDIDATES + 2

RESOURCES: Final = ("cpu_cores", "memory_bytes", "gpu_share", "network_bytes_per_s", "storage_bytes_per_s")
_RESOURCE_UNITS: Final = np.array([0.1, 2.0**20, 0.1, 1024.0, 1024.0])
"""Amounts that become log 2 after `resource_scale`: below it the scale is about linear."""
_RESOURCE_LIMITS: Final = np.array([4096.0, 2.0**50, 64.0, 2.0**40, 2.0**40])
HORIZONS_S: Final = (300.0, 1800.0, 3600.0, 14_400.0, 43_200.0, 86_400.0, 172_800.0)
"""Resource quantiles are of the mean over the time between the horizon before (or now) and this one."""

TIME_EDGES_S: Final = tuple(float(edge) for edge in np.geomspace(1.0, 7 * 86_400.0, 24))
"""Upper edges of the bins of a waiting time; what lies beyond the last is "not within 7 days"."""
TIME_BINS: Final = len(TIME_EDGES_S)

_LOGS: Final = ("gap_s", "session_position", "dwell_s", *RESOURCES)
_FLAGS: Final = ("microphone", "camera", "holiday")
_RAW: Final = (*_LOGS, "calendar_minutes", *_FLAGS, "hour", "weekday")
_LOG_UNITS: Final = np.array([1.0, 1.0, 1.0, *_RESOURCE_UNITS])
_LOG_LIMITS: Final = np.array([30 * 86_400.0, 10_000.0, 86_400.0, *_RESOURCE_LIMITS])
_LOG_SPANS: Final = np.array([8.0, 4.0, 6.0, 4.0, 10.0, 4.0, 10.0, 10.0])
"""Divides the logarithms, so that usual values lie between 0 and about 1.5."""
_CALENDAR_LIMIT_MIN: Final = 7 * 1440.0
_N_LOGS: Final = len(_LOGS)
NUMBERS: Final = 2 * (_N_LOGS + 1 + len(_FLAGS)) + 5 + 8
"""Length of `situation_numbers`: value and indicator each, the hour (two harmonics, missing), the weekday (one of 7, missing)."""


@dataclass(frozen=True, slots=True)
class Step:
    """One event of a sequence.

    Args:
        app: what the person turned to; None for an event without one (a sign-in).
        situation: what was known just before it.
        sign_in: whether a session begins here.
        scored: whether the model is to foretell its application (and to learn from it).
    """

    app: AppId | None
    situation: Situation
    sign_in: bool = False
    scored: bool = True


@dataclass(frozen=True, slots=True)
class SequenceBatch:
    """A window of the sequences of several users, side by side: U users x T steps.

    Args:
        start: whether this is the users' first window: the carried state is dropped before it.
        present: (U, T) 1 for a step, 0 for padding (always at the end of a user's sequence).
        rank: (U, T) place of the step's application in the list of recent ones before it, `NEW_APP` or `NO_APP`.
        scored: (U, T) 1 where the application is to be foretold.
        app_bucket: (U, T) 0..APP_BUCKETS.
        words: (U, T, len(WORDS)) 0..WORD_BUCKETS.
        numbers: (U, T, NUMBERS) see `situation_numbers`.
        candidate_bucket: (U, T, CANDIDATES) the recent applications before the step, latest first; 0 where none.
        candidate_statistics: (U, T, CANDIDATES, STATISTICS) see `recent_apps`.
        list_statistics: (U, T, LIST_STATISTICS) see `recent_apps`.
        launch_bin, sign_in_bin: (U, T) bin of the time from the step to the next application or sign-in.
        launch_seen, sign_in_seen: (U, T) 1 it happened in that bin, 0 it had not happened by then (censored), -1 unknown.
        resources: (U, T, len(RESOURCES), len(HORIZONS_S)) `resource_scale` of what was used; NaN where not measured.
    """

    start: bool
    present: FloatArray
    rank: IntArray
    scored: FloatArray
    app_bucket: IntArray
    words: IntArray
    numbers: FloatArray
    candidate_bucket: IntArray
    candidate_statistics: FloatArray
    list_statistics: FloatArray
    launch_bin: IntArray
    launch_seen: IntArray
    sign_in_bin: IntArray
    sign_in_seen: IntArray
    resources: FloatArray

    @property
    def users(self) -> int:
        """How many users stand side by side."""
        return int(self.rank.shape[0])

    @property
    def steps(self) -> int:
        """Length of the window."""
        return int(self.rank.shape[1])


@lru_cache(maxsize=65_536)
def hash_bucket(text: str, buckets: int, purpose: str) -> int:
    """Stable bucket 1..`buckets` of a text (blake2b); `purpose` keeps the same word of two features apart."""
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8, person=purpose.encode()[:16])
    return 1 + int.from_bytes(digest.digest(), "little") % buckets


def app_bucket(app: AppId | None) -> int:
    """Bucket of an application, 0 for none."""
    return 0 if app is None else hash_bucket(app, APP_BUCKETS, "app")


def situation_words(situation: Situation) -> list[int]:
    """Buckets of `WORDS`, 0 where missing (an empty word is a missing one)."""
    words = (
        situation.file_type,
        situation.mode,
        situation.place,
        situation.job_role,
        situation.department,
        situation.calendar_series,
    )
    return [hash_bucket(word, WORD_BUCKETS, name) if word else 0 for name, word in zip(WORDS, words, strict=True)]


def batches_from_sequences(sequences: Sequence[Sequence[Step]], window: int = 64) -> Iterator[SequenceBatch]:
    """The windows of some users' whole histories, in order; the first has `start`. Steps are in the order of time.

    Memory: some 0.5 KiB a step of all sequences, and 2 KiB a step of one window. Sequences of like length waste least.
    """
    raise NotImplementedError


def batch_from_sequences(sequences: Sequence[Sequence[Step]]) -> SequenceBatch:
    """All in one window."""
    raise NotImplementedError
