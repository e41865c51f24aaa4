"""The LSTM in torch, for training only: nothing else imports torch. `lstm_step` is the same model in numpy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from ghostdesk.kernel.errors import ConfigError
from ghostdesk.profiles.features import (
    HORIZONS_S,
    RESOURCES,
    TIME_BINS,
    WORD_BUCKETS,
    WORDS,
    FloatArray,
    SequenceBatch,
    scaled_resources,
    situation_numbers,
)
from ghostdesk.profiles.forecast import LEVELS
from ghostdesk.profiles.lstm_step import LossReport, LstmConfig, weight_shapes
from ghostdesk.profiles.recent_apps import CANDIDATES
from ghostdesk.profiles.situation import UNKNOWN

Checkpoint = dict[str, npt.NDArray[Any]]
_ZERO_AT_FIRST = ("app_embedding", "app_score", "rank_score", "statistics_score", "launch", "sign_in", "resources_now")
"""Applications never trained on then have the same vector, and the first forecast is that of partial matching."""


class LstmTrainer:
    """Trains the model by truncated back-propagation through time; equal seeds and batches give equal weights.

    `SequenceBatch.start` drops the carried state; otherwise a batch goes on where the one before ended. Equal results
    also need an equal number of threads (`torch.set_num_threads`). Deterministic algorithms are switched on for the
    whole process.
    """

    def __init__(self, config: LstmConfig, seed: int) -> None:
        torch.use_deterministic_algorithms(True)
        self._config = config
        self._generator = torch.Generator().manual_seed(seed)
        self._weights = {
            name: _initial(name, shape, self._generator).requires_grad_()
            for name, shape in weight_shapes(config).items()
        }
        self._optimiser = torch.optim.AdamW(
            list(self._weights.values()), lr=config.learning_rate, weight_decay=config.weight_decay
        )
        self._state: tuple[Tensor, Tensor] | None = None

    def reset_state(self, users: int) -> None:
        """Drop the carried state; the next batch has `users` users."""
        zeros = torch.zeros(1, users, self._config.hidden)
        self._state = (zeros, zeros)

    def set_learning_rate(self, learning_rate: float) -> None:
        """For schedules; part of a checkpoint."""
        for group in self._optimiser.param_groups:
            group["lr"] = learning_rate

    def train_batch(self, batch: SequenceBatch) -> LossReport:
        """One step of the optimiser."""
        loss, report = self._forward(batch, train=True)
        if loss.requires_grad:
            self._optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(list(self._weights.values()), self._config.clip_norm)
            self._optimiser.step()
        return report

    def evaluate_batch(self, batch: SequenceBatch) -> LossReport:
        """Losses without learning; the state is carried on."""
        with torch.no_grad():
            return self._forward(batch, train=False)[1]

    def weights(self) -> dict[str, FloatArray]:
        """The model's weights, copied."""
        return {name: value.detach().numpy().copy() for name, value in self._weights.items()}

    def load_weights(self, weights: Mapping[str, FloatArray]) -> None:
        """Take weights of another training; raises `ConfigError` when names or shapes differ. Moments start anew."""
        _check(weights, weight_shapes(self._config))
        with torch.no_grad():
            for name, value in self._weights.items():
                value.copy_(torch.from_numpy(np.ascontiguousarray(weights[name], np.float32)))
        self._optimiser.state.clear()

    def checkpoint(self) -> Checkpoint:
        """All that training needs to go on bit-equally: weights, moments, generator, learning rate, carried state."""
        kept: Checkpoint = {f"weights/{name}": value for name, value in self.weights().items()}
        for name, value in self._weights.items():
            for part, moment in self._optimiser.state.get(value, {}).items():
                kept[f"{part}/{name}"] = moment.detach().numpy().copy()
        kept["generator"] = self._generator.get_state().numpy().copy()
        kept["learning_rate"] = np.array(self._optimiser.param_groups[0]["lr"], np.float64)
        if self._state is not None:
            kept["state/hidden"], kept["state/cell"] = (part.numpy().copy() for part in self._state)
        return kept

    def restore(self, checkpoint: Mapping[str, npt.NDArray[Any]]) -> None:
        """Go on from a checkpoint; raises `ConfigError` when it is of another model."""
        found = {name.removeprefix("weights/"): v for name, v in checkpoint.items() if name.startswith("weights/")}
        if "generator" not in checkpoint or "learning_rate" not in checkpoint:
            raise ConfigError("The checkpoint is not complete.", "Start the training anew.")
        self.load_weights(found)
        for name, value in self._weights.items():
            moments = {
                part: torch.from_numpy(np.array(checkpoint[f"{part}/{name}"]))
                for part in ("step", "exp_avg", "exp_avg_sq")
                if f"{part}/{name}" in checkpoint
            }
            if moments:
                self._optimiser.state[value] = moments
        self._generator.set_state(torch.from_numpy(np.array(checkpoint["generator"])))
        self.set_learning_rate(float(checkpoint["learning_rate"]))
        self._state = None
        if "state/hidden" in checkpoint:
            parts = (torch.from_numpy(np.array(checkpoint[f"state/{part}"])) for part in ("hidden", "cell"))
            self._state = (next(parts), next(parts))

    def outputs(self, batch: SequenceBatch) -> dict[str, FloatArray]:
        """What every head says, for comparison with `lstm_step`: (U, T, ...); the state is carried on.

        `next_app` (log probabilities before each step), `launch` and `sign_in` (hazards after it), `resources`
        (scaled quantiles after it).
        """
        with torch.no_grad():
            words, numbers = self._circumstances(batch)
            weights, apps = self._weights, self._weights["app_embedding"]
            before, after = self._run(batch, apps, words, numbers)
            asked = torch.cat((before, words, numbers, torch.from_numpy(batch.list_statistics)), dim=2).flatten(0, 1)
            bucket, statistics = torch.from_numpy(batch.candidate_bucket), torch.from_numpy(batch.candidate_statistics)
            scores = _scores(weights, apps, asked, bucket.flatten(0, 1), statistics.flatten(0, 1))
            found = {"next_app": torch.log_softmax(scores, dim=1).reshape(batch.users, batch.steps, -1)}
            for head in ("launch", "sign_in"):
                found[head] = torch.sigmoid(functional.linear(after, weights[head], weights[f"{head}_bias"]))
            found["resources"] = _quantiles(weights, after, batch)
            return {name: value.numpy() for name, value in found.items()}

    def _circumstances(self, batch: SequenceBatch) -> tuple[Tensor, Tensor]:
        """Vectors of the words, and the numbers; drops the carried state where users start."""
        if batch.start or self._state is None:
            self.reset_state(batch.users)
        places = torch.from_numpy(batch.words) + torch.arange(len(WORDS)) * (WORD_BUCKETS + 1)
        return self._weights["word_embedding"][places].flatten(2), torch.from_numpy(batch.numbers)

    def _forward(self, batch: SequenceBatch, *, train: bool) -> tuple[Tensor, LossReport]:
        weights = self._weights
        words, numbers = self._circumstances(batch)
        apps = weights["app_embedding"]
        if train:
            seen = self._kept(batch.users, batch.steps, 1, share=self._config.situation_dropout)
            unknown = torch.from_numpy(situation_numbers([UNKNOWN]))
            numbers, words = unknown + (numbers - unknown) * seen, words * seen
            apps = apps * self._kept(len(apps), 1, share=self._config.dropout)
        before, after = self._run(batch, apps, words, numbers)
        if train:
            share = self._config.dropout
            before = before * self._kept(*before.shape, share=share) / (1.0 - share)
            after = after * self._kept(*after.shape, share=share) / (1.0 - share)
        asked = torch.cat((before, words, numbers, torch.from_numpy(batch.list_statistics)), dim=2)
        next_app = _next_app_loss(weights, apps, asked, batch)
        launch = _time_loss(weights, after, "launch", batch.launch_bin, batch.launch_seen)
        sign_in = _time_loss(weights, after, "sign_in", batch.sign_in_bin, batch.sign_in_seen)
        resources = _resource_loss(weights, after, batch)
        config = self._config
        parts = ((next_app, 1.0), (launch, config.time_weight), (sign_in, config.time_weight))
        total = sum((part[0] * weight / part[1] for part, weight in parts if part[1]), torch.zeros(()))
        if resources[1]:
            total = total + resources[0] * config.resource_weight / resources[1]
        report = LossReport(
            next_app[1], next_app[0].item(), next_app[2], launch[1], launch[0].item(),
            sign_in[1], sign_in[0].item(), resources[1], resources[0].item(),
        )  # fmt: skip
        return total, report

    def _run(self, batch: SequenceBatch, apps: Tensor, words: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor]:
        """(U, T, hidden) before and after each step; what follows a user's end is never scored."""
        rank = torch.from_numpy(batch.rank)
        place = rank.clamp(max=CANDIDATES - 1)[:, :, None, None]
        statistics = torch.from_numpy(batch.candidate_statistics)
        chosen = torch.take_along_dim(statistics, place, dim=2)[:, :, 0] * (rank < CANDIDATES)[:, :, None]
        taken = torch.cat(
            (apps[torch.from_numpy(batch.app_bucket)], self._weights["rank_embedding"][rank], words, numbers, chosen),
            dim=2,
        )
        assert self._state is not None
        if self._state[0].shape[1] != batch.users:
            raise ValueError(f"{batch.users} users go on from a state of {self._state[0].shape[1]}")
        bias = self._weights["cell_bias"]
        cell = [self._weights["cell_input"], self._weights["cell_recurrent"], bias, torch.zeros_like(bias)]
        after, hidden, state = torch.lstm(taken, self._state, cell, True, 1, 0.0, False, False, True)
        before = torch.cat((self._state[0].transpose(0, 1), after[:, :-1]), dim=1)
        self._state = (hidden.detach(), state.detach())
        return before, after

    def _kept(self, *shape: int, share: float) -> Tensor:
        """Ones, and zeros for a share of them."""
        return (torch.rand(shape, generator=self._generator) >= share).float()


def _initial(name: str, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    if name == "cell_bias":  # remember at first (Jozefowicz, Zaremba and Sutskever 2015)
        return torch.cat([torch.full((shape[0] // 4,), value) for value in (0.0, 1.0, 0.0, 0.0)])
    if name == "statistics_bias":
        return torch.cat((torch.ones(1), torch.zeros(shape[0] - 1)))
    if name in ("launch_bias", "sign_in_bias", "resources_bias"):
        return torch.full(shape, -2.0)
    if name.endswith("_bias") or name in _ZERO_AT_FIRST:
        first = torch.zeros(shape)
        if name == "rank_score":
            first[-1, -9] = 4.0  # what partial matching leaves to new applications
        return first
    scale = 0.1 if "embedding" in name else shape[-1] ** -0.5
    return torch.randn(shape, generator=generator) * scale


def _check(weights: Mapping[str, npt.NDArray[Any]], shapes: Mapping[str, tuple[int, ...]]) -> None:
    wrong = sorted({*weights} ^ {*shapes}) or [name for name, shape in shapes.items() if weights[name].shape != shape]
    if wrong:
        raise ConfigError(
            f"The weights are of another model: {wrong[0]} differs.",
            "Train with the sizes it was made with.",
        )


def _scores(weights: Mapping[str, Tensor], apps: Tensor, asked: Tensor, bucket: Tensor, statistics: Tensor) -> Tensor:
    """(n, CANDIDATES + 1) scores of the recent applications and of a new one."""
    ranks = functional.linear(asked, weights["rank_score"], weights["rank_bias"])
    wanted = functional.linear(asked, weights["app_score"])
    linear = functional.linear(asked, weights["statistics_score"], weights["statistics_bias"])
    gate = functional.linear(asked, weights["gate_question"], weights["gate_bias"])[:, None]
    gate = torch.relu(gate + functional.linear(statistics, weights["gate_statistics"]))
    scores = gate @ weights["gate_score"] + ranks[:, :-1]
    scores = scores + (apps[bucket] @ wanted[:, :, None] + statistics @ linear[:, :, None])[:, :, 0]
    return torch.cat((scores.masked_fill(bucket == 0, -1e9), ranks[:, -1:]), dim=1)


def _next_app_loss(
    weights: Mapping[str, Tensor], apps: Tensor, asked: Tensor, batch: SequenceBatch
) -> tuple[Tensor, int, tuple[int, int, int]]:
    chosen = torch.from_numpy(batch.scored) > 0
    n = int(chosen.sum())
    if not n:
        return torch.zeros(()), 0, (0, 0, 0)
    bucket, statistics = torch.from_numpy(batch.candidate_bucket), torch.from_numpy(batch.candidate_statistics)
    scores = _scores(weights, apps, asked[chosen], bucket[chosen], statistics[chosen])
    target = torch.from_numpy(batch.rank)[chosen]
    loss = functional.cross_entropy(scores, target, reduction="sum")
    with torch.no_grad():
        # new applications cannot be named, so they are never a hit
        better = (scores[:, :-1] > scores.gather(1, target[:, None])).sum(dim=1)
        better = better.masked_fill(target == CANDIDATES, CANDIDATES)
        hits = (int((better < 1).sum()), int((better < 3).sum()), int((better < 5).sum()))
    return loss, n, hits


def _time_loss(
    weights: Mapping[str, Tensor], after: Tensor, head: str, bins: npt.NDArray[Any], seen: npt.NDArray[Any]
) -> tuple[Tensor, int]:
    """Negative log likelihood of a discrete hazard, censored where it was not seen."""
    known = torch.from_numpy(seen >= 0)
    n = int(known.sum())
    if not n:
        return torch.zeros(()), 0
    logits = functional.linear(after[known], weights[head], weights[f"{head}_bias"])
    at = torch.from_numpy(bins)[known][:, None]
    happened = torch.from_numpy(seen)[known][:, None] == 1
    bin_index = torch.arange(TIME_BINS)
    survived = functional.softplus(logits) * (bin_index < at)
    hit = functional.softplus(-logits) * ((bin_index == at) & happened)
    return (survived + hit).sum(), n


def _quantiles(weights: Mapping[str, Tensor], after: Tensor, batch: SequenceBatch) -> Tensor:
    """(U, T, RESOURCES, HORIZONS_S, LEVELS), not falling along the levels."""
    raw = functional.linear(after, weights["resources"], weights["resources_bias"])
    raw = raw.reshape(*raw.shape[:2], len(RESOURCES), len(HORIZONS_S), len(LEVELS))
    now = torch.from_numpy(scaled_resources(batch.numbers))[..., None] * weights["resources_now"]
    return torch.cat((raw[..., :1] + now[..., None], functional.softplus(raw[..., 1:])), dim=-1).cumsum(dim=-1)


def _resource_loss(weights: Mapping[str, Tensor], after: Tensor, batch: SequenceBatch) -> tuple[Tensor, int]:
    """Pinball loss, mean over the levels, of what was measured."""
    measured = torch.from_numpy(np.isfinite(batch.resources))
    n = int(measured.sum())
    if not n:
        return torch.zeros(()), 0
    quantiles = _quantiles(weights, after, batch)
    levels = torch.tensor(LEVELS)
    missed = (torch.from_numpy(batch.resources)[..., None] - quantiles)[measured]
    return torch.maximum(levels * missed, (levels - 1.0) * missed).mean(dim=-1).sum(), n
