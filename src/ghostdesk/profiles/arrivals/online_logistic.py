"""Logistic regression that learns online, from everyone together: recursive Bayes with Laplace's approximation.

Each batch moves the weights by one Newton step from the last posterior, whose precision fades (Spiegelhalter and
Lauritzen 1990, online Laplace; the fading is exponential forgetting as in recursive least squares). With the log-odds
of experts as inputs it is logistic mixing (Mattern 2013; Mahoney 2005), with one input it is Platt scaling (Platt
1999).
"""

from __future__ import annotations

import numpy as np

from ghostdesk.profiles.arrivals.seam import Floats

_MOST_STEP = 0.5


class OnlineLogistic:
    """Weights of `len(start)` inputs.

    Args:
        start: the weights before anything is learnt, shape (inputs,).
        precision: how sure they are: so much (of slots at probability 1/2, times 4) they count, per input.
        half_life: after so many learnt outcomes (starts), what was learnt before counts half.
    """

    def __init__(self, start: Floats, precision: float, half_life: float) -> None:
        self.weights: Floats = np.array(start, dtype=np.float64)
        self._start = self.weights.copy()
        self._least = precision
        self._precision: Floats = np.eye(len(start)) * precision
        self._half_life = half_life

    def learn(self, inputs: Floats, outcomes: Floats) -> None:
        """One Newton step.

        Args:
            inputs: shape (n, inputs), finite.
            outcomes: 1 where it happened and 0 where not, shape (n,).
        """
        if not len(outcomes):
            return
        p = 1.0 / (1.0 + np.exp(-np.clip(inputs @ self.weights, -30.0, 30.0)))
        fade = 0.5 ** (float(np.sum(outcomes)) / self._half_life)
        least = self._least * np.eye(len(self.weights))
        gradient = inputs.T @ (outcomes - p) + (1.0 - fade) * (least @ (self._start - self.weights))
        information = (inputs * (p * (1.0 - p))[:, None]).T @ inputs
        self._precision = fade * self._precision + (1.0 - fade) * least + information
        step = np.linalg.solve(self._precision, gradient)
        self.weights = self.weights + np.clip(step, -_MOST_STEP, _MOST_STEP)
