"""A trained model beside the mixture: believed as it proves right, and never at much cost."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ghostdesk.kernel.ids import AppId, UserId
from ghostdesk.profiles.arrivals.live import SLOT_S, ArrivalForecasts
from ghostdesk.profiles.arrivals.trained_blend import FIRST_TRUST, SHARE, Floats, TrainedBlend, TrainedHazards
from ghostdesk.profiles.engine import UserProfileEngine
from ghostdesk.profiles.lstm_step import LstmConfig, weight_shapes
from ghostdesk.profiles.next_app.lstm_expert import LstmExpert
from ghostdesk.profiles.next_app.mixture import TRAINED
from ghostdesk.telemetry.events import EventKind, UsageEvent

DAY_S = 86_400.0
START_S = 1_736_121_600.0  # Monday, 2025-01-06
ANN = UserId("ann")
ROW = np.array([0])


def after(blend: TrainedBlend, mixture: float, trained: float, came: list[bool]) -> float:
    """The row's log loss when both always say the same."""
    loss = 0.0
    for started in came:
        said = float(blend.mix(ROW, np.array([[mixture]]), np.array([[trained]]))[0, 0])
        loss -= np.log(said if started else 1.0 - said)
        blend.learn(ROW, np.array([mixture]), np.array([trained]), np.array([started]))
    return float(loss)


def blend_of(rows: int) -> TrainedBlend:
    blend = TrainedBlend()
    blend.grow(rows)
    return blend


def test_whoever_is_right_is_believed() -> None:
    right, wrong = blend_of(2), blend_of(2)
    after(right, 0.1, 0.6, [True] * 20)
    after(wrong, 0.6, 0.1, [True] * 20)
    assert right.trust(ROW)[0] > 0.9
    assert wrong.trust(ROW)[0] < 0.02
    assert right.trust(np.array([1]))[0] > FIRST_TRUST > wrong.trust(np.array([1]))[0]
    right.move(0, 1)
    assert right.trust(np.array([1]))[0] > 0.9 > right.trust(ROW)[0]


@given(st.lists(st.tuples(st.floats(1e-5, 0.97), st.floats(1e-5, 0.97), st.booleans()), min_size=1, max_size=60))
@settings(max_examples=60, deadline=None)
def test_the_row_never_loses_much_against_the_mixture(slots: list[tuple[float, float, bool]]) -> None:
    blend, blended, alone = blend_of(1), 0.0, 0.0
    for mixture, trained, came in slots:
        for name, said in (
            ("blend", float(blend.mix(ROW, np.array([[mixture]]), np.array([[trained]]))[0, 0])),
            ("alone", mixture),
        ):
            cost = -np.log(said if came else 1.0 - said)
            blended, alone = (blended + cost, alone) if name == "blend" else (blended, alone + cost)
        blend.learn(ROW, np.array([mixture]), np.array([trained]), np.array([came]))
    assert blended <= alone - np.log(1.0 - FIRST_TRUST) - len(slots) * np.log(1.0 - SHARE) + 1e-6


def test_a_model_that_knows_moves_the_forecast_of_idle_people() -> None:
    """A synthetic oracle says 0.9 for the hour in which she comes, and nothing for others."""

    hours = np.random.default_rng(6).integers(0, 24, 25).tolist()
    comes_s = {START_S + (24 * day + hour) * SLOT_S for day, hour in enumerate(hours)}

    def oracle(begin_s: Floats, _slot_s: float) -> TrainedHazards:
        return TrainedHazards([ANN], np.array([[0.9 if at_s in comes_s else 0.001 for at_s in begin_s.tolist()]]))

    chances = {}
    for name, trained in (("with", oracle), ("without", lambda _begin_s, _slot_s: None)):
        live = ArrivalForecasts(enough_starts=10, trained=trained)
        for begin_s in np.arange(START_S, max(comes_s) + 1.0, SLOT_S).tolist():
            chances[name] = live.outlook(begin_s + 90.0, SLOT_S - 90.0, SLOT_S - 90.0).arrival
            if begin_s in comes_s:
                live.observe(UsageEvent(begin_s + 600.0, EventKind.SIGN_IN, ANN))
                live.observe(UsageEvent(begin_s + 1600.0, EventKind.SIGN_OUT, ANN))
    assert chances["with"][0, 0] > 0.6 > 3.0 * chances["without"][0, 0]
    assert chances["with"][1, 0] == pytest.approx(chances["without"][1, 0])


def test_the_engine_asks_the_trained_model_of_the_waits_it_learnt() -> None:
    config = LstmConfig()
    generator = np.random.default_rng(4)
    weights = {
        name: (generator.normal(size=shape) * shape[-1] ** -0.5).astype(np.float32)
        for name, shape in weight_shapes(config).items()
    }
    weights["sign_in_bias"] = np.full_like(weights["sign_in_bias"], 6.0)  # sure of a sign-in at once

    def engine_of(trained: bool) -> UserProfileEngine:
        def experts() -> dict[str, LstmExpert]:
            return {TRAINED: LstmExpert(config, weights)} if trained else {}

        engine = UserProfileEngine(trained=experts)
        for day in range(55):
            at_s = START_S + day * DAY_S + 9 * 3600.0
            engine.observe(UsageEvent(at_s, EventKind.SIGN_IN, ANN))
            engine.observe(UsageEvent(at_s + 60.0, EventKind.APP_LAUNCH, ANN, AppId("ab"[day % 2])))
            engine.observe(UsageEvent(at_s + 900.0, EventKind.SIGN_OUT, ANN))
        return engine

    plain, asked = engine_of(False), engine_of(True)
    night_s = START_S + 54 * DAY_S + 15 * 3600.0 + 90.0
    for _ in range(2):
        without, blended = (one.predict_resource_needs(ANN, night_s).arrival[0] for one in (plain, asked))
    assert blended > without
    back_s = START_S + 55 * DAY_S + 9 * 3600.0
    for engine in (plain, asked):
        engine.observe(UsageEvent(back_s, EventKind.SIGN_IN, ANN))
    curve = asked.usage_curve(ANN, back_s + 60.0, 3600.0, 600.0)
    assert len(curve.launch_within) == 6
    assert list(curve.launch_within) == sorted(curve.launch_within)
    assert 0.0 <= curve.launch_within[0] <= curve.launch_within[-1] <= 1.0
    assert plain.usage_curve(ANN, back_s + 60.0, 3600.0, 600.0).launch_within == ()
    asked.forget(ANN)
    assert asked.usage_curve(ANN, back_s + 60.0, 3600.0, 600.0).launch_within == ()
