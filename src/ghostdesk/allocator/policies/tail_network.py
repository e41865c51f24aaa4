"""A small network for how many starts a pool of each size would miss in the next minutes, trained while it is in use.

Pools of 0, 1, 2, ... ghosts are played through beside reality (`VirtualPools`), so that after every minute it is known
what each of them would have missed: full information, whatever was held. The network says the rate of starts (Poisson)
and, for each size, which part of what that size misses one more ghost would miss as well (binomial): a product of
shares, which can not rise with the size. It is what Palm theory calls the tail as arrivals see it; bursts are in it.
Two hidden layers on top of a straight line. Pure but for the generator given.
"""

from __future__ import annotations

from collections import deque

import numpy as np
import numpy.typing as npt

from ghostdesk.profiles.averaged_adam import AveragedAdam, Floats32, Pace, normal_weights, zero_weights

_PACE = Pace(3e-3, 2e-4, 3_000.0, fade_square=0.999, average=0.999, least=1e-8, decay=0.1)


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
        first, second = hidden
        bias = np.full(sizes, -1.0, dtype=np.float32)
        weights = [
            normal_weights(rng, inputs, first),
            zero_weights(first),
            normal_weights(rng, first, second),
            zero_weights(second),
            zero_weights(second, sizes),
            zero_weights(inputs, sizes),
            bias,
        ]
        self._adam = AveragedAdam(weights, _PACE)

    @property
    def steps(self) -> int:
        """How many steps were made."""
        return self._adam.steps

    def missed(self, inputs: Floats32) -> Floats32:
        """Expected misses of pools of 0, 1, ... ghosts, shape (..., sizes); never rising with the size."""
        said = _forward(self._adam.asked, inputs)[2]
        rate = np.exp(np.clip(said[..., :1], -12.0, 6.0))
        shares = 1.0 / (1.0 + np.exp(-said[..., 1:]))
        return np.asarray(np.concatenate((rate, rate * np.cumprod(shares, axis=-1)), axis=-1), dtype=np.float32)

    def learn(self, inputs: Floats32, missed: Floats32) -> None:
        """One step.

        Args:
            inputs: shape (n, inputs).
            missed: what pools of each size missed, shape (n, sizes).
        """
        w2, w3 = self._adam.weights[2], self._adam.weights[4]
        first, second, said = _forward(self._adam.weights, inputs)
        error = np.empty_like(said)
        error[:, 0] = np.exp(np.clip(said[:, 0], -12.0, 6.0)) - missed[:, 0]
        error[:, 1:] = missed[:, :-1] / (1.0 + np.exp(-said[:, 1:])) - missed[:, 1:]
        error /= np.float32(len(inputs))
        back_second = (error @ w3.T) * (1.0 - second * second)
        back_first = (back_second @ w2.T) * (1.0 - first * first)
        self._adam.step(
            [
                inputs.T @ back_first,
                back_first.sum(axis=0),
                first.T @ back_second,
                back_second.sum(axis=0),
                second.T @ error,
                inputs.T @ error,
                error.sum(axis=0),
            ]
        )


def _forward(weights: list[Floats32], inputs: Floats32) -> tuple[Floats32, Floats32, Floats32]:
    w1, b1, w2, b2, w3, line, b3 = weights
    first = np.tanh(inputs @ w1 + b1)
    second = np.tanh(first @ w2 + b2)
    return first, second, second @ w3 + inputs @ line + b3
