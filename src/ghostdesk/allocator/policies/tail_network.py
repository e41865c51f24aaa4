"""A small network for how many starts a pool of each size would miss in the next minutes, trained while it is in use.

Pools of 0, 1, 2, ... ghosts are played through beside reality (`VirtualPools`), so that after every minute it is known
what each of them would have missed: full information, whatever was held. The network says the rate of starts (Poisson)
and, for each size, which part of what that size misses one more ghost would miss as well (binomial): a product of
shares, which can not rise with the size. It is what Palm theory calls the tail as arrivals see it; bursts are in it.
Two hidden layers on top of a straight line; Adam (Kingma and Ba 2015); asked are the averaged weights (Polyak and
Juditsky 1992). Pure but for the generator given.
"""

from __future__ import annotations

from collections import deque

import numpy as np
import numpy.typing as npt

Floats32 = npt.NDArray[np.float32]

_FIRST_RATE, _LAST_RATE, _SETTLED_STEPS = 3e-3, 2e-4, 3_000.0
_FADE_MEAN, _FADE_SQUARE = 0.9, 0.999
_AVERAGE = 0.999
_DECAY = 0.1
_LEAST = np.float32(1e-8)


class VirtualPools:
    """What static pools of 0 to `sizes` - 1 ghosts would have missed.

    Args:
        sizes: how many.
    """

    def __init__(self, sizes: int) -> None:
        self._size = np.arange(sizes)
        self._out = np.zeros(sizes, dtype=np.int64)
        self._taken: deque[tuple[float, npt.NDArray[np.bool_]]] = deque()

    def start(self, now_s: float, lead_s: float) -> npt.NDArray[np.bool_]:
        """A start: which pools have nothing for it, shape (sizes,). A ghost is back a lead time after it was taken."""
        while self._taken and self._taken[0][0] <= now_s - lead_s:
            self._out -= self._taken.popleft()[1]
        served = self._out < self._size
        self._out += served
        self._taken.append((now_s, served))
        return np.asarray(~served, dtype=np.bool_)


class TailNetwork:
    """Starts that pools of each size miss in a window, from features.

    Args:
        inputs, sizes: how many features, and pools.
        rng: for the first weights.
        hidden: units of the two layers.
    """

    def __init__(self, inputs: int, sizes: int, rng: np.random.Generator, hidden: tuple[int, int] = (48, 24)) -> None:
        def normal(rows: int, columns: int) -> Floats32:
            return np.asarray(rng.normal(size=(rows, columns)) / np.sqrt(rows), dtype=np.float32)

        def zeros(*shape: int) -> Floats32:
            return np.zeros(shape, dtype=np.float32)

        first, second = hidden
        bias = np.full(sizes, -1.0, dtype=np.float32)
        self._weights = [
            normal(inputs, first), zeros(first), normal(first, second), zeros(second), zeros(second, sizes),
            zeros(inputs, sizes), bias,
        ]  # fmt: skip
        self._asked = [one.copy() for one in self._weights]
        self._mean = [np.zeros_like(one) for one in self._weights]
        self._square = [np.zeros_like(one) for one in self._weights]
        self.steps = 0

    def missed(self, inputs: Floats32) -> Floats32:
        """Expected misses of pools of 0, 1, ... ghosts, shape (..., sizes); never rising with the size."""
        said = _forward(self._asked, inputs)[2]
        rate = np.exp(np.clip(said[..., :1], -12.0, 6.0))
        shares = 1.0 / (1.0 + np.exp(-said[..., 1:]))
        return np.asarray(np.concatenate((rate, rate * np.cumprod(shares, axis=-1)), axis=-1), dtype=np.float32)

    def learn(self, inputs: Floats32, missed: Floats32) -> None:
        """One step.

        Args:
            inputs: shape (n, inputs).
            missed: what pools of each size missed, shape (n, sizes).
        """
        w2, w3 = self._weights[2], self._weights[4]
        first, second, said = _forward(self._weights, inputs)
        error = np.empty_like(said)
        error[:, 0] = np.exp(np.clip(said[:, 0], -12.0, 6.0)) - missed[:, 0]
        error[:, 1:] = missed[:, :-1] / (1.0 + np.exp(-said[:, 1:])) - missed[:, 1:]
        error /= np.float32(len(inputs))
        back_second = (error @ w3.T) * (1.0 - second * second)
        back_first = (back_second @ w2.T) * (1.0 - first * first)
        self._step([
            inputs.T @ back_first, back_first.sum(axis=0), first.T @ back_second, back_second.sum(axis=0),
            second.T @ error, inputs.T @ error, error.sum(axis=0),
        ])  # fmt: skip

    def _step(self, gradients: list[Floats32]) -> None:
        self.steps += 1
        rate = max(_FIRST_RATE / (1.0 + self.steps / _SETTLED_STEPS), _LAST_RATE)
        of_mean, of_square = 1.0 - _FADE_MEAN**self.steps, 1.0 - _FADE_SQUARE**self.steps
        keep = np.float32(min(_AVERAGE, self.steps / (self.steps + 10.0)))
        for place, gradient in enumerate(gradients):
            self._mean[place] += np.float32(1.0 - _FADE_MEAN) * (gradient - self._mean[place])
            self._square[place] += np.float32(1.0 - _FADE_SQUARE) * (gradient * gradient - self._square[place])
            size = np.sqrt(self._square[place] / np.float32(of_square)) + _LEAST
            if gradient.ndim > 1:
                self._weights[place] *= np.float32(1.0 - rate * _DECAY)
            self._weights[place] -= np.float32(rate / of_mean) * self._mean[place] / size
            self._asked[place] += (np.float32(1.0) - keep) * (self._weights[place] - self._asked[place])


def _forward(weights: list[Floats32], inputs: Floats32) -> tuple[Floats32, Floats32, Floats32]:
    w1, b1, w2, b2, w3, line, b3 = weights
    first = np.tanh(inputs @ w1 + b1)
    second = np.tanh(first @ w2 + b2)
    return first, second, second @ w3 + inputs @ line + b3
