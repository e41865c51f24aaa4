"""The gate: only a model that is better beyond chance goes live, scored as the service would score it."""

from pathlib import Path

import numpy as np
import pytest
from training_fakes import SMALL, ByPickle, MakeRequest

from ghostdesk.kernel.ids import AppId
from ghostdesk.profiles.baselines.slots import WeekSlots
from ghostdesk.profiles.features import Step
from ghostdesk.profiles.lstm import LstmTrainer
from ghostdesk.profiles.next_app.mixture import SIMPLE
from ghostdesk.profiles.next_app.most_frequent import MostFrequent
from ghostdesk.profiles.sequences import batches_from_sequences
from ghostdesk.profiles.situation import UNKNOWN
from ghostdesk.training.gate import GateReport, compare, first_model, interval_of_difference, judged
from ghostdesk.training.plan import LEAST_MEMORY_BYTES, Room
from ghostdesk.training.scoring import Losses, ModelRun, expert_losses
from ghostdesk.training.shards import StepShards, write_shards
from ghostdesk.training.sources import ReadNotes
from ghostdesk.training.spool import EventSpool

ROOM = Room(LEAST_MEMORY_BYTES)
EMPTY = GateReport(1, 1, 1.0)


@pytest.fixture
def shards(make_request: MakeRequest, tmp_path: Path) -> StepShards:
    spool = EventSpool(tmp_path / "spool", 1.8e9)
    source = make_request().source
    for event in source.events(ReadNotes()):
        spool.add(event)
    spool.finish()
    return write_shards(tmp_path, spool, WeekSlots("UTC", 3600), source.facts(), {})


def _losses(means: list[float]) -> Losses:
    return Losses(np.array(means) * 100.0, np.full(len(means), 100.0))


def test_a_model_that_is_better_for_nearly_everyone_goes_live() -> None:
    rng = np.random.default_rng(0)
    champion = rng.normal(2.0, 0.3, 60)
    report = judged(EMPTY, _losses(list(champion - 0.05 + rng.normal(0, 0.02, 60))), _losses(list(champion)))
    assert report.promote
    assert report.high is not None and report.high < 0.0
    assert "better than the present model" in report.reason


def test_a_gain_that_may_be_chance_is_kept_aside() -> None:
    champion = [2.0] * 10
    report = judged(EMPTY, _losses([0.5, *[2.05] * 9]), _losses(champion))
    assert report.difference is not None and report.difference < 0.0
    assert not report.promote
    assert "may be chance" in report.reason


def test_a_worse_and_an_equal_model_stay_aside() -> None:
    assert not judged(EMPTY, _losses([2.0] * 9), _losses([2.0] * 9)).promote
    worse = judged(EMPTY, _losses([2.2] * 9), _losses([2.0] * 9))
    assert not worse.promote
    assert "worse by 0.2000" in worse.reason


def test_with_one_person_there_is_no_interval_and_it_says_so() -> None:
    report = judged(EMPTY, _losses([1.0]), _losses([2.0]))
    assert report.promote and report.low is None
    assert "no interval" in report.reason


def test_the_interval_covers_the_true_difference_as_often_as_it_says() -> None:
    covered = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        base = rng.normal(2.0, 0.5, 40)
        interval = interval_of_difference(_losses(list(base + rng.normal(0.1, 0.3, 40))), _losses(list(base)))
        assert interval is not None
        covered += interval[0] <= 0.1 <= interval[1]
    assert covered >= 51  # 95 % of 60 is 57, and a small sample falls somewhat short


def test_the_first_model_says_whether_it_beats_the_best_simple_predictor() -> None:
    assert "better than the best simple predictor (b)" in first_model(EMPTY, {"a": 3.0, "b": 2.0}, 1.5).reason
    weak = first_model(EMPTY, {"a": 3.0, "b": 2.0}, 2.5)
    assert weak.promote
    assert "only an expert in the mixture" in weak.reason


def test_numpy_scores_what_torch_scores(shards: StepShards) -> None:
    trainer = LstmTrainer(SMALL, 1)
    sequences = [shards.steps(person, 0, 150, scored_from=50) for person in range(4)]
    torch_loss = 0.0
    run, costs = ModelRun.begin(SMALL, trainer.weights(), 4), []
    for batch in batches_from_sequences(sequences, 64):
        torch_loss += trainer.evaluate_batch(batch).next_app
        costs.append(run.take(batch))
    found = np.concatenate(costs, axis=1)
    assert np.isfinite(found).sum() == 400
    assert np.nansum(found) == pytest.approx(torch_loss, rel=1e-5)


def test_models_and_simple_predictors_are_scored_on_the_same_steps(shards: StepShards) -> None:
    weights, other = LstmTrainer(SMALL, 1).weights(), LstmTrainer(SMALL, 2).weights()
    first = compare(shards, ROOM, SMALL, weights, None, {name: SIMPLE[name] for name in ("most frequent", "Markov-2")})
    assert set(first.simple) == {"most frequent", "Markov-2"}
    assert first.people == len(shards.people)
    again = compare(shards, ROOM, SMALL, weights, (SMALL, other), SIMPLE)
    assert again.champion is not None and again.steps == first.steps
    assert again.challenger == pytest.approx(first.challenger)
    assert not compare(shards, ROOM, SMALL, weights, (SMALL, weights), SIMPLE).promote


def test_on_a_cluster_models_are_compared_as_here(shards: StepShards) -> None:
    weights, other = LstmTrainer(SMALL, 1).weights(), LstmTrainer(SMALL, 2).weights()
    for champion in (None, (SMALL, other)):
        cluster = ByPickle()
        there = compare(shards, ROOM, SMALL, weights, champion, SIMPLE, cluster)
        assert there == compare(shards, ROOM, SMALL, weights, champion, SIMPLE)
        assert cluster.pieces


def test_an_expert_is_charged_for_another_application_by_what_it_left() -> None:
    steps = [Step(AppId(app), UNKNOWN, scored=i >= 2) for i, app in enumerate(["a", "b", "a", "new"])]
    losses = expert_losses(MostFrequent, [steps])
    expert = MostFrequent()
    expected = 0.0
    for step in steps:
        shares = expert.shares()
        if step.scored:
            expected -= np.log(shares[step.app] if step.app == "a" else 1.0 - sum(shares.values()))
        assert step.app is not None
        expert.learn(step.app)
    assert losses.sums[0] == pytest.approx(min(expected, 2 * 13.8))
    assert losses.steps[0] == 2
