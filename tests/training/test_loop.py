"""The loop: deterministic, resumable bit by bit, and stopped when the held-out loss rises."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from training_fakes import SMALL, MakeRequest, RankTrainer

from ghostdesk.kernel.errors import ConfigError
from ghostdesk.profiles.baselines.slots import WeekSlots
from ghostdesk.profiles.features import SequenceBatch
from ghostdesk.profiles.lstm import LstmTrainer
from ghostdesk.profiles.lstm_step import LossReport
from ghostdesk.training.loop import Trainer, TrainingLoop, TrainOptions, TrainProgress
from ghostdesk.training.plan import LEAST_MEMORY_BYTES
from ghostdesk.training.shards import StepShards, write_shards
from ghostdesk.training.sources import ReadNotes
from ghostdesk.training.spool import EventSpool

OPTIONS = TrainOptions(epochs=2, memory_bytes=LEAST_MEMORY_BYTES, checkpoint_every_s=0.0)


class Stopped(Exception):
    """What a kill looks like from inside."""


@pytest.fixture
def shards(make_request: MakeRequest, tmp_path: Path) -> StepShards:
    spool = EventSpool(tmp_path / "spool", 1.8e9)
    source = make_request().source
    for event in source.events(ReadNotes()):
        spool.add(event)
    spool.finish()
    return write_shards(tmp_path, spool, WeekSlots("UTC", 3600), source.facts(), {})


def _loop(
    shards: StepShards, path: Path, make: Callable[[], Trainer], options: TrainOptions = OPTIONS, identity: str = "a"
) -> TrainingLoop:
    return TrainingLoop(make(), SMALL, shards, options, path / "run.npz", identity)


def _stop_after(windows: int) -> Callable[[TrainProgress], None]:
    seen = 0

    def watch(_progress: TrainProgress) -> None:
        nonlocal seen
        seen += 1
        if seen > windows:
            raise Stopped

    return watch


def _same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one.keys() == other.keys() and all(one[name].tobytes() == other[name].tobytes() for name in one)


@pytest.mark.parametrize("make", [lambda: RankTrainer(SMALL, 5), lambda: LstmTrainer(SMALL, 5)], ids=["ranks", "lstm"])
@pytest.mark.parametrize("windows", [1, 6])
def test_a_run_that_was_interrupted_ends_with_the_same_bytes(
    shards: StepShards, tmp_path: Path, make: Callable[[], Trainer], windows: int
) -> None:
    whole = _loop(shards, tmp_path, make).run()
    (tmp_path / "run.npz").unlink()
    with pytest.raises(Stopped):
        _loop(shards, tmp_path, make).run(_stop_after(windows))
    again = _loop(shards, tmp_path, make)
    assert again.resume()
    result = again.run()
    assert _same(result.weights, whole.weights)
    assert result.state.held_out == whole.state.held_out
    assert result.state.train_loss == whole.state.train_loss


def test_equal_seeds_give_equal_weights_and_other_seeds_others(shards: StepShards, tmp_path: Path) -> None:
    found = []
    for place, seed in enumerate((1, 1, 2)):
        folder = tmp_path / str(place)
        folder.mkdir()
        found.append(_loop(shards, folder, lambda seed=seed: LstmTrainer(SMALL, seed)).run().weights)  # type: ignore[misc]
    assert _same(found[0], found[1])
    assert not _same(found[0], found[2])


def test_training_lowers_the_held_out_loss(shards: StepShards, tmp_path: Path) -> None:
    loop = _loop(shards, tmp_path, lambda: RankTrainer(SMALL, 0), replace(OPTIONS, epochs=4))
    before = loop.held_out_loss()
    assert loop.run().held_out_loss < before - 0.2


def test_training_ends_when_the_held_out_loss_rises_and_keeps_the_best(shards: StepShards, tmp_path: Path) -> None:
    windows = 0

    def count(_progress: TrainProgress) -> None:
        nonlocal windows
        windows += 1

    _loop(shards, tmp_path, lambda: RankTrainer(SMALL, 0), replace(OPTIONS, epochs=1)).run(count)
    (tmp_path / "run.npz").unlink()
    options = replace(OPTIONS, epochs=9)
    result = _loop(shards, tmp_path, lambda: RankTrainer(SMALL, 0, worse_after=windows - 1), options).run()
    assert result.state.stopped == "the held-out loss fell no more"
    assert (result.state.best_epoch, result.state.epoch) == (0, 2)
    assert result.held_out_loss == min(result.state.held_out)


def test_a_checkpoint_of_another_run_or_a_damaged_one_is_not_gone_on_with(shards: StepShards, tmp_path: Path) -> None:
    def make() -> RankTrainer:
        return RankTrainer(SMALL, 0)

    with pytest.raises(Stopped):
        _loop(shards, tmp_path, make).run(_stop_after(3))
    assert not _loop(shards, tmp_path, make, identity="other data").resume()
    data = (tmp_path / "run.npz").read_bytes()
    for damaged in (b"", data[: len(data) // 2], b"not a checkpoint" * 9, data.replace(b"held_out", b"held_0ut")):
        (tmp_path / "run.npz").write_bytes(damaged)
        assert not _loop(shards, tmp_path, make).resume()


def test_a_loss_that_is_no_number_ends_training_with_a_mend(shards: StepShards, tmp_path: Path) -> None:
    class Broken(RankTrainer):
        def train_batch(self, batch: SequenceBatch) -> LossReport:
            return replace(super().train_batch(batch), next_app=float("nan"))

    with pytest.raises(ConfigError, match="no number") as caught:
        _loop(shards, tmp_path, lambda: Broken(SMALL, 0)).run()
    assert "--seed" in caught.value.mend


def test_a_spent_budget_ends_training_with_weights(shards: StepShards, tmp_path: Path) -> None:
    now_s = 0.0

    def clock() -> float:
        nonlocal now_s
        now_s += 1.0
        return now_s

    options = replace(OPTIONS, epochs=50, patience=50, budget_s=20.0)
    loop = TrainingLoop(RankTrainer(SMALL, 0), SMALL, shards, options, tmp_path / "run.npz", "a", clock)
    result = loop.run()
    assert result.state.stopped == "the time budget was spent"
    assert result.state.steps < loop.steps_an_epoch * 50
    assert np.isfinite(result.held_out_loss)


def test_shards_that_are_cut_short_are_refused(shards: StepShards, tmp_path: Path) -> None:
    data = (tmp_path / "steps.bin").read_bytes()
    (tmp_path / "steps.bin").write_bytes(data[: len(data) // 2])
    with pytest.raises(ConfigError, match="no-resume"):
        StepShards(tmp_path)
    (tmp_path / "steps.json").write_text("{")
    with pytest.raises(ConfigError, match="cannot be read"):
        StepShards(tmp_path)
