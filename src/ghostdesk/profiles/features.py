"""What the LSTM sees of an event, and the training batches: numbers of fixed length, free of any vocabulary.

Applications and words (a mode, a place, a role) are hashed into buckets, so a model carries over to users,
applications and installations that it never saw. Whatever is not known is 0 with a missing-indicator beside it.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import attrgetter
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ghostdesk.kernel.ids import AppId
from ghostdesk.profiles.recent_apps import CANDIDATES
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
_GET_RAW = attrgetter(*_RAW)
_GET_RESOURCES = attrgetter(*RESOURCES)
_LOG_UNITS: Final = np.array([1.0, 1.0, 1.0, *_RESOURCE_UNITS])
_LOG_LIMITS: Final = np.array([30 * 86_400.0, 10_000.0, 86_400.0, *_RESOURCE_LIMITS])
_LOG_SPANS: Final = np.array([8.0, 4.0, 6.0, 4.0, 10.0, 4.0, 10.0, 10.0])
"""Divides the logarithms, so that usual values lie between 0 and about 1.5."""
_CALENDAR_LIMIT_MIN: Final = 7 * 1440.0
_N_LOGS: Final = len(_LOGS)
_N_PLAIN: Final = _N_LOGS + 1 + len(_FLAGS)
NUMBERS: Final = 2 * _N_PLAIN + 5 + 8
"""Length of `situation_numbers`: values, indicators, the hour (4 waves, missing), the weekday (1 of 7, missing)."""


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
        launch_bin, sign_in_bin: (U, T) bin of the time from the step to the next application or sign-in; `TIME_BINS`
            past the last.
        launch_seen, sign_in_seen: (U, T) 1 it happened in that bin, 0 not by then (censored), -1 not known.
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


def situation_numbers(situations: Sequence[Situation]) -> FloatArray:
    """(n, NUMBERS) of circumstances: scaled to about -1..1.5, clipped, 0 where missing with an indicator of 1.

    Amounts and times are logarithms; the hour is two harmonics, so that midnight has no edge.
    """
    raw = _numbers(situations, _GET_RAW, len(_RAW))
    missing = ~np.isfinite(raw)
    raw[missing] = 0.0
    found = np.zeros((len(raw), NUMBERS), np.float32)
    end = 2 * _N_PLAIN
    found[:, :_N_LOGS] = np.log1p(np.clip(raw[:, :_N_LOGS], 0.0, _LOG_LIMITS) / _LOG_UNITS) / _LOG_SPANS
    calendar = np.clip(raw[:, _N_LOGS], -_CALENDAR_LIMIT_MIN, _CALENDAR_LIMIT_MIN)
    found[:, _N_LOGS] = np.sign(calendar) * np.log1p(np.abs(calendar)) / 9
    found[:, _N_LOGS + 1 : _N_PLAIN] = np.clip(raw[:, _N_LOGS + 1 : _N_PLAIN], 0.0, 1.0)
    found[:, _N_PLAIN:end] = missing[:, :_N_PLAIN]
    angle = np.clip(raw[:, -2], 0.0, 24.0) * (2 * np.pi / 24)
    waves = np.stack((np.sin(angle), np.cos(angle), np.sin(2 * angle), np.cos(2 * angle)), axis=1)
    found[:, end : end + 4] = np.where(missing[:, -2:-1], 0.0, waves)
    found[:, end + 4] = missing[:, -2]
    rows = np.arange(len(raw))
    day = np.where(missing[:, -1], 7, np.clip(raw[:, -1], 0, 6)).astype(np.int64)
    found[rows, end + 5 + day] = 1.0
    return found


def _numbers(situations: Sequence[Situation], get: Callable[[Situation], Any], width: int) -> npt.NDArray[np.float64]:
    rows = [get(one) for one in situations]
    try:
        found = np.array(rows, np.float64)  # None becomes NaN
    except OverflowError:
        found = np.array([[number_or_nan(value) for value in row] for row in rows], np.float64)
    return found.reshape(len(rows), width)


def resources_used(situations: Sequence[Situation]) -> npt.NDArray[np.float64]:
    """(n, len(RESOURCES)) amounts as they are, NaN where not known."""
    found = _numbers(situations, _GET_RESOURCES, len(RESOURCES))
    return np.where(np.isfinite(found), found, np.nan)


def number_or_nan(value: float | None) -> float:
    """A finite number as it is; NaN for what is missing or no number that can be reckoned with."""
    try:
        number = math.nan if value is None else float(value)
    except OverflowError:
        return math.nan
    return number if math.isfinite(number) else math.nan


def resource_scale(amounts: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """(..., len(RESOURCES), n) amounts to the scale that the model works in: log(1 + amount / unit). NaN stays."""
    values = np.asarray(amounts, np.float64)
    found: npt.NDArray[np.float64] = np.log1p(
        np.clip(values, 0.0, _RESOURCE_LIMITS[:, None]) / _RESOURCE_UNITS[:, None]
    )
    return found


def scaled_resources(numbers: FloatArray) -> FloatArray:
    """(..., len(RESOURCES)) what is used now on `resource_scale`, out of `situation_numbers`; 0 where missing."""
    return numbers[..., 3:_N_LOGS] * _LOG_SPANS[3:].astype(np.float32)


def resource_amounts(scaled: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """(..., len(RESOURCES), n) back to cores, bytes, share of a device, bytes/s and bytes/s; within the limits."""
    limits = np.log1p(_RESOURCE_LIMITS / _RESOURCE_UNITS)
    values = np.clip(np.asarray(scaled, np.float64), 0.0, limits[:, None])
    found: npt.NDArray[np.float64] = np.expm1(values) * _RESOURCE_UNITS[:, None]
    return found
