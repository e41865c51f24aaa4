"""Log losses on held-out history, of models stepped as the service steps them, and of the simple experts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from ghostdesk.kernel.ids import AppId
from ghostdesk.profiles.features import FloatArray, SequenceBatch, Step
from ghostdesk.profiles.lstm_step import LstmConfig, LstmState, Question, StepInputs, Weights, next_app_logs, step
from ghostdesk.profiles.next_app.expert import ExpertFactory
from ghostdesk.profiles.recent_apps import CANDIDATES

MOST_LOSS: Final = 13.8
"""Nats that one surprise can cost: a probability below one in a million counts as that."""
_Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Losses:
    """Sums of log losses in nats, and numbers of steps, by person: both of shape (people,)."""

    sums: _Floats
    steps: _Floats

    def mean(self) -> float:
        """Over all steps; NaN without any."""
        total = float(self.steps.sum())
        return float(self.sums.sum()) / total if total else math.nan


class ModelRun:
    """One model going through the windows of some people, side by side."""

    def __init__(self, weights: Weights, state: LstmState) -> None:
        self._weights, self._state = weights, state

    @classmethod
    def begin(cls, config: LstmConfig, weights: Weights, users: int) -> ModelRun:
        """Before the first window."""
        return cls(weights, LstmState.empty(users, config))

    def take(self, batch: SequenceBatch) -> _Floats:
        """The next window: (users, steps) log losses in nats, NaN where nothing is scored."""
        everyone = np.arange(batch.users)
        costs = np.full((batch.users, batch.steps), np.nan)
        for t in range(batch.steps):
            rank = batch.rank[:, t]
            statistics = batch.candidate_statistics[:, t]
            scored = batch.scored[:, t] > 0
            if scored.any():
                question = Question(
                    batch.words[:, t], batch.numbers[:, t], batch.candidate_bucket[:, t], statistics,
                    batch.list_statistics[:, t],
                )  # fmt: skip
                logs = next_app_logs(self._weights, self._state, question)
                loss = np.minimum(-logs[everyone, np.minimum(rank, CANDIDATES)], MOST_LOSS)
                costs[scored, t] = loss[scored]
            place = statistics[everyone, np.minimum(rank, CANDIDATES - 1)]
            chosen: FloatArray = np.where((rank < CANDIDATES)[:, None], place, np.float32(0.0)).astype(np.float32)
            inputs = StepInputs(rank, batch.app_bucket[:, t], batch.words[:, t], batch.numbers[:, t], chosen)
            self._state = step(self._weights, self._state, inputs)
        return costs


def expert_losses(factory: ExpertFactory, sequences: Sequence[Sequence[Step]]) -> Losses:
    """Losses of one person's experts, one sequence a person.

    As the model, an expert is asked for the last 32 applications and "another": what it gives to older ones counts
    for "another".
    """
    sums, counts = np.zeros(len(sequences)), np.zeros(len(sequences))
    for person, steps in enumerate(sequences):
        expert = factory()
        recent: list[AppId] = []
        for one in steps:
            if one.app is None:
                continue
            if one.scored:
                shares = expert.shares(one.situation)
                listed = sum(shares.get(app, 0.0) for app in recent)
                share = shares.get(one.app, 0.0) if one.app in recent else 1.0 - listed
                sums[person] += min(-math.log(max(share, 1e-12)), MOST_LOSS)
                counts[person] += 1
            expert.learn(one.app, one.situation)
            recent = [one.app, *(app for app in recent if app != one.app)][:CANDIDATES]
    return Losses(sums, counts)
