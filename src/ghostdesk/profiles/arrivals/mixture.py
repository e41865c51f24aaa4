"""The mixture of arrival experts: learns online whom to believe, for everyone and for each row, and stays calibrated.

Three steps, each learnt while forecasting:

1. Everyone: logistic mixing of the experts' log-odds (`OnlineLogistic`), which sharpens what several experts agree
   on.
2. Each row: a Bayesian mixture of that stack and of every expert by itself, with fixed share (Herbster and Warmuth
   1998): weights follow the row's own losses, and a small share is dealt out anew by everyone's weights in every
   learnt block. So the loss of a row is never more than that of its best expert by ln(1 / first weight) + blocks *
   ln(1 / (1 - share)).
3. Everyone: Platt's scaling of the result, with a slope that cannot be negative: it keeps the order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ghostdesk.profiles.arrivals.online_logistic import OnlineLogistic
from ghostdesk.profiles.arrivals.seam import LEAST_HAZARD, MOST_HAZARD, Floats, Floats32, Ints, enlarged

SHARE = 1e-3
STACK_WEIGHT = 0.6
_LEAST_WEIGHT = 0.01
_POOL_SHARE = 0.02
_STACK_PRECISION = 2.0
_STACK_HALF_LIFE = 30_000.0
_SCALE_PRECISION = 20.0
_SCALE_HALF_LIFE = 5_000.0
_SLOPES = (0.5, 2.0)
_CHUNK = 4_096
"""Rows mixed at a time, so that the working memory stays in the processor's cache."""

_Any = npt.NDArray[Any]


class ArrivalMixture:
    """Mixes hazards of experts for many rows at once; 4 bytes a row and candidate.

    Args:
        experts: the names of the experts, in the order of every array of hazards.
    """

    def __init__(self, experts: Sequence[str]) -> None:
        if not experts:
            raise ValueError("a mixture needs at least one expert")
        n = len(experts)
        self.candidates = ("stack", *experts)
        """Names of what each row's weights are of."""
        self._stack = OnlineLogistic(np.array([1.0, *([0.0] * n)]), _STACK_PRECISION, _STACK_HALF_LIFE)
        self._scale = OnlineLogistic(np.array([1.0, 0.0]), _SCALE_PRECISION, _SCALE_HALF_LIFE)
        self._prior: Floats = np.array([STACK_WEIGHT, *([(1.0 - STACK_WEIGHT) / n] * n)])
        self._weights: Floats32 = np.zeros((0, n + 1), dtype=np.float32)

    @property
    def row_bytes(self) -> int:
        """Memory that a row takes."""
        return 4 * len(self.candidates)

    def grow(self, rows: int) -> None:
        """Make room for so many rows; a row without weights of its own (all zero) has everyone's."""
        self._weights = enlarged(self._weights, rows)

    def forget(self, row: int) -> None:
        """The row's weights are everyone's again."""
        self._weights[row] = 0.0

    def move(self, source: int, target: int) -> None:
        """Row `source` takes the place of row `target`, and has everyone's weights then."""
        self._weights[target] = self._weights[source]
        self._weights[source] = 0.0

    def nbytes(self) -> int:
        """Bytes that the rows take, spare ones too."""
        return self._weights.nbytes

    def weights(self, row: int) -> dict[str, float]:
        """How much each candidate counts for a row; sums to 1."""
        return dict(zip(self.candidates, self._weights_of(np.array([row]))[0].tolist(), strict=True))

    def weights_of_everyone(self) -> dict[str, float]:
        """How much each candidate counts for a row of which nothing is known; sums to 1."""
        return dict(zip(self.candidates, self._prior.tolist(), strict=True))

    def mix(self, rows: Ints, hazards: _Any, *, calibrated: bool = True) -> _Any:
        """The mixed hazards, shape (rows, slots), in the type of `hazards`.

        Args:
            rows: row numbers, shape (rows,).
            hazards: of every expert, shape (experts, rows, slots).
            calibrated: whether step 3 is taken.
        """
        _check(rows, hazards, len(self.candidates) - 1)
        result = np.empty(hazards.shape[1:], dtype=hazards.dtype)
        for start in range(0, len(rows), _CHUNK):
            part = slice(start, start + _CHUNK)
            weights = self._weights_of(rows[part]).astype(hazards.dtype)
            mixed = _blend(weights, self._candidates_of(hazards[:, part]))
            result[part] = self._scaled(mixed) if calibrated else mixed
        return result

    def learn(
        self, rows: Ints, hazards: _Any, started: npt.NDArray[np.bool_], at_risk: npt.NDArray[np.bool_] | None = None
    ) -> None:
        """Move the weights after a block of slots.

        Args:
            rows: row numbers, shape (rows,), each once.
            hazards: what every expert had said, shape (experts, rows, slots).
            started: whether a session started, shape (rows, slots).
            at_risk: which slots count, shape (rows, slots); all when None.
        """
        _check(rows, hazards, len(self.candidates) - 1)
        if started.shape != hazards.shape[1:] or (at_risk is not None and at_risk.shape != started.shape):
            raise ValueError(f"outcomes of shape {started.shape} do not fit hazards of shape {hazards.shape}")
        counts = np.ones(started.shape, dtype=bool) if at_risk is None else at_risk
        said = np.asarray(hazards, dtype=np.float64)
        candidates = self._candidates_of(said)
        weights = self._weights_of(rows)
        mixed = _blend(weights, candidates)[counts]
        outcomes = started[counts].astype(np.float64)
        inputs = _inputs(_log_odds(said))[:, counts].T
        self._learn_weights(rows, weights, candidates, started, counts)
        self._stack.learn(inputs, outcomes)
        log_odds = _log_odds(mixed)
        self._scale.learn(np.stack((log_odds, np.ones_like(log_odds)), axis=1), outcomes)
        self._scale.weights[0] = min(max(self._scale.weights[0], _SLOPES[0]), _SLOPES[1])

    def _learn_weights(
        self,
        rows: Ints,
        weights: Floats,
        candidates: Floats,
        started: npt.NDArray[np.bool_],
        counts: npt.NDArray[np.bool_],
    ) -> None:
        likelihood = np.log(np.where(started, candidates, 1.0 - candidates))
        gain = np.where(counts, likelihood, 0.0).sum(axis=2).T
        after = weights * np.exp(gain - gain.max(axis=1, keepdims=True)) + 1e-30
        after /= after.sum(axis=1, keepdims=True)
        some = counts.any(axis=1)
        after = (1.0 - SHARE) * after + SHARE * self._prior
        self._weights[rows[some]] = after[some]
        if some.any():
            share = _POOL_SHARE * min(1.0, float(some.sum()) / 100.0)
            mean = np.maximum(after[some].mean(axis=0), _LEAST_WEIGHT)
            self._prior = (1.0 - share) * self._prior + share * mean / mean.sum()

    def _weights_of(self, rows: Ints) -> Floats:
        own = self._weights[rows].astype(np.float64)
        unknown = own.sum(axis=1) <= 0.0
        own[unknown] = self._prior
        return np.asarray(own / own.sum(axis=1, keepdims=True))

    def _candidates_of(self, hazards: _Any) -> _Any:
        """The stack and the experts, shape (candidates, rows, slots)."""
        kept = np.clip(hazards, LEAST_HAZARD, MOST_HAZARD)
        odds = _log_odds(kept)
        # The same as `_inputs` times weights, without making the inputs.
        w = self._stack.weights
        n = len(hazards)
        by_expert = (w[0] - w[1:n].sum()) / n + np.append(w[1:n], 0.0)
        stacked = np.tensordot(by_expert.astype(odds.dtype), odds, axes=1) + odds.dtype.type(w[n])
        return np.concatenate((_probability(stacked)[None], kept))

    def _scaled(self, mixed: _Any) -> _Any:
        slope, offset = self._scale.weights
        return _probability(_log_odds(mixed) * mixed.dtype.type(slope) + mixed.dtype.type(offset))


def _blend(weights: _Any, candidates: _Any) -> _Any:
    return np.asarray(np.einsum("rc,crs->rs", weights, candidates))


def _inputs(odds: Floats) -> Floats:
    """The mean of the experts' log-odds, what each but the last differs from it, and 1: shape (experts + 1, ...)."""
    mean = odds.mean(axis=0, keepdims=True)
    return np.concatenate((mean, odds[:-1] - mean, np.ones_like(mean)))


def _log_odds(p: _Any) -> _Any:
    kept = np.clip(p, LEAST_HAZARD, MOST_HAZARD)
    return np.asarray(np.log(kept / (1.0 - kept)))


def _probability(odds: _Any) -> _Any:
    return np.asarray(np.clip(1.0 / (1.0 + np.exp(-np.clip(odds, -30.0, 30.0))), LEAST_HAZARD, MOST_HAZARD))


def _check(rows: Ints, hazards: _Any, experts: int) -> None:
    if hazards.ndim != 3 or hazards.shape[0] != experts or hazards.shape[1] != len(rows):
        raise ValueError(f"hazards of shape {hazards.shape} are not of {experts} experts and {len(rows)} rows")
