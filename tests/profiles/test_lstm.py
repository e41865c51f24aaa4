"""The LSTM in torch: equal to numpy's, deterministic, resumable bit by bit, and able to learn."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed (the extra `train`)")

from ghostdesk.kernel.errors import ConfigError  # noqa: E402
from ghostdesk.kernel.ids import AppId  # noqa: E402
from ghostdesk.profiles.features import SequenceBatch, Step  # noqa: E402
from ghostdesk.profiles.lstm import LstmTrainer  # noqa: E402
from ghostdesk.profiles.lstm_step import (  # noqa: E402
    LstmConfig,
    LstmState,
    Question,
    StepInputs,
    added,
    hazards,
    next_app_logs,
    resource_quantiles,
    step,
)
from ghostdesk.profiles.next_app.lstm_expert import LstmExpert  # noqa: E402
from ghostdesk.profiles.recent_apps import CANDIDATES  # noqa: E402
from ghostdesk.profiles.sequences import batch_from_sequences, batches_from_sequences  # noqa: E402
from ghostdesk.profiles.situation import UNKNOWN, Situation  # noqa: E402

SMALL = LstmConfig(hidden=12, app_embedding=4, word_embedding=2, rank_embedding=3, gate=6)


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> None:
    torch.set_num_threads(1)


def random_steps(seed: int, n: int, apps: int = 40) -> list[Step]:
    """Events with some inputs missing at random."""
    rng = np.random.default_rng(seed)
    steps, time_s = [], 1e9
    for i in range(n):
        time_s += float(rng.exponential(300))
        given = Situation(
            time_s=time_s, hour=time_s / 3600 % 24, weekday=int(time_s // 86_400) % 7, gap_s=300.0, session_position=i,
            microphone=bool(rng.random() < 0.1), cpu_cores=float(rng.exponential(2)), memory_bytes=2e9,
            network_bytes_per_s=1e4, calendar_minutes=float(rng.normal(0, 500)), file_type="text/plain",
            mode=f"mode {rng.integers(3)}", job_role="editor",
        )  # fmt: skip
        hidden = {name: None for name in ("cpu_cores", "hour", "mode", "gap_s", "time_s") if rng.random() < 0.3}
        situation = UNKNOWN if rng.random() < 0.2 else replace(given, **hidden)
        app = AppId(f"app-{rng.zipf(1.4) % apps}") if rng.random() < 0.9 else None
        steps.append(Step(app, situation, sign_in=app is None))
    return steps


def random_weights(trainer: LstmTrainer, seed: int) -> None:
    rng = np.random.default_rng(seed)
    trainer.load_weights({n: rng.normal(0, 0.3, w.shape).astype(np.float32) for n, w in trainer.weights().items()})


def cyclic(n: int, users: int = 4) -> list[list[Step]]:
    return [[Step(AppId(f"u{u}-{i % 5}"), UNKNOWN) for i in range(u, u + n)] for u in range(users)]


def numpy_outputs(trainer: LstmTrainer, batch: SequenceBatch) -> dict[str, list[np.ndarray]]:
    weights, state = trainer.weights(), LstmState.empty(batch.users, SMALL)
    found: dict[str, list[np.ndarray]] = {"next_app": [], "launch": [], "sign_in": [], "resources": []}
    for t in range(batch.steps):
        question = Question(
            batch.words[:, t], batch.numbers[:, t], batch.candidate_bucket[:, t], batch.candidate_statistics[:, t],
            batch.list_statistics[:, t],
        )  # fmt: skip
        found["next_app"].append(next_app_logs(weights, state, question))
        rank = batch.rank[:, t]
        chosen = batch.candidate_statistics[np.arange(batch.users), t, np.minimum(rank, CANDIDATES - 1)]
        chosen = chosen * (rank < CANDIDATES)[:, None]
        inputs = StepInputs(rank, batch.app_bucket[:, t], batch.words[:, t], batch.numbers[:, t], chosen)
        state = step(weights, state, inputs)
        found["launch"].append(hazards(weights, state, "launch"))
        found["sign_in"].append(hazards(weights, state, "sign_in"))
        found["resources"].append(resource_quantiles(weights, state, batch.numbers[:, t]))
    return found


def test_numpy_says_what_torch_says_over_many_steps() -> None:
    trainer = LstmTrainer(SMALL, 1)
    random_weights(trainer, 2)
    batch = batch_from_sequences([random_steps(s, 150) for s in (1, 2, 3)])
    theirs, ours = trainer.outputs(batch), numpy_outputs(trainer, batch)
    for name in ("launch", "sign_in", "resources"):
        np.testing.assert_allclose(np.stack(ours[name], axis=1), theirs[name], rtol=1e-5, atol=1e-5)
    shares = np.exp(np.stack(ours["next_app"], axis=1))
    np.testing.assert_allclose(shares, np.exp(theirs["next_app"]), atol=1e-5)
    np.testing.assert_allclose(shares.sum(axis=2), 1.0, atol=1e-5)
    assert (np.diff(np.stack(ours["resources"], axis=1), axis=-1) >= 0).all()


def test_the_expert_says_what_torch_says_but_for_float16() -> None:
    trainer = LstmTrainer(SMALL, 1)
    random_weights(trainer, 3)
    steps = random_steps(5, 200)
    theirs = np.exp(trainer.outputs(batch_from_sequences([steps]))["next_app"][0])
    expert, recent, worst = LstmExpert(SMALL, trainer.weights()), list[AppId](), 0.0
    for i, one in enumerate(steps):
        if one.app is None:
            expert.signed_in(one.situation)
            continue
        shares = expert.shares(one.situation)
        assert list(shares) == recent
        if recent:
            worst = max(worst, float(np.abs(np.array(list(shares.values())) - theirs[i, : len(recent)]).max()))
        expert.learn(one.app, one.situation)
        recent = [one.app, *(app for app in recent if app != one.app)][:CANDIDATES]
    assert worst < 5e-3


def test_equal_seeds_and_batches_give_equal_weights_and_other_seeds_do_not() -> None:
    batches = list(batches_from_sequences([random_steps(1, 80), random_steps(2, 60)], 32))

    def trained(seed: int) -> dict[str, np.ndarray]:
        trainer = LstmTrainer(SMALL, seed)
        for batch in batches:
            trainer.train_batch(batch)
        return trainer.weights()

    first, again, other = trained(7), trained(7), trained(8)
    assert all((first[name] == again[name]).all() for name in first)
    assert any((first[name] != other[name]).any() for name in first)


@pytest.mark.parametrize("stop_after", [0, 1, 3])
def test_going_on_from_a_checkpoint_is_bit_equal(stop_after: int) -> None:
    batches = list(batches_from_sequences([random_steps(1, 150), random_steps(2, 150)], 32))
    whole = LstmTrainer(SMALL, 7)
    kept = whole.checkpoint()
    for i, batch in enumerate(batches):
        if i == stop_after:
            kept = whole.checkpoint()
        whole.train_batch(batch)
    resumed = LstmTrainer(SMALL, 99)
    resumed.restore(kept)
    reports = [resumed.train_batch(batch) for batch in batches[stop_after:]]
    assert all((value == resumed.weights()[name]).all() for name, value in whole.weights().items())
    assert {name: v.tolist() for name, v in whole.checkpoint().items()} == {
        name: v.tolist() for name, v in resumed.checkpoint().items()
    }
    assert added(reports).steps > 0


def test_a_checkpoint_of_another_model_is_refused() -> None:
    kept = LstmTrainer(SMALL, 1).checkpoint()
    with pytest.raises(ConfigError, match="another model"):
        LstmTrainer(LstmConfig(), 1).restore(kept)
    del kept["generator"]
    with pytest.raises(ConfigError, match="not complete"):
        LstmTrainer(SMALL, 1).restore(kept)


def test_new_rules_are_learnt_for_applications_never_seen() -> None:
    """A rule about places in the list (back to the one before the last) carries over to other applications."""

    def toggling(names: Sequence[str], n: int) -> list[Step]:
        return [Step(AppId(names[i // 7 % 3 + i % 2]), UNKNOWN) for i in range(n)]

    config = replace(SMALL, learning_rate=0.01)
    trainer = LstmTrainer(config, 3)
    train = list(batches_from_sequences([toggling([f"{u}{k}" for k in range(4)], 300) for u in range(8)], 50))
    test = batch_from_sequences([toggling(["w", "x", "y", "z"], 100)])
    before = trainer.evaluate_batch(test)
    for _ in range(8):
        for batch in train:
            trainer.train_batch(batch)
    after = trainer.evaluate_batch(test)
    assert after.steps == before.steps == 100
    assert after.log_loss() < 0.8 * before.log_loss()
    assert after.hits[0] >= before.hits[0]
    assert after.hits[0] <= after.hits[1] <= after.hits[2]


def test_waits_and_use_are_learnt() -> None:
    def steady(offset: float) -> list[Step]:
        return [
            Step(AppId("ab"[i % 2]), Situation(time_s=offset + 600.0 * i, cpu_cores=3.0), sign_in=i % 10 == 0)
            for i in range(100)
        ]

    trainer = LstmTrainer(replace(SMALL, learning_rate=0.02, dropout=0.0), 3)
    batches = list(batches_from_sequences([steady(u * 50.0) for u in range(4)], 50))
    first = added(trainer.train_batch(batch) for batch in batches)
    for _ in range(40):
        last = added(trainer.train_batch(batch) for batch in batches)
    assert last.launch / last.launches < 0.5 * first.launch / first.launches
    assert last.sign_in / last.sign_ins < 0.7 * first.sign_in / first.sign_ins
    assert last.resources / last.amounts < 0.2 * first.resources / first.amounts
    expert = LstmExpert(SMALL, trainer.weights())
    for one in steady(0.0)[:30]:
        expert.learn(one.app or AppId("a"), one.situation)
    assert expert.launch_within(1200.0) > 0.9
    assert expert.launch_within(60.0) < 0.1
    assert expert.launch_within(1200.0, elapsed_s=60.0) >= expert.launch_within(1140.0)
    median_cores = expert.resource_quantiles(Situation(cpu_cores=3.0))[0, 1, 6]
    assert median_cores == pytest.approx(3.0, rel=0.15)


def test_a_batch_without_any_target_changes_nothing() -> None:
    trainer = LstmTrainer(SMALL, 1)
    before = trainer.weights()
    report = trainer.train_batch(batch_from_sequences([[Step(None, UNKNOWN)] * 3]))
    assert report.total(SMALL) == 0.0
    assert all((before[name] == value).all() for name, value in trainer.weights().items())


def test_another_number_of_users_cannot_go_on() -> None:
    trainer = LstmTrainer(SMALL, 1)
    windows = list(batches_from_sequences(cyclic(20), 10))
    trainer.evaluate_batch(batch_from_sequences(cyclic(5, users=2)))
    with pytest.raises(ValueError, match="4 users go on from a state of 2"):
        trainer.evaluate_batch(windows[1])
