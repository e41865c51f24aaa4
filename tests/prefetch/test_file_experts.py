"""The simple predictors of files: shares that sum to less than 1, and what each is for."""

from __future__ import annotations

import pytest

from ghostdesk.kernel.ids import AppId
from ghostdesk.prefetch.file_experts import Fading, SameFolder, SameTime, restricted
from ghostdesk.profiles.situation import Situation

A, B, C = AppId("a"), AppId("b"), AppId("c")
DAY_S = 86_400.0


def test_what_was_frequent_long_ago_fades() -> None:
    fading = Fading(half_life_s=DAY_S)
    for _ in range(8):
        fading.learn(A, Situation(time_s=0.0))
    fading.learn(B, Situation(time_s=10 * DAY_S))
    assert fading.shares()[B] > fading.shares()[A]


def test_a_clock_that_was_set_back_harms_nothing() -> None:
    fading = Fading()
    fading.learn(A, Situation(time_s=1e9))
    fading.learn(B, Situation(time_s=0.0))
    assert fading.shares()[A] == pytest.approx(fading.shares()[B])


def test_counts_are_bounded() -> None:
    fading = Fading()
    for number in range(2000):
        fading.learn(AppId(str(number)), Situation(time_s=float(number)))
    assert len(fading.shares()) <= 512
    assert AppId("1999") in fading.shares()


def test_same_time_falls_back_on_every_time() -> None:
    by_time = SameTime()
    for _ in range(6):
        by_time.learn(A, Situation(time_s=0.0, hour=9.0, weekday=0))
        by_time.learn(B, Situation(time_s=0.0, hour=15.0, weekday=0))
    assert by_time.shares(Situation(hour=9.5, weekday=0))[A] > by_time.shares(Situation(hour=9.5, weekday=0))[B]
    assert by_time.shares(Situation())[A] == pytest.approx(by_time.shares(Situation(hour=3.0, weekday=4))[A])


def test_who_stays_in_a_folder_is_expected_to_stay() -> None:
    folder_of = {A: "x", B: "x", C: "y"}
    by_folder = SameFolder(lambda key: folder_of[key])
    for key in (C, A, B, A, B, A, B, A):
        by_folder.learn(key)
    shares = by_folder.shares()
    assert shares[B] > shares[C]
    assert sum(shares.values()) < 1.0


def test_shares_of_some_alone_share_out_the_rest() -> None:
    assert restricted({A: 0.2, B: 0.6}, {A: None}) == {A: pytest.approx(0.8)}
    assert restricted({B: 0.6}, {A: None}) == {}
