"""The LSTM as a scored method: trained on the training steps of other people alone, served by numpy."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Sequence
from dataclasses import dataclass

from ghostdesk.evaluate.sequences import AppSequence, situations
from ghostdesk.kernel.errors import ConfigError
from ghostdesk.kernel.ids import AppId
from ghostdesk.profiles.features import Step
from ghostdesk.profiles.lstm_step import LstmConfig
from ghostdesk.profiles.next_app.expert import ExpertFactory, NextAppExpert, Shares
from ghostdesk.profiles.next_app.lstm_expert import LstmExpert
from ghostdesk.profiles.sequences import batches_from_sequences
from ghostdesk.profiles.situation import UNKNOWN, Situation

_EPOCHS = 4
_WINDOW = 64
_LEAST_STEPS = 500
"""With fewer steps of other people there is nothing worth training on."""


def torch_is_here() -> bool:
    """Whether models can be trained in this environment."""
    return importlib.util.find_spec("torch") is not None


@dataclass(frozen=True)
class LstmMethod:
    """A `PooledMethod`; raises `ConfigError` without torch. Its network knows no application, only how people go on."""

    seed: int = 1
    epochs: int = _EPOCHS

    def fit(self, others: Sequence[AppSequence]) -> ExpertFactory:
        """Train on other people's training steps; hardly any steps train nothing, and the experts stay silent."""
        if not torch_is_here():
            raise ConfigError("Training an LSTM needs torch.", "pip install 'ghostdesk[train]'")
        from ghostdesk.profiles.lstm import LstmTrainer

        config = LstmConfig()
        trainer = LstmTrainer(config, seed=self.seed)
        learnt = [[Step(app, at) for app, at in zip(one.apps, situations(one), strict=True)] for one in others]
        if sum(map(len, learnt)) < _LEAST_STEPS:
            return Silent
        batches = list(batches_from_sequences(learnt, _WINDOW))
        for epoch in range(self.epochs):
            fade = 0.05 + 0.475 * (1.0 + math.cos(math.pi * epoch / self.epochs))
            trainer.set_learning_rate(config.learning_rate * fade)
            for batch in batches:
                trainer.train_batch(batch)
        weights = trainer.weights()

        def one() -> NextAppExpert:
            return LstmExpert(config, weights)

        return one

    def alone(self) -> ExpertFactory:
        """Without others there is no model: an expert that says nothing."""
        return Silent


class Silent:
    """A `NextAppExpert` that never says anything."""

    def shares(self, situation: Situation = UNKNOWN) -> Shares:  # noqa: ARG002 - the seam's signature
        """Nothing."""
        return {}

    def learn(self, app: AppId, situation: Situation = UNKNOWN) -> None:
        """Nothing."""
