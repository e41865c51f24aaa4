"""A small feed-forward network for probabilities, in numpy: trained a few steps at a time while it is in use.

Two hidden layers of rectified units beside a straight line from inputs to output, on top of a given log-odds, so that
an untrained network says what was given. Weighted log loss.
"""

from __future__ import annotations

import numpy as np

from ghostdesk.profiles.averaged_adam import AveragedAdam, Floats32, Pace, normal_weights, zero_weights

_PACE = Pace(3e-3, 3e-4, 1_500.0, fade_square=0.998, average=0.995, least=1e-7, warm_up_steps=50)


class SmallNetwork:
    """Log-odds from inputs that are about 0 to 1 in size.

    Args:
        inputs: how many.
        hidden: units of each hidden layer.
        rng: for the first weights.
    """

    def __init__(self, inputs: int, hidden: int, rng: np.random.Generator) -> None:
        weights = [
            normal_weights(rng, inputs, hidden),
            zero_weights(hidden),
            normal_weights(rng, hidden, hidden),
            zero_weights(hidden),
            zero_weights(hidden),
            zero_weights(inputs),
            zero_weights(1),
        ]
        self._adam = AveragedAdam(weights, _PACE)

    @property
    def steps(self) -> int:
        """How many steps were made."""
        return self._adam.steps

    def log_odds(self, inputs: Floats32, base: Floats32) -> Floats32:
        """Log-odds, shape (n,).

        Args:
            inputs: shape (n, inputs).
            base: what the network is added to, shape (n,).
        """
        return _forward(self._adam.asked, inputs)[2] + base

    def learn(self, inputs: Floats32, base: Floats32, outcomes: Floats32, weights: Floats32) -> None:
        """One step.

        Args:
            inputs: shape (n, inputs).
            base: shape (n,).
            outcomes: 0 or 1, shape (n,).
            weights: how many such cases each stands for, shape (n,).
        """
        _, _, w2, _, w3, _, _ = self._adam.weights
        first, second, added = _forward(self._adam.weights, inputs)
        chance = 1.0 / (1.0 + np.exp(-np.clip(added + base, -30.0, 30.0)))
        # In units of what happened, not of cases: slots without a start are many.
        error = ((chance - outcomes) * weights / max(float((outcomes * weights).sum()), 1.0)).astype(np.float32)
        back_second = np.outer(error, w3) * (second > 0.0)
        back_first = (back_second @ w2.T) * (first > 0.0)
        gradients = [
            inputs.T @ back_first,
            back_first.sum(axis=0),
            first.T @ back_second,
            back_second.sum(axis=0),
            second.T @ error,
            inputs.T @ error,
            error.sum(keepdims=True),
        ]
        self._adam.step(gradients)


def _forward(weights: list[Floats32], inputs: Floats32) -> tuple[Floats32, Floats32, Floats32]:
    """Both hidden layers and the output."""
    w1, b1, w2, b2, w3, line, b3 = weights
    first = np.maximum(inputs @ w1 + b1, np.float32(0.0))
    second = np.maximum(first @ w2 + b2, np.float32(0.0))
    return first, second, second @ w3 + inputs @ line + b3
