"""What the LSTM sees: finite whatever comes, stable hashes, and missing inputs that say so."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ghostdesk.kernel.ids import AppId
from ghostdesk.profiles.features import (
    APP_BUCKETS,
    NUMBERS,
    WORD_BUCKETS,
    app_bucket,
    hash_bucket,
    resource_amounts,
    resource_scale,
    scaled_resources,
    situation_numbers,
    situation_words,
)
from ghostdesk.profiles.situation import UNKNOWN, Situation

ANY = st.none() | st.floats() | st.integers(-(10**400), 10**400)
WORD = st.none() | st.text(max_size=20)


@given(
    st.builds(
        Situation, time_s=ANY, hour=ANY, weekday=ANY, gap_s=ANY, session_position=ANY, dwell_s=ANY,
        microphone=st.none() | st.booleans(), cpu_cores=ANY, memory_bytes=ANY, gpu_share=ANY,
        network_bytes_per_s=ANY, storage_bytes_per_s=ANY, file_type=WORD, calendar_minutes=ANY,
        calendar_series=WORD, holiday=st.none() | st.booleans(), place=WORD, mode=WORD, job_role=WORD,
    )
)  # fmt: skip
@settings(deadline=None)
def test_any_situation_gives_small_finite_numbers(situation: Situation) -> None:
    numbers = situation_numbers([situation])
    assert numbers.shape == (1, NUMBERS)
    assert np.isfinite(numbers).all()
    assert np.abs(numbers).max() <= 12
    assert all(0 <= word <= WORD_BUCKETS for word in situation_words(situation))


def test_what_is_missing_is_zero_and_says_so() -> None:
    missing = situation_numbers([UNKNOWN])[0]
    assert not missing[:12].any()
    assert missing[12:24].all()
    assert missing[24:].tolist() == [0, 0, 0, 0, 1] + [0] * 7 + [1]
    idle = situation_numbers([Situation(cpu_cores=0.0)])[0]
    assert np.flatnonzero(idle != missing).tolist() == [15]


def test_midnight_has_no_edge_and_each_day_is_its_own() -> None:
    late, early = situation_numbers([Situation(hour=23.99), Situation(hour=0.01)])
    assert np.abs(late - early).max() < 0.02
    days = situation_numbers([Situation(weekday=day) for day in range(7)])
    assert len({tuple(day) for day in days.tolist()}) == 7


def test_hashes_are_the_same_on_every_machine() -> None:
    assert app_bucket(AppId("firefox")) == hash_bucket("firefox", APP_BUCKETS, "app") == 18
    assert app_bucket(None) == 0
    assert situation_words(Situation(mode="")) == [0] * 6
    role, department = situation_words(Situation(job_role="sales", department="sales"))[3:5]
    assert role != department


@given(st.floats(0, 4096), st.floats(0, 2**50))
def test_scaled_amounts_come_back(cores: float, memory: float) -> None:
    amounts = np.array([[cores], [memory], [0.5], [1e6], [math.nan]])
    back = resource_amounts(resource_scale(amounts))
    np.testing.assert_allclose(back[:4], amounts[:4], rtol=1e-9, atol=1e-9)
    assert math.isnan(back[4, 0])


def test_what_is_used_now_is_read_back_from_the_numbers() -> None:
    numbers = situation_numbers([Situation(cpu_cores=2.0, memory_bytes=2**31, storage_bytes_per_s=5000.0)])
    amounts = resource_amounts(scaled_resources(numbers)[0][:, None])[:, 0]
    assert amounts == pytest.approx([2.0, 2**31, 0.0, 0.0, 5000.0], rel=1e-4)
