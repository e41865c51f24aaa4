"""Adam on a problem whose answer is known, and the running mean that is asked."""

from __future__ import annotations

import numpy as np
import pytest

from ghostdesk.profiles.averaged_adam import AveragedAdam, Pace, normal_weights, zero_weights

PACE = Pace(0.05, 0.001, 200.0, fade_square=0.99, average=0.98, least=1e-8)


def test_it_finds_the_least_of_a_bowl_though_gradients_are_noisy() -> None:
    rng = np.random.default_rng(0)
    least = np.array([1.0, -2.0], dtype=np.float32)
    adam = AveragedAdam([zero_weights(2)], PACE)
    for _ in range(2_000):
        noise = rng.normal(size=2).astype(np.float32)
        adam.step([adam.weights[0] - least + noise])
    assert adam.steps == 2_000
    assert np.abs(adam.asked[0] - least).max() < 0.1
    assert adam.asked[0].dtype == np.float32


def test_what_is_asked_moves_more_smoothly_than_the_weights() -> None:
    rng = np.random.default_rng(1)
    adam = AveragedAdam([zero_weights(1)], PACE)
    moved, asked = [], []
    for _ in range(500):
        adam.step([rng.normal(size=1).astype(np.float32)])
        moved.append(float(adam.weights[0][0]))
        asked.append(float(adam.asked[0][0]))
    assert np.abs(np.diff(asked[100:], 2)).mean() < 0.3 * np.abs(np.diff(moved[100:], 2)).mean()


def test_layers_shrink_where_asked_and_biases_do_not() -> None:
    pace = Pace(0.05, 0.05, 1e9, fade_square=0.99, average=0.9, least=1e-8, decay=1.0)
    adam = AveragedAdam([np.ones((1, 1), dtype=np.float32), np.ones(1, dtype=np.float32)], pace)
    for _ in range(10):
        adam.step([zero_weights(1, 1), zero_weights(1)])
    assert adam.weights[0][0, 0] == pytest.approx(0.95**10, rel=1e-4)
    assert adam.weights[1][0] == 1.0


def test_the_first_steps_are_small_where_warming_up_is_asked() -> None:
    slow = Pace(0.05, 0.001, 200.0, fade_square=0.99, average=0.9, least=1e-8, warm_up_steps=100)
    first = [AveragedAdam([zero_weights(1)], pace) for pace in (PACE, slow)]
    for adam in first:
        adam.step([np.ones(1, dtype=np.float32)])
    assert abs(first[1].weights[0][0]) == pytest.approx(abs(first[0].weights[0][0]) / 100.0, rel=1e-3)


def test_equal_seeds_give_equal_layers() -> None:
    one, other = (normal_weights(np.random.default_rng(3), 50, 40) for _ in range(2))
    assert (one == other).all()
    assert one.std() == pytest.approx(50**-0.5, rel=0.1)
