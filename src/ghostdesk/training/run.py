"""One `ghostdesk train`, from history to a model that is live or kept: resumable at every step."""

from __future__ import annotations

import json
import shutil
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from ghostdesk.kernel.errors import ConfigError, Conflict
from ghostdesk.profiles.baselines.slots import WeekSlots
from ghostdesk.profiles.lstm_step import LstmConfig
from ghostdesk.profiles.model_file import Model, ModelHeader
from ghostdesk.profiles.next_app.expert import ExpertFactory
from ghostdesk.training.cluster import Cluster
from ghostdesk.training.drift import reference_shares
from ghostdesk.training.files import private_folder, sole_user, write_whole
from ghostdesk.training.gate import GateReport, compare
from ghostdesk.training.loop import Trainer, TrainingLoop, TrainOptions, TrainProgress, TrainResult
from ghostdesk.training.plan import Room
from ghostdesk.training.registry import ModelRegistry, ModelVersion
from ghostdesk.training.shards import StepShards, has_shards, write_shards
from ghostdesk.training.sources import HistorySource, ReadNotes, check_not_empty
from ghostdesk.training.spool import EventSpool

_REVISION: Final = 1
"""Change it when a run that was interrupted under another version could not go on equally."""
_TELL_EVERY: Final = 20_000
_SLOT_S: Final = 3_600
_FRESH_S: Final = 86_400.0

TrainerFactory = Callable[[LstmConfig, int], Trainer]


@dataclass(frozen=True)
class Watcher:
    """Called as a run goes on: events read, people prepared, training under way, a line of words."""

    reading: Callable[[int], None] = lambda _events: None
    preparing: Callable[[int, int], None] = lambda _people, _of: None
    training: Callable[[TrainProgress], None] = lambda _progress: None
    says: Callable[[str], None] = lambda _words: None


@dataclass(frozen=True)
class TrainRequest:
    """What to train on, and how.

    Args:
        state_folder: ghostdesk's; models go to `models`, work in progress to `training` in it.
        source: the history.
        timezone: the people's.
        config: sizes of the model.
        options: of the loop.
        make_trainer: from sizes and a seed.
        simple: the simple predictors to compare a first model with.
        now_s: the present, UTC seconds.
        resume: whether to go on with a run that was interrupted.
        promote: whether a better model goes live by itself.
        threads: of the arithmetic; part of what must be equal for equal weights.
        cluster: where models are compared; None for this process. The result is the same.
    """

    state_folder: Path
    source: HistorySource
    timezone: str
    config: LstmConfig
    options: TrainOptions
    make_trainer: TrainerFactory
    simple: Mapping[str, ExpertFactory]
    now_s: float
    resume: bool = True
    promote: bool = True
    threads: int = 1
    cluster: Cluster | None = None


@dataclass(frozen=True)
class TrainReport:
    """What a run did; figures in nats are log losses of the next application."""

    model: ModelVersion
    live: bool
    reason: str
    gate: GateReport
    history: str
    events: int
    people: int
    steps: int
    left_out: Mapping[str, int]
    epochs: int
    best_epoch: int
    stopped: str
    training_loss: tuple[float, ...]
    held_out_loss: tuple[float, ...]
    seconds: Mapping[str, float]
    resumed: bool
    reproducible: bool
    first_bad: str = ""
    broken: str = ""
    notes: tuple[str, ...] = field(default=())


def models_folder(state_folder: Path) -> Path:
    """Where the models are."""
    return state_folder / "models"


def discard_work(state_folder: Path) -> None:
    """Delete what an interrupted training keeps of people's history; one that runs throws its model away in the end."""
    shutil.rmtree(_work(state_folder), ignore_errors=True)


def train(request: TrainRequest, watcher: Watcher | None = None) -> TrainReport:
    """Prepare the history, train, compare, keep, and perhaps promote.

    Raises:
        ImportFileError: the history is empty or cannot be read.
        ConfigError: it holds too little, the options do not fit, or the disk refuses.
        Conflict: another training runs, or somebody deleted data while this one went on.
    """
    watcher = watcher or Watcher()
    folder = private_folder(request.state_folder / "training")
    with sole_user(folder / "lock", "is training a model"):
        return _Run(request, watcher, _work(request.state_folder)).to_end()


class _Run:
    def __init__(self, request: TrainRequest, watcher: Watcher, work: Path) -> None:
        self._request, self._watcher, self._work = request, watcher, work
        self._seconds: dict[str, float] = {}

    def to_end(self) -> TrainReport:
        request, began_s = self._request, time.monotonic()
        Room(request.options.memory_bytes)  # refused now, not after an hour of reading
        slots = WeekSlots(request.timezone, _SLOT_S)
        identity = request.source.identity()
        shards = self._shards(slots, f"{_REVISION}:{identity}:{request.timezone}")
        self._seconds["reading"] = time.monotonic() - began_s
        loop = self._loop(shards)
        resumed = request.resume and loop.resume()
        if resumed:
            self._watcher.says("Going on with the training that was interrupted.")
        trained_s = time.monotonic()
        result = loop.run(self._watcher.training)
        self._seconds["training"] = time.monotonic() - trained_s
        if request.source.identity() != identity:
            discard_work(request.state_folder)
            raise Conflict(
                "Somebody deleted data or withdrew a consent while training went on; the model was thrown away.",
                "Train again.",
            )
        return self._decide(shards, loop, result, resumed)

    def _shards(self, slots: WeekSlots, identity: str) -> StepShards:
        """What was prepared before, if it is of the same history; else prepared now."""
        work = self._work
        if self._request.resume and has_shards(work) and _planned(work).get("identity") == identity:
            with suppress(ConfigError):
                return StepShards(work)
        shutil.rmtree(work, ignore_errors=True)
        private_folder(work)
        try:
            shards = self._prepare(slots)
        except BaseException:
            shutil.rmtree(work, ignore_errors=True)  # half a preparation is of no use, and holds people's history
            raise
        write_whole(work / "plan.json", json.dumps({"identity": identity, "now_s": self._request.now_s}).encode())
        return shards

    def _prepare(self, slots: WeekSlots) -> StepShards:
        request, watcher, notes = self._request, self._watcher, ReadNotes()
        spool = EventSpool(self._work / "spool", request.now_s)
        for count, event in enumerate(request.source.events(notes), start=1):
            spool.add(event)
            if count % _TELL_EVERY == 0:
                watcher.reading(count)
        spooled = spool.finish()
        watcher.reading(spooled.events)
        check_not_empty(spooled.events, notes, request.source.name)
        facts: dict[str, Any] = {
            "events": spooled.events, "users": spooled.users, "out_of_range": spooled.not_sane,
            "bad_lines": notes.bad_lines, "first_bad": notes.first_bad, "broken": notes.broken,
        }  # fmt: skip
        shards = write_shards(
            self._work, spool, slots, request.source.facts(), facts,
            lambda people: watcher.preparing(people, spooled.users),
        )  # fmt: skip
        shutil.rmtree(self._work / "spool", ignore_errors=True)
        return shards

    def _loop(self, shards: StepShards) -> TrainingLoop:
        request = self._request
        options = asdict(request.options)
        del options["checkpoint_every_s"], options["budget_s"]
        identity = json.dumps([_REVISION, shards.digest, options, asdict(request.config), request.threads])
        trainer = request.make_trainer(request.config, request.options.seed)
        return TrainingLoop(trainer, request.config, shards, request.options, self._work / "run.npz", identity)

    def _decide(self, shards: StepShards, loop: TrainingLoop, result: TrainResult, resumed: bool) -> TrainReport:
        request = self._request
        compared_s = time.monotonic()
        registry = ModelRegistry(models_folder(request.state_folder))
        champion, notes = _champion(registry)
        self._watcher.says("Comparing it with the present model on held-out history.")
        gate = compare(
            shards, Room(request.options.memory_bytes, request.config.hidden), request.config, result.weights,
            None if champion is None else (champion.header.config, champion.weights), request.simple,
            request.cluster,
        )  # fmt: skip
        self._seconds["comparing"] = time.monotonic() - compared_s
        header = ModelHeader(
            request.config, request.now_s, shards.digest,
            {"held_out_log_loss": result.held_out_loss, "gate_log_loss": gate.challenger,
             "people": float(len(shards.people)), "steps": float(shards.steps_total)},
            None if champion is None else champion.version,
        )  # fmt: skip
        kept = {**asdict(gate), "app_shares": app_shares(shards)}
        version = registry.add(header, result.weights, gate.reason, kept)
        live = gate.promote and request.promote
        if live:
            registry.promote(version, gate.reason, request.now_s)
        discard_work(request.state_folder)
        return self._report(registry.version(version.name), live, gate, shards, loop, result, resumed, notes)

    def _report(
        self, version: ModelVersion, live: bool, gate: GateReport, shards: StepShards, loop: TrainingLoop,
        result: TrainResult, resumed: bool, notes: tuple[str, ...],
    ) -> TrainReport:  # fmt: skip
        request, state, facts = self._request, result.state, shards.facts
        reason = gate.reason if request.promote or not gate.promote else f"{gate.reason}; kept aside by --no-promote"
        return TrainReport(
            version, live, reason, gate, request.source.name, facts["events"], len(shards.people), shards.steps_total,
            {"bad lines": facts["bad_lines"], "times out of range": facts["out_of_range"],
             "people with too little": facts["users"] - len(shards.people),
             "older steps that do not fit": loop.left_out_steps},
            state.epoch, state.best_epoch + 1, state.stopped, state.train_loss, state.held_out,
            {name: round(spent_s, 2) for name, spent_s in self._seconds.items()}, resumed,
            request.options.budget_s is None or "budget" not in state.stopped, facts["first_bad"], facts["broken"],
            notes,
        )  # fmt: skip


def app_shares(shards: StepShards) -> dict[str, float]:
    """Shares of the applications that several people use over the whole history, for watching drift."""
    count: Counter[str] = Counter()
    people: Counter[str] = Counter()
    for person in range(len(shards.people)):
        own = shards.app_counts(person)
        count.update(own)
        people.update(own.keys())
        shards.release()
    return reference_shares({app: (count[app], people[app]) for app in count})


def _champion(registry: ModelRegistry) -> tuple[Model | None, tuple[str, ...]]:
    try:
        return registry.current(), ()
    except ConfigError as error:
        return None, (f"The present model could not be compared with: {error.cause}",)


def _work(state_folder: Path) -> Path:
    return state_folder / "training" / "work"


def _planned(work: Path) -> dict[str, Any]:
    try:
        found = json.loads((work / "plan.json").read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def until_s(state_folder: Path, now_s: float, *, resume: bool) -> float:
    """Up to which moment the store is trained on: now, or where a training of the last day was interrupted."""
    planned = _planned(_work(state_folder))
    begun_s, identity = planned.get("now_s"), str(planned.get("identity", ""))
    fresh = isinstance(begun_s, float) and now_s - _FRESH_S <= begun_s <= now_s
    return float(begun_s or now_s) if resume and fresh and identity.startswith(f"{_REVISION}:store:") else now_s
