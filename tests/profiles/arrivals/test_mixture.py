"""The mixture of arrival experts: never much worse than its best member, calibrated, small and quick to forget."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ghostdesk.profiles.arrivals.mixture import SHARE, STACK_WEIGHT, ArrivalMixture
from ghostdesk.profiles.arrivals.online_logistic import OnlineLogistic

ONE = np.array([0])


def loss(chance: float, came: bool) -> float:
    return -math.log(chance if came else 1.0 - chance)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(0.001, 0.97), st.floats(0.001, 0.97), st.floats(0.001, 0.97), st.booleans()),
        min_size=1,
        max_size=150,
    )
)
def test_regret_is_bounded_on_any_sequence(steps: list[tuple[float, float, float, bool]]) -> None:
    mixture = ArrivalMixture(["a", "b", "c"])
    mixture.grow(1)
    ours, theirs = 0.0, np.zeros(3)
    for *chances, came in steps:
        hazards = np.array(chances)[:, None, None]
        ours += loss(float(mixture.mix(ONE, hazards, calibrated=False)[0, 0]), came)
        theirs += [loss(chance, came) for chance in chances]
        mixture.learn(ONE, hazards, np.array([[came]]))
    bound = math.log(3.0 / (1.0 - STACK_WEIGHT)) + len(steps) * math.log(1.0 / (1.0 - SHARE))
    assert ours <= theirs.min() + bound + 1e-3


def test_believes_the_expert_that_is_right() -> None:
    generator = np.random.default_rng(1)
    mixture = ArrivalMixture(["right", "wrong"])
    mixture.grow(1)
    ours = best = 0.0
    for step in range(3000):
        truth = 0.05 if step % 2 else 0.4
        came = bool(generator.random() < truth)
        hazards = np.array([truth, 0.2])[:, None, None]
        if step >= 1000:
            ours += loss(float(mixture.mix(ONE, hazards)[0, 0]), came)
            best += loss(truth, came)
        mixture.learn(ONE, hazards, np.array([[came]]))
    assert ours < best + 0.01 * 2000


def test_rows_differ_and_forgetting_brings_everyones_back() -> None:
    mixture = ArrivalMixture(["high", "low"])
    mixture.grow(2)
    both = np.array([0, 1])
    hazards = np.array([[[0.6], [0.6]], [[0.1], [0.1]]])
    for step in range(200):
        mixture.learn(both, hazards, np.array([[step % 10 < 6], [step % 10 < 1]]))
    said = mixture.mix(both, hazards)
    assert said[0, 0] > 0.5
    assert said[1, 0] < 0.2
    mixture.forget(0)
    assert mixture.weights(0) == pytest.approx(mixture.weights_of_everyone())
    assert mixture.mix(both, hazards)[1] == pytest.approx(said[1])


def test_calibrates_experts_that_exaggerate() -> None:
    generator = np.random.default_rng(2)
    mixture = ArrivalMixture(["twice too high"])
    mixture.grow(50)
    rows = np.arange(50)
    said, came = [], []
    for step in range(600):
        truth = generator.uniform(0.02, 0.3, (50, 1))
        happened = generator.random((50, 1)) < truth
        hazards = (2.0 * truth)[None]
        if step > 300:
            said.append(mixture.mix(rows, hazards).mean())
            came.append(happened.mean())
        mixture.learn(rows, hazards, happened)
    assert np.mean(said) == pytest.approx(np.mean(came), rel=0.05)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.floats(0.001, 0.97), st.booleans()), min_size=1, max_size=60))
def test_calibration_keeps_the_order(steps: list[tuple[float, bool]]) -> None:
    mixture = ArrivalMixture(["one"])
    mixture.grow(1)
    for chance, came in steps:
        mixture.learn(ONE, np.array([[[chance]]]), np.array([[came]]))
    rising = np.linspace(0.001, 0.97, 50)[None, None, :]
    plain, scaled = (mixture.mix(ONE, rising, calibrated=wanted)[0] for wanted in (False, True))
    order = np.argsort(plain, kind="stable")
    assert (np.diff(scaled[order]) >= -1e-12).all()
    assert (scaled > 0.0).all() and (scaled < 1.0).all()


@given(st.lists(st.floats(allow_nan=False), min_size=3, max_size=3))
def test_hazards_out_of_range_are_brought_into_it(hazards: list[float]) -> None:
    mixture = ArrivalMixture(["a", "b", "c"])
    mixture.grow(1)
    said = mixture.mix(ONE, np.array(hazards)[:, None, None])
    assert 0.0 < said[0, 0] < 1.0


def test_slots_that_are_not_at_risk_teach_nothing() -> None:
    mixture = ArrivalMixture(["a", "b"])
    mixture.grow(1)
    hazards = np.array([0.9, 0.1])[:, None, None]
    before = mixture.mix(ONE, hazards)
    mixture.learn(ONE, hazards, np.array([[True]]), np.array([[False]]))
    assert mixture.mix(ONE, hazards) == pytest.approx(before)


def test_many_rows_are_mixed_like_each_alone_and_take_few_bytes() -> None:
    generator = np.random.default_rng(3)
    mixture = ArrivalMixture(list("abcde"))
    mixture.grow(10_000)
    rows = np.arange(10_000)
    hazards = generator.uniform(0.01, 0.4, (5, 10_000, 3)).astype(np.float32)
    mixture.learn(rows, hazards, generator.random((10_000, 3)) < 0.1)
    whole = mixture.mix(rows, hazards)
    assert whole.dtype == np.float32
    for row in (0, 4095, 4096, 9999):
        assert mixture.mix(np.array([row]), hazards[:, row : row + 1]) == pytest.approx(whole[row : row + 1], rel=1e-4)
    assert mixture.row_bytes <= 64


def test_shapes_that_do_not_fit_are_refused() -> None:
    mixture = ArrivalMixture(["a"])
    mixture.grow(2)
    with pytest.raises(ValueError, match="1 experts and 2 rows"):
        mixture.mix(np.array([0, 1]), np.zeros((2, 2, 1)))
    with pytest.raises(ValueError, match="do not fit"):
        mixture.learn(ONE, np.full((1, 1, 2), 0.1), np.array([[True]]))
    with pytest.raises(ValueError, match="at least one"):
        ArrivalMixture([])


def test_online_logistic_finds_the_weights() -> None:
    generator = np.random.default_rng(4)
    model = OnlineLogistic(np.zeros(2), precision=0.1, half_life=1e6)
    for _ in range(300):
        inputs = np.stack((generator.normal(size=50), np.ones(50)), axis=1)
        chance = 1.0 / (1.0 + np.exp(-(inputs @ [1.5, -1.0])))
        model.learn(inputs, (generator.random(50) < chance).astype(float))
    assert model.weights == pytest.approx([1.5, -1.0], abs=0.15)
