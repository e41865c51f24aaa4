"""Scoring steps: ranks, the log loss rule, and that nothing of the future is seen."""

import math

import pytest

from ghostdesk.evaluate.next_app_scores import COLD_STEPS, Calibration, rank_and_loss, score_sequence
from ghostdesk.evaluate.sequences import AppSequence, situations
from ghostdesk.kernel.ids import AppId, UserId
from ghostdesk.profiles.next_app.expert import Shares
from ghostdesk.profiles.situation import UNKNOWN, Situation

A, B, C, NEW = AppId("a"), AppId("b"), AppId("c"), AppId("new")
USED = {A, B, C}


@pytest.mark.parametrize(
    ("shares", "actual", "rank", "probability"),
    [
        ({A: 0.2, B: 0.5}, B, 1, 0.5),
        ({A: 0.2, B: 0.5}, A, 2, 0.2),
        ({A: 0.4, B: 0.4}, A, 1, 0.4),  # equal shares keep the expert's order
        ({A: 0.4, B: 0.4}, B, 2, 0.4),
        ({A: 0.2, B: 0.5}, C, None, 1e-6),  # used before, not listed
        ({A: 0.2, C: 0.0}, C, None, 1e-6),
        ({A: 0.2, B: 0.5}, NEW, None, 0.3),  # a new one has what is left
        ({A: 0.2, B: 0.5, NEW: 0.1}, NEW, 3, 0.3),  # named or not, the outcome is "a new one"
        ({A: 1.0}, NEW, None, 1e-6),
    ],
)
def test_rank_and_loss(shares: Shares, actual: AppId, rank: int | None, probability: float) -> None:
    found, loss_nats = rank_and_loss(shares, actual, USED)
    assert found == rank
    assert loss_nats == pytest.approx(-math.log(probability))


@pytest.mark.parametrize("shares", [{A: 0.7, B: 0.7}, {A: -0.1}, {A: math.nan}, {A: math.inf}])
def test_what_are_no_probabilities_is_refused(shares: Shares) -> None:
    with pytest.raises(ValueError, match="share"):
        rank_and_loss(shares, A, USED)


class Witness:
    """An expert that writes down what it was told and asked, and always bets on `a`."""

    def __init__(self) -> None:
        self.learnt: list[AppId] = []
        self.asked_at: list[int] = []

    def shares(self, situation: Situation = UNKNOWN) -> Shares:
        self.asked_at.append(len(self.learnt))
        return {A: 0.9}

    def learn(self, app: AppId, situation: Situation = UNKNOWN) -> None:
        self.learnt.append(app)


def sequence(apps: str, test_from: int) -> AppSequence:
    return AppSequence(UserId("u"), "1", tuple(AppId(app) for app in apps), test_from)


def test_every_test_step_is_asked_before_it_is_taught_and_taught_after() -> None:
    one, expert, calibration = sequence("abcab", 3), Witness(), Calibration()
    scores = score_sequence(expert, one, list(situations(one)), calibration)
    assert expert.asked_at == [3, 4]
    assert expert.learnt == list("abcab")
    assert (scores.test.steps, scores.test.hits) == (2, [1, 1, 1])
    calibration.flush()
    assert calibration.first.counts.sum() == 2
    assert [(b.count, b.frequency) for b in calibration.first.reliability()] == [(2, 0.5)]


def test_a_cold_start_counts_the_first_steps_of_training_too() -> None:
    one = sequence("a" * 600, 590)
    scores = score_sequence(Witness(), one, list(situations(one)), None, cold_start=True)
    assert [sums.steps for sums in scores.cold] == list(COLD_STEPS)
    assert scores.test.steps == 10
    alone = Witness()
    only_cold = score_sequence(alone, one, list(situations(one)), None, cold_start=True, test=False)
    assert only_cold.test.steps == 0
    assert len(alone.learnt) == COLD_STEPS[-1]
