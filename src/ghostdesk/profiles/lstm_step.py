"""The LSTM served without torch: its sizes, its step and its heads in numpy, for one user or many side by side.

One step of the cell (Hochreiter and Schmidhuber 1997, with a forget gate) takes in one event; two short vectors a user
are all that is kept of the past, beside the recent applications of `recent_apps`. The next application is scored by
pointing into the person's own list (Vinyals and others, arXiv 1506.03134), so that no vocabulary is learnt. Waiting
times are a discrete hazard (Gensheimer and Narasimhan, arXiv 1805.00917). Quantiles rise as each adds to the one below.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ghostdesk.profiles.features import (
    APP_BUCKETS,
    HORIZONS_S,
    NUMBERS,
    RANKS,
    RESOURCES,
    TIME_BINS,
    TIME_EDGES_S,
    WORD_BUCKETS,
    WORDS,
    FloatArray,
    IntArray,
    scaled_resources,
)
from ghostdesk.profiles.forecast import LEVELS
from ghostdesk.profiles.recent_apps import CANDIDATES, LIST_STATISTICS, STATISTICS

Weights = Mapping[str, FloatArray]
_WORD_OFFSETS = np.arange(len(WORDS)) * (WORD_BUCKETS + 1)


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
    dropout: float = 0.3
    situation_dropout: float = 0.1
    learning_rate: float = 3e-3
    weight_decay: float = 0.3
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


def input_length(config: LstmConfig) -> int:
    """Length of what the cell takes in."""
    words = len(WORDS) * config.word_embedding
    return config.app_embedding + config.rank_embedding + words + NUMBERS + STATISTICS


def question_length(config: LstmConfig) -> int:
    """Length of what the next application is asked with: state, circumstances, list."""
    return config.hidden + len(WORDS) * config.word_embedding + NUMBERS + LIST_STATISTICS


def weight_shapes(config: LstmConfig) -> dict[str, tuple[int, ...]]:
    """Name and shape of every weight, all float32."""
    question = question_length(config)
    return {
        "app_embedding": (APP_BUCKETS + 1, config.app_embedding),
        "rank_embedding": (RANKS, config.rank_embedding),
        "word_embedding": (len(WORDS) * (WORD_BUCKETS + 1), config.word_embedding),
        "cell_input": (4 * config.hidden, input_length(config)),
        "cell_recurrent": (4 * config.hidden, config.hidden),
        "cell_bias": (4 * config.hidden,),
        "rank_score": (CANDIDATES + 1, question),
        "rank_bias": (CANDIDATES + 1,),
        "app_score": (config.app_embedding, question),
        "statistics_score": (STATISTICS, question),
        "statistics_bias": (STATISTICS,),
        "gate_question": (config.gate, question),
        "gate_statistics": (config.gate, STATISTICS),
        "gate_bias": (config.gate,),
        "gate_score": (config.gate,),
        "launch": (TIME_BINS, config.hidden),
        "launch_bias": (TIME_BINS,),
        "sign_in": (TIME_BINS, config.hidden),
        "sign_in_bias": (TIME_BINS,),
        "resources": (len(RESOURCES) * len(HORIZONS_S) * len(LEVELS), config.hidden),
        "resources_bias": (len(RESOURCES) * len(HORIZONS_S) * len(LEVELS),),
        "resources_now": (len(RESOURCES), len(HORIZONS_S)),
    }


@dataclass(frozen=True, slots=True)
class LstmState:
    """The cell's state of some users: `hidden` and `cell`, each (users, units)."""

    hidden: FloatArray
    cell: FloatArray

    @classmethod
    def empty(cls, users: int, config: LstmConfig) -> LstmState:
        """Before the first event."""
        zeros = np.zeros((users, config.hidden), np.float32)
        return cls(zeros, zeros)

    def packed(self) -> npt.NDArray[np.float16]:
        """(users, 2 x units) for keeping: 256 bytes a user at 64 units."""
        return np.concatenate((self.hidden, np.clip(self.cell, -6e4, 6e4)), axis=1).astype(np.float16)

    @classmethod
    def unpacked(cls, packed: npt.NDArray[np.float16]) -> LstmState:
        """The other way; bad shapes raise ValueError."""
        hidden, cell = np.split(packed.astype(np.float32), 2, axis=1)
        return cls(hidden, cell)


@dataclass(frozen=True, slots=True)
class StepInputs:
    """One event of each of some users, as in `SequenceBatch` without the axis of time.

    Args:
        rank, app_bucket: (users,).
        words: (users, len(WORDS)).
        numbers: (users, NUMBERS).
        chosen: (users, STATISTICS) statistics of the event's application before it; 0 for a new one or none.
    """

    rank: IntArray
    app_bucket: IntArray
    words: IntArray
    numbers: FloatArray
    chosen: FloatArray


@dataclass(frozen=True, slots=True)
class Question:
    """What the next application is asked with: circumstances now, and the candidates.

    Args:
        words: (users, len(WORDS)).
        numbers: (users, NUMBERS).
        candidate_bucket: (users, CANDIDATES).
        candidate_statistics: (users, CANDIDATES, STATISTICS).
        list_statistics: (users, LIST_STATISTICS).
    """

    words: IntArray
    numbers: FloatArray
    candidate_bucket: IntArray
    candidate_statistics: FloatArray
    list_statistics: FloatArray


def step(weights: Weights, state: LstmState, inputs: StepInputs) -> LstmState:
    """The state after one more event."""
    taken = np.concatenate(
        (
            weights["app_embedding"][inputs.app_bucket],
            weights["rank_embedding"][inputs.rank],
            _word_vectors(weights, inputs.words),
            inputs.numbers,
            inputs.chosen,
        ),
        axis=1,
    )
    gates = taken @ weights["cell_input"].T + state.hidden @ weights["cell_recurrent"].T + weights["cell_bias"]
    keep_in, keep, new, out = np.split(gates, 4, axis=1)
    cell = _sigmoid(keep) * state.cell + _sigmoid(keep_in) * np.tanh(new)
    return LstmState(_sigmoid(out) * np.tanh(cell), cell)


def next_app_logs(weights: Weights, state: LstmState, question: Question) -> FloatArray:
    """(users, CANDIDATES + 1) log probability of each recent application, and of a new one; -inf where no candidate."""
    asked = np.concatenate(
        (state.hidden, _word_vectors(weights, question.words), question.numbers, question.list_statistics), axis=1
    )
    ranks = asked @ weights["rank_score"].T + weights["rank_bias"]
    vectors = weights["app_embedding"][question.candidate_bucket]
    wanted = asked @ weights["app_score"].T
    linear = asked @ weights["statistics_score"].T + weights["statistics_bias"]
    gate = (asked @ weights["gate_question"].T + weights["gate_bias"])[:, None, :]
    gate = np.maximum(gate + question.candidate_statistics @ weights["gate_statistics"].T, 0.0)
    scores = gate @ weights["gate_score"]
    scores += (vectors @ wanted[:, :, None])[:, :, 0] + (question.candidate_statistics @ linear[:, :, None])[:, :, 0]
    scores += ranks[:, :-1]
    scores = np.where(question.candidate_bucket > 0, scores, -np.inf)
    scores = np.concatenate((scores, ranks[:, -1:]), axis=1)
    scores -= scores.max(axis=1, keepdims=True)
    found: FloatArray = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
    return found


def hazards(weights: Weights, state: LstmState, head: str) -> FloatArray:
    """(users, TIME_BINS) probability of a `launch` or `sign_in` in each bin, given that none was before."""
    return _sigmoid(state.hidden @ weights[head].T + weights[f"{head}_bias"])


def survival(hazard: FloatArray, time_s: float) -> npt.NDArray[np.float64]:
    """(users,) probability that it has not happened `time_s` seconds after the last event; even within a bin.

    Beyond the last edge (7 days) nothing is known: it stays as it is there.
    """
    left = np.concatenate((np.ones((len(hazard), 1)), np.cumprod(1.0 - hazard.astype(np.float64), axis=1)), axis=1)
    edges = np.log1p((0.0, *TIME_EDGES_S))
    at = float(np.clip(np.log1p(max(time_s, 0.0)), 0.0, edges[-1]))
    upper = min(int(np.searchsorted(edges, at, side="left")), TIME_BINS) or 1
    share = (at - edges[upper - 1]) / (edges[upper] - edges[upper - 1])
    found: npt.NDArray[np.float64] = left[:, upper - 1] * (1.0 - share) + left[:, upper] * share
    return found


def happens_within(hazard: FloatArray, lead_s: float, elapsed_s: float = 0.0) -> npt.NDArray[np.float64]:
    """(users,) probability that it happens within `lead_s` from now, when it did not in `elapsed_s` since the event."""
    before = survival(hazard, elapsed_s)
    after = survival(hazard, max(elapsed_s, 0.0) + max(lead_s, 0.0))
    return 1.0 - after / np.maximum(before, 1e-12)


def resource_quantiles(weights: Weights, state: LstmState, numbers: FloatArray) -> FloatArray:
    """(users, len(RESOURCES), len(HORIZONS_S), len(LEVELS)) on `resource_scale`, not falling along the levels.

    Args:
        numbers: (users, NUMBERS) circumstances now.
    """
    raw = state.hidden @ weights["resources"].T + weights["resources_bias"]
    raw = raw.reshape(len(raw), len(RESOURCES), len(HORIZONS_S), len(LEVELS))
    lowest = raw[..., :1] + (scaled_resources(numbers)[:, :, None] * weights["resources_now"])[..., None]
    found: FloatArray = np.cumsum(np.concatenate((lowest, _softplus(raw[..., 1:])), axis=-1), axis=-1)
    return found


def _word_vectors(weights: Weights, words: IntArray) -> FloatArray:
    found: FloatArray = weights["word_embedding"][words + _WORD_OFFSETS].reshape(len(words), -1)
    return found


def _sigmoid(values: FloatArray) -> FloatArray:
    found: FloatArray = np.float32(0.5) * (np.float32(1.0) + np.tanh(np.float32(0.5) * values))
    return found


def _softplus(values: FloatArray) -> FloatArray:
    found: FloatArray = np.maximum(values, np.float32(0.0)) + np.log1p(np.exp(-np.abs(values)))
    return found
