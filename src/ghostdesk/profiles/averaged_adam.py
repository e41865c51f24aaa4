"""Training of small networks while they are in use: Adam, and the running mean of the weights to ask. Pure.

Adam (Kingma and Ba 2015) with a rate that falls, weights of layers shrunk a little with each step where asked for
(Loshchilov and Hutter 2019). What is asked is the running mean of the weights (Polyak and Juditsky 1992), which halves
the noise of training on a stream.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats32 = npt.NDArray[np.float32]

_FADE_MEAN = 0.9


@dataclass(frozen=True, slots=True)
class Pace:
    """How quickly a network learns.

    Args:
        first_rate, last_rate: of a step, at the beginning and at least.
        settled_steps: after so many steps the rate is half the first one.
        fade_square: memory of the squared gradients, 0 to 1.
        average: memory of the weights' running mean, 0 to 1.
        least: what a step is divided by at least.
        warm_up_steps: the rate rises to its first value over so many steps; 0 for at once.
        decay: share of the rate by which the weights of layers shrink; biases do not.
    """

    first_rate: float
    last_rate: float
    settled_steps: float
    fade_square: float
    average: float
    least: float
    warm_up_steps: int = 0
    decay: float = 0.0


class AveragedAdam:
    """Weights under training (`weights`) and those to ask (`asked`), in the order given.

    Args:
        weights: the first weights; they are changed in place.
        pace: how quickly they change.
    """

    def __init__(self, weights: Sequence[Floats32], pace: Pace) -> None:
        self.weights = list(weights)
        self.asked = [one.copy() for one in self.weights]
        self._mean = [np.zeros_like(one) for one in self.weights]
        self._square = [np.zeros_like(one) for one in self.weights]
        self._pace = pace
        self.steps = 0

    def step(self, gradients: Sequence[Floats32]) -> None:
        """Move every weight against its gradient; shapes are those of the weights."""
        pace = self._pace
        self.steps += 1
        rate = max(pace.first_rate / (1.0 + self.steps / pace.settled_steps), pace.last_rate)
        if pace.warm_up_steps:
            rate *= min(1.0, self.steps / pace.warm_up_steps)
        of_mean, of_square = 1.0 - _FADE_MEAN**self.steps, 1.0 - pace.fade_square**self.steps
        keep = np.float32(min(pace.average, self.steps / (self.steps + 10.0)))
        for place, gradient in enumerate(gradients):
            weights, mean, square = self.weights[place], self._mean[place], self._square[place]
            mean += np.float32(1.0 - _FADE_MEAN) * (gradient - mean)
            square += np.float32(1.0 - pace.fade_square) * (gradient * gradient - square)
            size = np.sqrt(square / np.float32(of_square)) + np.float32(pace.least)
            if pace.decay and gradient.ndim > 1:
                weights *= np.float32(1.0 - rate * pace.decay)
            weights -= np.float32(rate / of_mean) * mean / size
            self.asked[place] += (np.float32(1.0) - keep) * (weights - self.asked[place])


def normal_weights(rng: np.random.Generator, rows: int, columns: int) -> Floats32:
    """First weights of a layer, shape (rows, columns): normal, with variance 1 / rows."""
    return np.asarray(rng.normal(size=(rows, columns)) / np.sqrt(rows), dtype=np.float32)


def zero_weights(*shape: int) -> Floats32:
    """First weights that say nothing."""
    return np.zeros(shape, dtype=np.float32)
