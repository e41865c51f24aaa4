"""The LSTM as one person's expert, on random weights; torch is not needed. Equality with torch: `test_lstm`."""

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ghostdesk.kernel.ids import AppId
from ghostdesk.profiles.features import HORIZONS_S, RESOURCES
from ghostdesk.profiles.forecast import LEVELS
from ghostdesk.profiles.lstm_step import LstmConfig, weight_shapes
from ghostdesk.profiles.next_app.expert import NextAppExpert
from ghostdesk.profiles.next_app.lstm_expert import LstmExpert
from ghostdesk.profiles.situation import UNKNOWN, Situation

CONFIG = LstmConfig()
RNG = np.random.default_rng(4)
WEIGHTS = {
    name: (RNG.normal(size=shape) * shape[-1] ** -0.5).astype(np.float32)
    for name, shape in weight_shapes(CONFIG).items()
}


def expert() -> LstmExpert:
    return LstmExpert(CONFIG, WEIGHTS)


def test_nothing_learnt_nothing_said() -> None:
    one: NextAppExpert = expert()
    assert one.shares() == {}


ANY = st.none() | st.floats()


@given(st.lists(st.tuples(st.integers(0, 60), ANY, ANY), max_size=60))
@settings(deadline=None, max_examples=40)
def test_shares_leave_something_for_new_ones_whatever_comes(
    steps: list[tuple[int, float | None, float | None]],
) -> None:
    one = expert()
    for app, time_s, hour in steps:
        one.learn(AppId(str(app)), Situation(time_s=time_s, hour=hour, mode="x"))
        shares = one.shares(Situation(time_s=hour, hour=time_s))
        assert AppId(str(app)) in shares
        assert len(shares) <= 32
        assert all(0.0 <= share <= 1.0 for share in shares.values())
        assert sum(shares.values()) < 1.0


def test_asking_changes_nothing_and_the_circumstances_count() -> None:
    asked, silent = expert(), expert()
    for i in range(40):
        asked.shares(Situation(time_s=1e9 + i, hour=3.0))
        asked.shares(UNKNOWN)
        for one in (asked, silent):
            one.learn(AppId("abc"[i % 3]), Situation(time_s=1e9 + 60 * i, hour=9.0))
    assert asked.shares() == silent.shares()
    assert asked.shares(Situation(mode="video editing")) != asked.shares()


def test_sizes_stay_and_fit_two_kibibytes() -> None:
    one = expert()
    for i in range(300):
        one.learn(AppId(f"app {i}"))
    assert one.nbytes() <= 2048
    assert len(one.shares()) == 32
    assert len(one._apps) <= 33


def test_a_sign_in_is_taken_in_without_an_application() -> None:
    one = expert()
    one.learn(AppId("a"))
    before = one.shares()
    one.signed_in(Situation(time_s=1e9))
    assert [*one.shares()] == ["a"]
    assert one.shares() != before


def test_waits_and_amounts_are_probabilities_and_rising_quantiles() -> None:
    one = expert()
    one.learn(AppId("a"), Situation(time_s=1e9))
    for within in (one.launch_within, one.sign_in_within):
        chances = [within(lead_s) for lead_s in (0.0, 1.0, 300.0, 3600.0, 1e6, math.inf)]
        assert chances == sorted(chances)
        assert chances[0] == 0.0
        assert chances[-1] <= 1.0
    amounts = one.resource_quantiles(Situation(memory_bytes=4e9))
    assert amounts.shape == (len(RESOURCES), len(HORIZONS_S), len(LEVELS))
    assert (np.diff(amounts, axis=-1) >= 0).all()
    assert (amounts >= 0).all()
