"""The LSTM in torch, for training only. Nothing else imports torch."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ghostdesk.profiles.features import SequenceBatch
from ghostdesk.profiles.lstm_step import LossReport, LstmConfig

Weights = dict[str, npt.NDArray[np.float32]]


class LstmTrainer:
    """Trains the model by truncated back-propagation through time; equal seeds and batches give equal weights.

    `SequenceBatch.start` drops the carried state; otherwise a batch goes on where the one before ended.
    """

    def __init__(self, config: LstmConfig, seed: int) -> None:
        raise NotImplementedError

    def reset_state(self, users: int) -> None:
        """Drop the carried state."""
        raise NotImplementedError

    def train_batch(self, batch: SequenceBatch) -> LossReport:
        """One step of the optimiser."""
        raise NotImplementedError

    def evaluate_batch(self, batch: SequenceBatch) -> LossReport:
        """Losses without learning; the state is carried on."""
        raise NotImplementedError

    def weights(self) -> Weights:
        """The model's weights, copied."""
        raise NotImplementedError

    def load_weights(self, weights: Weights) -> None:
        """Take weights of another training; raises `ConfigError` when names or shapes differ."""
        raise NotImplementedError

    def checkpoint(self) -> dict[str, npt.NDArray[np.generic]]:
        """All that training needs to go on bit-equally: weights, moments, step, generator, carried state."""
        raise NotImplementedError

    def restore(self, checkpoint: dict[str, npt.NDArray[np.generic]]) -> None:
        """Go on from a checkpoint; raises `ConfigError` when it is of another model."""
        raise NotImplementedError
