"""A trainer without torch that learns how often each rank comes, and what the tests of training share."""

import pickle
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ghostdesk.kernel.errors import ConfigError
from ghostdesk.profiles.features import FloatArray, SequenceBatch
from ghostdesk.profiles.lstm_step import LossReport, LstmConfig, weight_shapes
from ghostdesk.profiles.recent_apps import CANDIDATES
from ghostdesk.training.cluster import Cluster
from ghostdesk.training.run import TrainRequest

SMALL = LstmConfig(hidden=8, app_embedding=4, word_embedding=2, rank_embedding=2, gate=4)


@dataclass
class RankTrainer:
    """A real, tiny learner with all the seams of the LSTM's: the shares of ranks, by running averages with noise.

    Args:
        config: sizes of the weights that it gives, which are those of an untrained model but for the ranks' bias.
        seed: of the noise.
        worse_after: from so many windows on it unlearns, so that the held-out loss rises.
    """

    config: LstmConfig
    seed: int
    worse_after: int = 10**9
    rate: float = 0.0
    windows: int = 0
    scores: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(CANDIDATES + 1))

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)

    def set_learning_rate(self, learning_rate: float) -> None:
        self.rate = learning_rate

    def train_batch(self, batch: SequenceBatch) -> LossReport:
        report = self.evaluate_batch(batch)
        ranks = batch.rank[batch.scored > 0]
        if len(ranks):
            shares = np.bincount(ranks, minlength=CANDIDATES + 1)[: CANDIDATES + 1] / len(ranks)
            step = 1000.0 * self.rate * (1.0 if self.windows < self.worse_after else -3.0)
            self.scores += step * (shares - self._shares()) + 1e-3 * self.rng.normal(size=CANDIDATES + 1)
        self.windows += 1
        return report

    def evaluate_batch(self, batch: SequenceBatch) -> LossReport:
        ranks = batch.rank[batch.scored > 0]
        return LossReport(len(ranks), float(-np.log(self._shares()[ranks]).sum()))

    def weights(self) -> dict[str, FloatArray]:
        weights = {name: np.zeros(shape, np.float32) for name, shape in weight_shapes(self.config).items()}
        weights["rank_bias"] = self.scores.astype(np.float32)
        return weights

    def checkpoint(self) -> dict[str, npt.NDArray[Any]]:
        state = self.rng.bit_generator.state["state"]
        words = [(state[name] >> shift) & (2**32 - 1) for name in ("state", "inc") for shift in (0, 32, 64, 96)]
        return {"scores": self.scores.copy(), "rng": np.array(words), "windows": np.array(self.windows)}

    def restore(self, checkpoint: Mapping[str, npt.NDArray[Any]]) -> None:
        if "scores" not in checkpoint:
            raise ConfigError("The checkpoint is not complete.", "Start the training anew.")
        self.scores = checkpoint["scores"].copy()
        self.windows = int(checkpoint["windows"])
        parts = [int(word) for word in checkpoint["rng"]]
        whole = [sum(part << (32 * i) for i, part in enumerate(parts[at : at + 4])) for at in (0, 4)]
        state = self.rng.bit_generator.state
        self.rng.bit_generator.state = {**state, "state": {"state": whole[0], "inc": whole[1]}, "has_uint32": 0}

    def _shares(self) -> npt.NDArray[np.float64]:
        odds = np.exp(self.scores - self.scores.max())
        return np.asarray(odds / odds.sum())


MakeRequest = Callable[..., TrainRequest]


class ByPickle(Cluster):
    """A cluster's seam without one: pieces and results go there and back as bytes."""

    def __init__(self) -> None:
        self.pieces = 0

    def map(
        self, work: Callable[..., Any], shared: Any, each: Iterable[Any], progress: Callable[[int], None] = print
    ) -> list[Any]:
        found = []
        for one in each:
            sent = pickle.loads(pickle.dumps(one))  # noqa: S301 - our own
            found.append(pickle.loads(pickle.dumps(work(shared, sent))))  # noqa: S301
            self.pieces += 1
        return found
