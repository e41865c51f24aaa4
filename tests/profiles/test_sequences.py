"""Batches from sequences: windows in order, waits, coming use, padding, unknown times."""

import math

import numpy as np
import pytest

from ghostdesk.kernel.ids import AppId
from ghostdesk.profiles.features import HORIZONS_S, NEW_APP, NO_APP, TIME_BINS, Step, resource_scale
from ghostdesk.profiles.sequences import batch_from_sequences, batches_from_sequences, coming_use, waits
from ghostdesk.profiles.situation import Situation


def timed(app: str | None, time_s: float, **more: float) -> Step:
    return Step(AppId(app) if app else None, Situation(time_s=time_s, **more), sign_in=app is None)


SHORT = [timed("a", 0.0), timed("b", 10.0), timed("a", 20.0)]
LONG = [timed(None, 0.0), *(timed("abcab"[i % 5], 60.0 * i, cpu_cores=i) for i in range(1, 30))]


def test_windows_in_order_are_the_whole() -> None:
    whole = batch_from_sequences([SHORT, LONG])
    windows = list(batches_from_sequences([SHORT, LONG], 7))
    assert [w.start for w in windows] == [True, False, False, False, False]
    for name in ("rank", "candidate_statistics", "list_statistics", "numbers", "launch_bin", "resources", "scored"):
        joined = np.concatenate([getattr(w, name) for w in windows], axis=1)
        np.testing.assert_array_equal(joined, getattr(whole, name))


def test_ranks_buckets_and_padding() -> None:
    batch = batch_from_sequences([SHORT, LONG])
    assert batch.rank[0, :5].tolist() == [NEW_APP, NEW_APP, 1, NO_APP, NO_APP]
    assert batch.rank[1, 0] == NO_APP
    assert batch.present[0].sum() == 3
    assert batch.scored[1, 0] == 0
    assert batch.candidate_bucket[0, 2, :3].tolist() == [batch.app_bucket[0, 1], batch.app_bucket[0, 0], 0]
    assert (batch.launch_seen[0, 3:] == -1).all()


def test_waits_are_binned_and_censored_at_the_end() -> None:
    times = np.array([0.0, 0.5, 10.0, 1e6, 1e6 + 5])
    bins, seen = waits(times, np.array([False, True, True, True, False]))
    assert seen.tolist() == [1, 1, 0, 0, 0]  # beyond 7 days is "not within", the last two are cut off
    assert bins[0] == 0
    assert bins[2] == TIME_BINS
    assert 0 < bins[3] < TIME_BINS
    assert bins[4] == 0


def test_without_times_no_wait_is_known() -> None:
    bins, seen = waits(np.array([0.0, math.nan, 2.0]), np.array([True, True, True]))
    assert seen.tolist() == [-1, -1, 0]
    assert (waits(np.full(3, np.nan), np.ones(3, bool))[1] == -1).all()
    assert len(waits(np.zeros(0), np.zeros(0, bool))[0]) == 0
    assert bins.shape == (3,)


def test_coming_use_is_the_mean_between_horizons() -> None:
    used = np.full((4, 5), np.nan)
    used[:, 0] = [9.0, 1.0, 3.0, 8.0]
    found = coming_use(np.array([0.0, 100.0, 300.0, 1000.0]), used)
    expected = resource_scale(np.array([[2.0], *[[np.nan]] * 4]))[0, 0]
    assert found[0, 0, 0] == pytest.approx(expected)
    assert found[0, 0, 1] == pytest.approx(resource_scale(np.array([[8.0], *[[np.nan]] * 4]))[0, 0])
    assert np.isnan(found[0, 0, 2:]).all()
    assert np.isnan(found[:, 1:]).all()
    assert np.isnan(found[3]).all()
    assert found.shape[2] == len(HORIZONS_S)


def test_use_without_times_is_no_target() -> None:
    assert np.isnan(coming_use(np.full(3, np.nan), np.ones((3, 5)))).all()


def test_nothing_to_batch() -> None:
    assert list(batches_from_sequences([], 8)) == []
    assert list(batches_from_sequences([[], []], 8)) == []
    with pytest.raises(ValueError, match="no step"):
        batch_from_sequences([[]])
    with pytest.raises(ValueError, match="window of 0"):
        next(batches_from_sequences([SHORT], 0))
