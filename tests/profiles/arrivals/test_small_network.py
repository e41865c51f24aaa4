"""The small network: says what it was given before it learns, and learns what no straight line can say."""

from __future__ import annotations

import numpy as np

from ghostdesk.profiles.arrivals.small_network import SmallNetwork


def test_untrained_it_says_what_it_was_given() -> None:
    network = SmallNetwork(3, 8, np.random.default_rng(1))
    base = np.array([-3.0, 0.5], dtype=np.float32)
    assert network.log_odds(np.ones((2, 3), dtype=np.float32), base).tolist() == base.tolist()


def test_it_learns_an_exclusive_or_and_keeps_weighted_cases_calibrated() -> None:
    rng = np.random.default_rng(2)
    network = SmallNetwork(2, 16, rng)
    for _ in range(1_500):
        inputs = rng.choice([-1.0, 1.0], size=(256, 2)).astype(np.float32)
        chance = np.where(inputs[:, 0] * inputs[:, 1] < 0.0, 0.2, 0.02)
        came = rng.random(256) < chance
        # Of four cases in which nothing came, one is told, and stands for all.
        told = came | (rng.random(256) < 0.25)
        weights = np.where(came, 1.0, 4.0).astype(np.float32)
        base = np.zeros(int(told.sum()), dtype=np.float32)
        network.learn(inputs[told], base, came[told].astype(np.float32), weights[told])
    asked = np.array([[1, -1], [-1, 1], [1, 1], [-1, -1]], dtype=np.float32)
    found = 1.0 / (1.0 + np.exp(-network.log_odds(asked, np.zeros(4, dtype=np.float32))))
    assert np.allclose(found, [0.2, 0.2, 0.02, 0.02], rtol=0.35)
