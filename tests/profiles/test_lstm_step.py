"""The LSTM in numpy: probabilities, hazards and what storing the state as float16 changes. Torch is not needed."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ghostdesk.profiles.features import NUMBERS, RANKS, TIME_BINS, TIME_EDGES_S, WORDS
from ghostdesk.profiles.lstm_step import (
    LossReport,
    LstmConfig,
    LstmState,
    Question,
    StepInputs,
    added,
    happens_within,
    next_app_logs,
    step,
    survival,
    weight_shapes,
)
from ghostdesk.profiles.recent_apps import CANDIDATES, LIST_STATISTICS, STATISTICS

CONFIG = LstmConfig()
USERS = 6


def weights(seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        name: (rng.normal(0, 1, shape) * shape[-1] ** -0.5).astype(np.float32)
        for name, shape in weight_shapes(CONFIG).items()
    }


def question(rng: np.random.Generator) -> Question:
    bucket = rng.integers(1, 1025, (USERS, CANDIDATES))
    bucket[:, 20:] = 0
    return Question(
        rng.integers(0, 65, (USERS, len(WORDS))),
        rng.normal(0, 0.5, (USERS, NUMBERS)).astype(np.float32),
        bucket,
        rng.normal(-3, 1, (USERS, CANDIDATES, STATISTICS)).astype(np.float32),
        rng.normal(0, 0.5, (USERS, LIST_STATISTICS)).astype(np.float32),
    )


def inputs(rng: np.random.Generator) -> StepInputs:
    return StepInputs(
        rng.integers(0, RANKS, USERS),
        rng.integers(0, 1025, USERS),
        rng.integers(0, 65, (USERS, len(WORDS))),
        rng.normal(0, 0.5, (USERS, NUMBERS)).astype(np.float32),
        rng.normal(-3, 1, (USERS, STATISTICS)).astype(np.float32),
    )


def test_shares_sum_to_one_and_empty_places_get_none() -> None:
    rng = np.random.default_rng(1)
    shares = np.exp(next_app_logs(weights(1), LstmState.empty(USERS, CONFIG), question(rng)))
    np.testing.assert_allclose(shares.sum(axis=1), 1.0, atol=1e-5)
    assert not shares[:, 20:CANDIDATES].any()


def test_a_state_kept_as_float16_takes_256_bytes_and_changes_forecasts_little() -> None:
    rng, model = np.random.default_rng(2), weights(2)
    exact = kept = LstmState.empty(USERS, CONFIG)
    worst = 0.0
    for _ in range(300):
        one, asked = inputs(rng), question(rng)
        exact, kept = step(model, exact, one), LstmState.unpacked(step(model, kept, one).packed())
        gap = np.exp(next_app_logs(model, exact, asked)) - np.exp(next_app_logs(model, kept, asked))
        worst = max(worst, float(np.abs(gap).max()))
    assert kept.packed()[0].nbytes == 256
    assert 0.0 < worst < 2e-3


def test_a_state_stays_finite_with_huge_weights() -> None:
    rng = np.random.default_rng(3)
    model = {name: value * 1e3 for name, value in weights(3).items()}
    state = LstmState.empty(USERS, CONFIG)
    for _ in range(50):
        state = LstmState.unpacked(step(model, state, inputs(rng)).packed())
    assert np.isfinite(state.hidden).all()
    assert np.isfinite(state.cell).all()


@given(st.lists(st.floats(0.0, 1.0), min_size=TIME_BINS, max_size=TIME_BINS), st.lists(st.floats(0, 1e7), min_size=2))
@settings(deadline=None)
def test_survival_falls_and_what_happens_grows_with_the_lead(hazard: list[float], times_s: list[float]) -> None:
    row = np.array([hazard], np.float32)
    lived = [survival(row, t)[0] for t in sorted(times_s)]
    assert all(0.0 <= later <= sooner + 1e-12 <= 1.0 + 1e-9 for sooner, later in pairwise(lived))
    within = [happens_within(row, t, 30.0)[0] for t in sorted(times_s)]
    assert all(-1e-9 <= sooner <= later + 1e-9 <= 1.0 + 1e-8 for sooner, later in pairwise(within))


def test_survival_at_the_edges_is_the_product_of_the_bins() -> None:
    row = np.full((1, TIME_BINS), 0.1, np.float32)
    assert survival(row, 0.0)[0] == 1.0
    assert survival(row, -5.0)[0] == 1.0
    assert survival(row, 1.0)[0] == pytest.approx(0.9, rel=1e-6)
    assert survival(row, TIME_EDGES_S[5])[0] == pytest.approx(0.9**6, rel=1e-6)
    assert survival(row, 1e9)[0] == pytest.approx(0.9**TIME_BINS, rel=1e-6)


def test_reports_add_up() -> None:
    one = LossReport(2, 3.0, (1, 1, 2), 4, 8.0, 0, 0.0, 1, 0.5)
    both = added([one, one])
    assert both == LossReport(4, 6.0, (2, 2, 4), 8, 16.0, 0, 0.0, 2, 1.0)
    assert both.log_loss() == 1.5
    assert both.total(LstmConfig(time_weight=0.5, resource_weight=2.0)) == 1.5 + 0.5 * 2.0 + 2.0 * 0.5
    assert np.isnan(LossReport().log_loss())
