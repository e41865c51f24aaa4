"""From the steps of several users to the batches that the LSTM is trained on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ghostdesk.kernel.ids import AppId
from ghostdesk.profiles.features import (
    HORIZONS_S,
    NO_APP,
    NUMBERS,
    RESOURCES,
    TIME_BINS,
    TIME_EDGES_S,
    WORDS,
    FloatArray,
    IntArray,
    SequenceBatch,
    Step,
    app_bucket,
    number_or_nan,
    resource_scale,
    resources_used,
    situation_numbers,
    situation_words,
)
from ghostdesk.profiles.recent_apps import CANDIDATES, LIST_STATISTICS, STATISTICS, RecentApps

Floats = npt.NDArray[np.float64]


def batches_from_sequences(sequences: Sequence[Sequence[Step]], window: int = 64) -> Iterator[SequenceBatch]:
    """The windows of some users' whole histories, in order; the first has `start`. Steps are in the order of time.

    Memory: some 0.5 KiB a step of all sequences, and 2.5 KiB of one window. Sequences of like length waste least.
    """
    if window < 1:
        raise ValueError(f"a window of {window} steps: it must have one at least")
    apps: dict[AppId, int] = {}
    users = [_User.of(steps, apps) for steps in sequences]
    buckets = np.array([0, *(app_bucket(app) for app in apps)], np.int64)
    recent = RecentApps(len(users))
    longest = max((user.length for user in users), default=0)
    for first in range(0, longest, window):
        last = min(first + window, longest)
        batch = _empty(len(users), last - first, start=first == 0)
        for row, user in enumerate(users):
            _copy(user, row, first, last, batch, buckets)
        for step in range(first, last):
            _recent_part(users, recent, step, step - first, batch, buckets)
        yield batch


def batch_from_sequences(sequences: Sequence[Sequence[Step]]) -> SequenceBatch:
    """Whole histories in one window; raises ValueError when there is no step."""
    longest = max((len(steps) for steps in sequences), default=0)
    if not longest:
        raise ValueError("there is no step to make a batch of")
    return next(batches_from_sequences(sequences, longest))


@dataclass(frozen=True, slots=True)
class _User:
    """The arrays of one user's whole history; `number` counts the applications of all users from 1, 0 is none."""

    length: int
    number: IntArray
    scored: FloatArray
    time_s: Floats
    hour: Floats
    words: IntArray
    numbers: FloatArray
    launch: tuple[IntArray, IntArray]
    sign_in: tuple[IntArray, IntArray]
    resources: FloatArray

    @classmethod
    def of(cls, steps: Sequence[Step], apps: dict[AppId, int]) -> _User:
        number = [0 if step.app is None else apps.setdefault(step.app, len(apps) + 1) for step in steps]
        situations = [step.situation for step in steps]
        time_s = np.array([number_or_nan(one.time_s) for one in situations], np.float64)
        has_app = np.array([step.app is not None for step in steps], bool)
        return cls(
            len(steps),
            np.array(number, np.int64),
            np.array([step.scored and step.app is not None for step in steps], np.float32),
            time_s,
            np.array([number_or_nan(one.hour) for one in situations], np.float64),
            np.array([situation_words(one) for one in situations], np.int64).reshape(len(steps), len(WORDS)),
            situation_numbers(situations),
            waits(time_s, has_app),
            waits(time_s, np.array([step.sign_in for step in steps], bool)),
            coming_use(time_s, resources_used(situations)),
        )


def waits(time_s: Floats, happens: npt.NDArray[np.bool_]) -> tuple[IntArray, IntArray]:
    """Bin of the time from each step to the next one that `happens`, and whether it was seen.

    After the last one, the wait is censored at the end of the sequence. Where a time is not known, nothing is.

    Returns:
        (n,) bins, `TIME_BINS` past the last; (n,) 1 seen, 0 censored, -1 not known.
    """
    n = len(time_s)
    upcoming = np.full(n, -1)
    upcoming[:-1] = np.where(happens[1:], np.arange(1, n), n)
    ends = n and np.isfinite(time_s).any()
    if not ends:
        return np.zeros(n, np.int64), np.full(n, -1, np.int64)
    upcoming[-1] = n
    upcoming = np.minimum.accumulate(upcoming[::-1])[::-1]
    end_s = np.nanmax(time_s)
    known = upcoming < n
    at_s = np.where(known, time_s[np.minimum(upcoming, n - 1)], end_s)
    wait_s = at_s - time_s
    told = np.isfinite(wait_s)
    bins = np.searchsorted(TIME_EDGES_S, np.where(told, np.maximum(wait_s, 0.0), 0.0), side="right")
    seen = np.where(told, (known & (bins < TIME_BINS)).astype(np.int64), -1)
    return bins.astype(np.int64), seen


def coming_use(time_s: Floats, used: Floats) -> FloatArray:
    """(n, len(RESOURCES), len(HORIZONS_S)) scaled mean of the samples between a horizon and the one before.

    Args:
        time_s: (n,) times of the samples, NaN where not known.
        used: (n, len(RESOURCES)) amounts, NaN where not measured.
    """
    found = np.full((len(time_s), len(RESOURCES), len(HORIZONS_S)), np.nan, np.float32)
    timed = np.flatnonzero(np.isfinite(time_s))
    if not len(timed) or not np.isfinite(used).any():
        return found
    times = np.maximum.accumulate(time_s[timed])
    measured = np.isfinite(used[timed])
    zero = np.zeros((1, len(RESOURCES)))
    sums = np.concatenate((zero, np.cumsum(np.where(measured, used[timed], 0.0), axis=0)))
    counts = np.concatenate((zero, np.cumsum(measured, axis=0)))
    before_s = 0.0
    for k, horizon_s in enumerate(HORIZONS_S):
        low = np.searchsorted(times, times + before_s, side="right")
        high = np.searchsorted(times, times + horizon_s, side="right")
        n = counts[high] - counts[low]
        mean = np.where(n > 0, (sums[high] - sums[low]) / np.maximum(n, 1.0), np.nan)
        found[timed, :, k] = resource_scale(mean[:, :, None])[:, :, 0]
        before_s = horizon_s
    return found


def _empty(users: int, steps: int, *, start: bool) -> SequenceBatch:
    def whole(*more: int, fill: int = 0) -> IntArray:
        return np.full((users, steps, *more), fill, np.int64)

    def floats(*more: int, fill: float = 0.0) -> FloatArray:
        return np.full((users, steps, *more), fill, np.float32)

    return SequenceBatch(
        start=start,
        present=floats(),
        rank=whole(fill=NO_APP),
        scored=floats(),
        app_bucket=whole(),
        words=whole(len(WORDS)),
        numbers=floats(NUMBERS),
        candidate_bucket=whole(CANDIDATES),
        candidate_statistics=floats(CANDIDATES, STATISTICS),
        list_statistics=floats(LIST_STATISTICS),
        launch_bin=whole(),
        launch_seen=whole(fill=-1),
        sign_in_bin=whole(),
        sign_in_seen=whole(fill=-1),
        resources=floats(len(RESOURCES), len(HORIZONS_S), fill=np.nan),
    )


def _copy(user: _User, row: int, first: int, last: int, batch: SequenceBatch, buckets: IntArray) -> None:
    """What needs no list of recent applications."""
    part = slice(first, min(last, user.length))
    n = max(part.stop - first, 0)
    if not n:
        return
    batch.present[row, :n] = 1.0
    batch.scored[row, :n] = user.scored[part]
    batch.app_bucket[row, :n] = buckets[user.number[part]]
    batch.words[row, :n] = user.words[part]
    batch.numbers[row, :n] = user.numbers[part]
    batch.launch_bin[row, :n], batch.launch_seen[row, :n] = user.launch[0][part], user.launch[1][part]
    batch.sign_in_bin[row, :n], batch.sign_in_seen[row, :n] = user.sign_in[0][part], user.sign_in[1][part]
    batch.resources[row, :n] = user.resources[part]


def _recent_part(
    users: Sequence[_User], recent: RecentApps, step: int, column: int, batch: SequenceBatch, buckets: IntArray
) -> None:
    """The candidates of one step, and then what the step adds to them."""
    rows = np.array([row for row, user in enumerate(users) if step < user.length and user.number[step]], np.int64)
    if not len(rows):
        return
    number = np.array([users[row].number[step] for row in rows])
    time_s = np.array([users[row].time_s[step] for row in rows])
    hour = np.array([users[row].hour[step] for row in rows])
    batch.candidate_bucket[rows, column] = buckets[np.maximum(recent.numbers()[rows], 0)]
    batch.candidate_statistics[rows, column], batch.list_statistics[rows, column] = recent.statistics(
        rows, time_s, hour
    )
    batch.rank[rows, column] = recent.learn(rows, number, time_s, hour)
