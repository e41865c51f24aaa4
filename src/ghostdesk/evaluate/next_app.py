"""Scores every method for the next application on one history, person by person, in order, with online update.

Methods that borrow from other people are fitted on the training steps of others alone: people are dealt into folds,
and each fold is scored by what was learnt from the other folds (K-fold cross-validation over people).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, field

from ghostdesk.evaluate.next_app_methods import PooledMethod
from ghostdesk.evaluate.next_app_scores import COLD_STEPS, Calibration, SequenceScores, Sums, score_sequence
from ghostdesk.evaluate.predictability import Predictability, predictability
from ghostdesk.evaluate.processes import usable_cores, worker_processes
from ghostdesk.evaluate.sequences import AppSequence, situations
from ghostdesk.kernel.ids import UserId
from ghostdesk.profiles.next_app.expert import ExpertFactory

FOLDS = 4
_CHUNKS = 32
Progress = Callable[[int, int], None]
"""Called with the steps done and all steps."""


@dataclass(slots=True)
class Scored:
    """What one method scored.

    Args:
        users: sums over each person's steps to be foretold.
        cold: sums over each person's first steps, one for each of `COLD_STEPS`.
        calibration: of the steps to be foretold.
    """

    users: dict[UserId, Sums] = field(default_factory=lambda: defaultdict(Sums))
    cold: dict[UserId, list[Sums]] = field(default_factory=dict)
    calibration: Calibration = field(default_factory=Calibration)

    def add(self, user: UserId, scores: SequenceScores) -> None:
        """Count one sequence."""
        self.users[user].merge(scores.test)
        for whole, part in zip(self._cold(user), scores.cold, strict=True):
            whole.merge(part)

    def merge(self, other: Scored) -> None:
        """Take in what was scored elsewhere."""
        for user, sums in other.users.items():
            self.users[user].merge(sums)
        for user, parts in other.cold.items():
            for whole, part in zip(self._cold(user), parts, strict=True):
                whole.merge(part)
        self.calibration.merge(other.calibration)

    def _cold(self, user: UserId) -> list[Sums]:
        return self.cold.setdefault(user, [Sums() for _ in COLD_STEPS])


@dataclass(slots=True)
class Outcome:
    """All that was scored. `alone` holds the pooled methods without what others lend, from a cold start only."""

    methods: dict[str, Scored] = field(default_factory=dict)
    alone: dict[str, Scored] = field(default_factory=dict)
    limits: dict[UserId, list[Predictability]] = field(default_factory=dict)

    def merge(self, other: Outcome) -> None:
        """Take in what was scored elsewhere."""
        for mine, theirs in ((self.methods, other.methods), (self.alone, other.alone)):
            for name, scored in theirs.items():
                mine.setdefault(name, Scored()).merge(scored)
        self.limits.update(other.limits)


def evaluate_next_app(
    sequences: Sequence[AppSequence],
    methods: Mapping[str, ExpertFactory],
    pooled: Mapping[str, PooledMethod],
    *,
    new_users: bool = False,
    jobs: int | None = None,
    progress: Progress = lambda _done, _all: None,
) -> Outcome:
    """Score methods on sequences.

    Args:
        sequences: of all people; see `read_app_history`.
        methods: factories of experts that know one person; picklable unless `jobs` is 1.
        pooled: methods that also learn from others; picklable unless `jobs` is 1.
        new_users: also score everybody's first 20, 100 and 500 steps from a cold start.
        jobs: processes; the number of cores when None, and none but this one when 1.
        progress: told of steps done.
    """
    by_user: dict[UserId, list[AppSequence]] = defaultdict(list)
    for sequence in sequences:
        by_user[sequence.user].append(sequence)
    workers = max(1, jobs if jobs is not None else usable_cores())
    tasks = [*_fold_tasks(by_user, pooled, new_users), *_own_tasks(by_user, methods, new_users)]
    whole, done = sum(task.work() for task in tasks), 0
    outcome = Outcome({name: Scored() for name in (*methods, *pooled)})
    progress(0, whole)
    waiting: dict[int, Outcome] = {}
    merged = 0
    for place, part in _run(tasks, workers):
        waiting[place] = part
        while merged in waiting:  # in order, so that sums of floats are the same whatever the processes do
            outcome.merge(waiting.pop(merged))
            merged += 1
        done += tasks[place].work()
        progress(done, whole)
    return outcome


@dataclass(frozen=True, slots=True)
class _OwnTask:
    """Some people, by every method that knows one person."""

    sequences: tuple[AppSequence, ...]
    methods: Mapping[str, ExpertFactory]
    new_users: bool

    def work(self) -> int:
        return len(self.methods) * sum(len(one.apps) for one in self.sequences)

    def __call__(self) -> Outcome:
        found = Outcome({name: Scored() for name in self.methods})
        for sequence in self.sequences:
            around = list(situations(sequence))
            for name, make in self.methods.items():
                scored = found.methods[name]
                with _named(name):
                    scored.add(
                        sequence.user,
                        score_sequence(make(), sequence, around, scored.calibration, cold_start=self.new_users),
                    )
            if len(sequence.apps) > 1 and sequence.test_from < len(sequence.apps):
                found.limits.setdefault(sequence.user, []).append(predictability(sequence.apps))
        return _flushed(found)


@dataclass(frozen=True, slots=True)
class _FoldTask:
    """The people of one fold, by one method that was fitted on the others."""

    name: str
    method: PooledMethod
    sequences: tuple[AppSequence, ...]
    others: tuple[AppSequence, ...]
    new_users: bool

    def work(self) -> int:
        return sum(len(one.apps) for one in self.sequences) + sum(len(one.apps) for one in self.others)

    def __call__(self) -> Outcome:
        found = Outcome({self.name: Scored()})
        with _named(self.name):
            make = self.method.fit(self.others)
            self._stream(make, found.methods[self.name], alone=False)
            if self.new_users:
                found.alone[self.name] = Scored()
                self._stream(self.method.alone(), found.alone[self.name], alone=True)
        return _flushed(found)

    def _stream(self, make: ExpertFactory, scored: Scored, *, alone: bool) -> None:
        for sequence in self.sequences:
            around = list(situations(sequence))
            scores = score_sequence(
                make(), sequence, around, scored.calibration, cold_start=self.new_users, test=not alone
            )
            scored.add(sequence.user, scores)


_Task = _OwnTask | _FoldTask


def _fold_tasks(
    by_user: Mapping[UserId, Sequence[AppSequence]], pooled: Mapping[str, PooledMethod], new_users: bool
) -> Iterator[_Task]:
    users = sorted(by_user)
    folds = min(FOLDS, len(users))
    for name, method in pooled.items():
        for fold in range(folds):
            ours = tuple(one for user in users[fold::folds] for one in by_user[user])
            seen = set(users[fold::folds])
            others = tuple(one.training() for user in users if user not in seen for one in by_user[user])
            yield _FoldTask(name, method, ours, others, new_users)


def _own_tasks(
    by_user: Mapping[UserId, Sequence[AppSequence]], methods: Mapping[str, ExpertFactory], new_users: bool
) -> Iterator[_Task]:
    if not methods:
        return
    users = sorted(by_user, key=lambda user: -sum(len(one.apps) for one in by_user[user]))
    chunks = min(len(users), _CHUNKS)
    for chunk in range(chunks):
        yield _OwnTask(tuple(one for user in users[chunk::chunks] for one in by_user[user]), methods, new_users)


def _run(tasks: Sequence[_Task], workers: int) -> Iterator[tuple[int, Outcome]]:
    """What each task found, with its place, as they end."""
    if workers == 1 or len(tasks) < 2:
        for place, task in enumerate(tasks):
            yield place, task()
        return
    with worker_processes(min(workers, len(tasks)), "scoring", "Score with --jobs 1.") as executor:
        futures: dict[Future[Outcome], int] = {executor.submit(_call, task): i for i, task in enumerate(tasks)}
        for future in as_completed(futures):
            yield futures.pop(future), future.result()


def _call(task: _Task) -> Outcome:
    return task()


def _flushed(outcome: Outcome) -> Outcome:
    for scored in (*outcome.methods.values(), *outcome.alone.values()):
        scored.calibration.flush()
    return outcome


@contextmanager
def _named(method: str) -> Iterator[None]:
    """Say which method broke the rules of shares."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"method {method}: {error}") from error
