"""The LSTM served without torch: its sizes, and (to come) its step and heads in numpy."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LstmConfig:
    """Sizes of the model, and how it is trained.

    Args:
        hidden: units of the cell.
        app_embedding, word_embedding, rank_embedding: lengths of the learned vectors.
        gate: units between the state and the score of a candidate.
        dropout: share of the cell's output left out while training.
        situation_dropout: share of steps whose situation is hidden while training, as inputs are often missing.
        learning_rate, weight_decay, clip_norm: of AdamW (Loshchilov and Hutter, arXiv 1711.05101).
        time_weight, resource_weight: of these heads' losses beside the next application's, which counts 1.
    """

    hidden: int = 64
    app_embedding: int = 16
    word_embedding: int = 4
    rank_embedding: int = 8
    gate: int = 24
    dropout: float = 0.1
    situation_dropout: float = 0.1
    learning_rate: float = 3e-3
    weight_decay: float = 1e-3
    clip_norm: float = 1.0
    time_weight: float = 0.2
    resource_weight: float = 0.5


@dataclass(frozen=True, slots=True)
class LossReport:
    """Losses summed over the steps that had a target; `mean` gives what is compared.

    Args:
        steps: steps whose application was foretold.
        next_app: sum of their log losses in nats.
        hits: how often the application was among the first 1, 3 and 5.
        launches, launch: steps with a known wait for the next application, and the sum of their log losses.
        sign_ins, sign_in: the same for sign-ins.
        amounts, resources: measured amounts, and the sum of their pinball losses (mean over levels, scaled units).
    """

    steps: int = 0
    next_app: float = 0.0
    hits: tuple[int, int, int] = (0, 0, 0)
    launches: int = 0
    launch: float = 0.0
    sign_ins: int = 0
    sign_in: float = 0.0
    amounts: int = 0
    resources: float = 0.0

    def total(self, config: LstmConfig) -> float:
        """The weighted mean loss that training lowers; what was not measured counts nothing."""
        parts = (
            (self.next_app, self.steps, 1.0),
            (self.launch, self.launches, config.time_weight),
            (self.sign_in, self.sign_ins, config.time_weight),
            (self.resources, self.amounts, config.resource_weight),
        )
        return sum(weight * loss / count for loss, count, weight in parts if count)

    def log_loss(self) -> float:
        """Mean log loss of the next application in nats; NaN without steps."""
        return self.next_app / self.steps if self.steps else math.nan


def added(reports: Iterable[LossReport]) -> LossReport:
    """The report over all batches together."""
    total = LossReport()
    for one in reports:
        total = LossReport(
            total.steps + one.steps,
            total.next_app + one.next_app,
            (total.hits[0] + one.hits[0], total.hits[1] + one.hits[1], total.hits[2] + one.hits[2]),
            total.launches + one.launches,
            total.launch + one.launch,
            total.sign_ins + one.sign_ins,
            total.sign_in + one.sign_in,
            total.amounts + one.amounts,
            total.resources + one.resources,
        )
    return total
