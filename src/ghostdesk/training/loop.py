"""The training itself: epochs over groups of people, early stopping, and checkpoints that make a kill harmless.

Everything that decides the result is in `LoopState` and in the trainer's own checkpoint, so a run that was killed and
goes on gives the same bytes as one that was not. Truncated back-propagation through time over windows (Williams and
Peng 1990), the learning rate falling in a straight line, early stopping on held-out loss (Prechelt 1998).
"""

from __future__ import annotations

import io
import json
import math
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from ghostdesk.kernel.errors import ConfigError
from ghostdesk.profiles.features import FloatArray, SequenceBatch, Step
from ghostdesk.profiles.lstm_step import LossReport, LstmConfig, added
from ghostdesk.profiles.sequences import batches_from_sequences
from ghostdesk.training.files import write_whole
from ghostdesk.training.plan import CONTEXT, WINDOW, Group, Room, Split, epochs_for, groups, order_of_groups
from ghostdesk.training.shards import StepShards

Arrays = dict[str, npt.NDArray[Any]]
_LAST_RATE: Final = 0.1
"""The learning rate falls to this share of the first one."""
_BETTER_BY: Final = 1e-4
"""An epoch that lowers the held-out loss by less has not made the model better."""


class Trainer(Protocol):
    """What the loop needs of a model in training; `profiles.lstm.LstmTrainer` is the one there is."""

    def set_learning_rate(self, learning_rate: float) -> None:
        """For the steps that follow."""
        ...

    def train_batch(self, batch: SequenceBatch) -> LossReport:
        """Learn from a window."""
        ...

    def evaluate_batch(self, batch: SequenceBatch) -> LossReport:
        """Losses without learning."""
        ...

    def weights(self) -> dict[str, FloatArray]:
        """Copied."""
        ...

    def checkpoint(self) -> Arrays:
        """All that it needs to go on bit-equally."""
        ...

    def restore(self, checkpoint: Mapping[str, npt.NDArray[Any]]) -> None:
        """Go on from a checkpoint; raises `ConfigError` for another model's."""
        ...


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """How to train.

    Args:
        epochs: passes over the history at most; None takes from 2 for a long to 12 for a short one.
        patience: epochs without a better held-out loss after which training ends.
        seed: of the first weights, of dropout and of the order; equal seeds give equal weights.
        memory_bytes: that the process may take.
        budget_s: time after which training ends early, None for none; the result then depends on the machine's speed.
        checkpoint_every_s: seconds between checkpoints.
    """

    epochs: int | None = None
    patience: int = 1
    seed: int = 0
    memory_bytes: int = 1024 * 2**20
    budget_s: float | None = None
    checkpoint_every_s: float = 60.0


@dataclass(frozen=True, slots=True)
class LoopState:
    """Where a run is. `group` counts within the epoch's order, `window` within the group; `seconds` over all runs."""

    epoch: int = 0
    group: int = 0
    window: int = 0
    steps: int = 0
    seconds: float = 0.0
    train_loss: tuple[float, ...] = ()
    held_out: tuple[float, ...] = ()
    best_epoch: int = -1
    report: LossReport = field(default_factory=LossReport)
    stopped: str = ""


@dataclass(frozen=True, slots=True)
class TrainProgress:
    """For whoever watches: steps are turns to an application, losses nats of the next application."""

    epoch: int
    epochs: int
    steps: int
    steps_total: int
    loss: float
    held_out: tuple[float, ...]
    steps_per_s: float


@dataclass(frozen=True)
class TrainResult:
    """The best epoch's weights, and how training went."""

    weights: dict[str, FloatArray]
    state: LoopState

    @property
    def held_out_loss(self) -> float:
        """Of the weights, in nats."""
        return self.state.held_out[self.state.best_epoch]


class TrainingLoop:
    """One training run over prepared shards.

    Args:
        trainer: a new one; a checkpoint is restored into it.
        config: of the model.
        shards: everyone's steps.
        options: how.
        checkpoint: where to keep the run's checkpoint; it is read when it is there and has the same `identity`.
        identity: what must be equal for a run to go on: data, options, sizes.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        trainer: Trainer,
        config: LstmConfig,
        shards: StepShards,
        options: TrainOptions,
        checkpoint: Path,
        identity: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._trainer, self._config, self._shards, self._options = trainer, config, shards, options
        self._path, self._identity, self._clock = checkpoint, identity, clock
        self._splits = [Split.of(person.length) for person in shards.people]
        self._room = Room(options.memory_bytes, config.hidden)
        most = self._room.most_steps()
        self._first = [max(split.train - most, 0) for split in self._splits]
        self._lengths = [split.train - first for split, first in zip(self._splits, self._first, strict=True)]
        self._groups = groups(self._lengths, self._room, options.seed)
        self._epochs = options.epochs or epochs_for(sum(self._lengths))
        self._best: dict[str, FloatArray] = {}
        self._state = LoopState()
        self._kept_s = self._began_s = clock()
        self.resumed = False
        self.left_out_steps = sum(self._first)
        """Older steps that do not fit into the memory."""

    @property
    def steps_an_epoch(self) -> int:
        """How many steps are learnt from in an epoch."""
        return sum(self._lengths)

    def resume(self) -> bool:
        """Go on from the checkpoint, if there is one of this very run."""
        kept = _read_checkpoint(self._path, self._identity)
        if kept is None:
            return False
        self._state, self._best, arrays = kept
        self._trainer.restore(arrays)
        self.resumed = True
        return True

    def run(self, watch: Callable[[TrainProgress], None] = lambda _progress: None) -> TrainResult:
        """Train to the end.

        Raises:
            ConfigError: the loss is no number, or the disk refuses a checkpoint.
        """
        self._began_s = self._kept_s = self._clock()
        earlier_s, steps_before = self._state.seconds, self._state.steps
        total = self.steps_an_epoch * self._epochs

        def show() -> None:
            spent_s = self._clock() - self._began_s
            self._state = replace(self._state, seconds=earlier_s + spent_s)
            state = self._state
            speed = (state.steps - steps_before) / spent_s if spent_s > 0 else 0.0
            watch(
                TrainProgress(
                    min(state.epoch + 1, self._epochs), self._epochs, state.steps, total,
                    state.report.log_loss(), state.held_out, speed,
                )
            )  # fmt: skip

        while not self._state.stopped:
            self._epoch(show)
            self._end_of_epoch()
            self._keep()
            show()
        return TrainResult(self._best, self._state)

    def _epoch(self, show: Callable[[], None]) -> None:
        order = order_of_groups(len(self._groups), self._state.epoch, self._options.seed)
        while self._state.group < len(order) and not self._out_of_time():
            self._group(self._groups[order[self._state.group]], show)

    def _group(self, group: Group, show: Callable[[], None]) -> None:
        skip = self._state.window
        for window, batch in enumerate(batches_from_sequences(self._train_steps(group), WINDOW)):
            if window < skip:
                continue  # learnt from before the run was interrupted
            self._trainer.set_learning_rate(self._learning_rate())
            report = self._trainer.train_batch(batch)
            if not math.isfinite(report.total(self._config)):
                raise ConfigError(
                    "Training failed: the loss is no number any more.", "Train again with another --seed."
                )
            state = self._state
            self._state = replace(
                state, window=window + 1, steps=state.steps + int(batch.present.sum()),
                report=added((state.report, report)),
            )  # fmt: skip
            show()
            if self._clock() - self._kept_s >= self._options.checkpoint_every_s:
                self._keep()
            if self._out_of_time():
                return
        self._shards.release()
        self._state = replace(self._state, group=self._state.group + 1, window=0)

    def _end_of_epoch(self) -> None:
        loss = self.held_out_loss()
        state = self._state
        epoch = state.epoch
        before = min(state.held_out, default=math.inf)
        best = state.best_epoch
        if not math.isfinite(loss):
            raise ConfigError("Training failed: the held-out loss is no number.", "Train again with another --seed.")
        if loss < before - _BETTER_BY or not self._best:
            best, self._best = epoch, self._trainer.weights()
        stopped = ""
        if self._out_of_time():
            stopped = "the time budget was spent"
        elif epoch - best >= self._options.patience:
            stopped = "the held-out loss fell no more"
        elif epoch + 1 >= self._epochs:
            stopped = "all epochs were done"
        self._state = replace(
            state, epoch=epoch + 1, group=0, window=0, train_loss=(*state.train_loss, state.report.log_loss()),
            held_out=(*state.held_out, loss), best_epoch=best, report=LossReport(), stopped=stopped,
        )  # fmt: skip

    def held_out_loss(self) -> float:
        """Mean log loss of the next application over the validation steps of everyone, in nats."""
        spans = [(max(s.train - CONTEXT, 0), s.train, s.validation) for s in self._splits]
        reports = [self._trainer.evaluate_batch(batch) for batch in held_out_batches(self._shards, spans, self._room)]
        return added(reports).log_loss()

    def _train_steps(self, group: Group) -> list[list[Step]]:
        return [self._shards.steps(one, self._first[one], self._splits[one].train) for one in group.people]

    def _learning_rate(self) -> float:
        share = min(self._state.steps / max(self.steps_an_epoch * self._epochs, 1), 1.0)
        return self._config.learning_rate * (1.0 - (1.0 - _LAST_RATE) * share)

    def _out_of_time(self) -> bool:
        budget_s = self._options.budget_s
        return budget_s is not None and self._state.seconds >= budget_s

    def _keep(self) -> None:
        told = json.dumps({"identity": self._identity, "state": asdict(self._state)}).encode()
        arrays = {f"trainer/{name}": value for name, value in self._trainer.checkpoint().items()}
        arrays |= {f"best/{name}": value for name, value in self._best.items()}
        packed = io.BytesIO()
        np.savez(packed, allow_pickle=False, told=np.frombuffer(told, np.uint8), **arrays)
        write_whole(self._path, packed.getvalue())
        self._kept_s = self._clock()


def held_out_batches(shards: StepShards, spans: list[tuple[int, int, int]], room: Room) -> Iterator[SequenceBatch]:
    """Windows of everyone's held-out steps with their context, of which only the held-out ones are scored.

    Args:
        shards: everyone's steps.
        spans: first step of the context, first step that is scored, and end, of each person.
        room: the memory there is.
    """
    for group in groups([end - first for first, _, end in spans], room, 0):
        sequences = [
            shards.steps(one, spans[one][0], spans[one][2], spans[one][1] - spans[one][0]) for one in group.people
        ]
        yield from batches_from_sequences(sequences, WINDOW)
        shards.release()


def _read_checkpoint(path: Path, identity: str) -> tuple[LoopState, dict[str, FloatArray], Arrays] | None:
    """None when there is none, or it is of another run, or cannot be read: training then begins anew."""
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as kept:
            arrays = {name: kept[name] for name in kept.files}
        told = json.loads(arrays["told"].tobytes())
        if told["identity"] != identity:
            return None
        found: dict[str, Any] = told["state"]
        report = found.pop("report")
        report["hits"] = tuple(report["hits"])
        found |= {name: tuple(found[name]) for name in ("train_loss", "held_out")}
        state = LoopState(**found, report=LossReport(**report))
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
        return None
    best = {name.removeprefix("best/"): value for name, value in arrays.items() if name.startswith("best/")}
    trainer = {n.removeprefix("trainer/"): v for n, v in arrays.items() if n.startswith("trainer/")}
    return state, best, trainer
