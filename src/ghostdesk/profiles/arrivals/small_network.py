"""A small feed-forward network for probabilities, in numpy: trained a few steps at a time while it is in use.

Two hidden layers of rectified units beside a straight line from inputs to output, on top of a given log-odds, so that
an untrained network says what was given. Adam (Kingma and Ba 2015) on weighted log loss; what is asked is the running
mean of the weights (Polyak and Juditsky 1992), which halves the noise of training on a stream.
"""

from __future__ import annotations

import numpy as np

from ghostdesk.profiles.arrivals.seam import Floats32

_FIRST_RATE, _LAST_RATE, _SETTLED_STEPS = 3e-3, 3e-4, 1_500.0
_FADE_MEAN, _FADE_SQUARE = 0.9, 0.998
_AVERAGE = 0.995
_WARM_UP_STEPS = 50
_LEAST = np.float32(1e-7)


class SmallNetwork:
    """Log-odds from inputs that are about 0 to 1 in size.

    Args:
        inputs: how many.
        hidden: units of each hidden layer.
        rng: for the first weights.
    """

    def __init__(self, inputs: int, hidden: int, rng: np.random.Generator) -> None:
        def normal(rows: int, columns: int) -> Floats32:
            return np.asarray(rng.normal(size=(rows, columns)) / np.sqrt(rows), dtype=np.float32)

        def zeros(*shape: int) -> Floats32:
            return np.zeros(shape, dtype=np.float32)

        self._weights = [
            normal(inputs, hidden), zeros(hidden), normal(hidden, hidden), zeros(hidden), zeros(hidden), zeros(inputs),
            zeros(1),
        ]  # fmt: skip
        self._asked = [one.copy() for one in self._weights]
        self._mean = [np.zeros_like(one) for one in self._weights]
        self._square = [np.zeros_like(one) for one in self._weights]
        self.steps = 0

    def log_odds(self, inputs: Floats32, base: Floats32) -> Floats32:
        """Log-odds, shape (n,).

        Args:
            inputs: shape (n, inputs).
            base: what the network is added to, shape (n,).
        """
        return _forward(self._asked, inputs)[2] + base

    def learn(self, inputs: Floats32, base: Floats32, outcomes: Floats32, weights: Floats32) -> None:
        """One step.

        Args:
            inputs: shape (n, inputs).
            base: shape (n,).
            outcomes: 0 or 1, shape (n,).
            weights: how many such cases each stands for, shape (n,).
        """
        _, _, w2, _, w3, _, _ = self._weights
        first, second, added = _forward(self._weights, inputs)
        chance = 1.0 / (1.0 + np.exp(-np.clip(added + base, -30.0, 30.0)))
        # In units of what happened, not of cases: slots without a start are many.
        error = ((chance - outcomes) * weights / max(float((outcomes * weights).sum()), 1.0)).astype(np.float32)
        back_second = np.outer(error, w3) * (second > 0.0)
        back_first = (back_second @ w2.T) * (first > 0.0)
        gradients = [
            inputs.T @ back_first, back_first.sum(axis=0), first.T @ back_second, back_second.sum(axis=0),
            second.T @ error, inputs.T @ error, error.sum(keepdims=True),
        ]  # fmt: skip
        self._step(gradients)

    def _step(self, gradients: list[Floats32]) -> None:
        self.steps += 1
        rate = max(_FIRST_RATE / (1.0 + self.steps / _SETTLED_STEPS), _LAST_RATE)
        rate *= min(1.0, self.steps / _WARM_UP_STEPS)
        of_mean, of_square = 1.0 - _FADE_MEAN**self.steps, 1.0 - _FADE_SQUARE**self.steps
        keep = np.float32(min(_AVERAGE, self.steps / (self.steps + 10.0)))
        for place, gradient in enumerate(gradients):
            self._mean[place] += np.float32(1.0 - _FADE_MEAN) * (gradient - self._mean[place])
            self._square[place] += np.float32(1.0 - _FADE_SQUARE) * (gradient * gradient - self._square[place])
            size = np.sqrt(self._square[place] / np.float32(of_square)) + _LEAST
            self._weights[place] -= np.float32(rate / of_mean) * self._mean[place] / size
            self._asked[place] += (np.float32(1.0) - keep) * (self._weights[place] - self._asked[place])


def _forward(weights: list[Floats32], inputs: Floats32) -> tuple[Floats32, Floats32, Floats32]:
    """Both hidden layers and the output."""
    w1, b1, w2, b2, w3, line, b3 = weights
    first = np.maximum(inputs @ w1 + b1, np.float32(0.0))
    second = np.maximum(first @ w2 + b2, np.float32(0.0))
    return first, second, second @ w3 + inputs @ line + b3
