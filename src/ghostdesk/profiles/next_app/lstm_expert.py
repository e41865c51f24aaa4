"""The LSTM as one person's expert: served in numpy, one step an event, nothing of the past replayed.

Some 1.9 KiB are kept of a person: the state as float16 (256 bytes at 64 units), and the recent applications.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from ghostdesk.kernel.ids import AppId
from ghostdesk.profiles.features import (
    HORIZONS_S,
    NO_APP,
    app_bucket,
    number_or_nan,
    resource_amounts,
    situation_numbers,
    situation_words,
)
from ghostdesk.profiles.lstm_step import (
    LstmConfig,
    LstmState,
    Question,
    StepInputs,
    Weights,
    happens_within,
    hazards,
    next_app_logs,
    resource_quantiles,
    step,
)
from ghostdesk.profiles.next_app.expert import Shares
from ghostdesk.profiles.recent_apps import CANDIDATES, STATISTICS, RecentApps
from ghostdesk.profiles.situation import UNKNOWN, Situation

Statistics = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]
_ROW = np.zeros(1, np.int64)
_NO_STATISTICS = np.zeros((1, STATISTICS), np.float32)


class LstmExpert:
    """A `NextAppExpert` on a trained model; also asked when the next application or sign-in comes, and what it takes.

    Args:
        config, weights: of the model; shared by all persons, never changed.
    """

    def __init__(self, config: LstmConfig, weights: Weights) -> None:
        self._config = config
        self._weights = weights
        self._packed = LstmState.empty(1, config).packed()
        self._recent = RecentApps(1)
        self._apps: dict[int, AppId] = {}
        self._last: tuple[Situation, Statistics] | None = None
        self.last_s: float | None = None
        """When the last event was taken in; None where nobody told."""

    def shares(self, situation: Situation = UNKNOWN) -> Shares:
        """Probability of each of the last 32 applications; what is left is for others. Empty before the first."""
        numbers = self._recent.numbers()[0]
        apps = [self._apps[number] for number in numbers.tolist() if number >= 0]
        if not apps:
            return {}
        statistics, of_list = self._statistics(situation)
        buckets = np.zeros((1, CANDIDATES), np.int64)
        buckets[0, : len(apps)] = [app_bucket(app) for app in apps]
        words, told = _circumstances(situation)
        question = Question(words, told, buckets, statistics, of_list)
        logs = next_app_logs(self._weights, self._state(), question)[0]
        return dict(zip(apps, np.exp(logs[: len(apps)]).tolist(), strict=True))

    def learn(self, app: AppId, situation: Situation = UNKNOWN) -> None:
        """The person turned to `app`."""
        statistics, _ = self._statistics(situation)
        number = _app_number(app)
        time_s, hour = _moment(situation)
        rank = self._recent.learn(_ROW, np.array([number]), time_s, hour)
        place = int(rank[0])
        self._last = None
        chosen = statistics[:, place] if place < CANDIDATES else _NO_STATISTICS
        self._absorb(rank, app_bucket(app), situation, chosen)
        if place == CANDIDATES:
            self._apps[number] = app
            if len(self._apps) > CANDIDATES:
                kept = {*self._recent.numbers()[0].tolist()}
                self._apps = {one: name for one, name in self._apps.items() if one in kept}

    def signed_in(self, situation: Situation = UNKNOWN) -> None:
        """A session began, without an application."""
        self._absorb(np.array([NO_APP]), 0, situation, _NO_STATISTICS)

    def launch_within(self, lead_s: float, elapsed_s: float = 0.0) -> float:
        """Probability that the person turns to an application within `lead_s`, `elapsed_s` after the last event."""
        return float(happens_within(hazards(self._weights, self._state(), "launch"), lead_s, elapsed_s)[0])

    def sign_in_within(self, lead_s: float, elapsed_s: float = 0.0) -> float:
        """Probability of a sign-in within `lead_s`, `elapsed_s` after the last event."""
        return float(happens_within(hazards(self._weights, self._state(), "sign_in"), lead_s, elapsed_s)[0])

    def resource_quantiles(self, situation: Situation = UNKNOWN) -> npt.NDArray[np.float64]:
        """(RESOURCES, HORIZONS_S, LEVELS) amounts in their units: the mean from one horizon to the next."""
        scaled = resource_quantiles(self._weights, self._state(), situation_numbers([situation]))
        found = resource_amounts(scaled[0].reshape(len(scaled[0]), -1))
        return found.reshape(len(found), len(HORIZONS_S), -1)

    def nbytes(self) -> int:
        """Bytes of arrays that are kept of the person."""
        return self._packed.nbytes + self._recent.nbytes()

    def _state(self) -> LstmState:
        return LstmState.unpacked(self._packed)

    def _statistics(self, situation: Situation) -> Statistics:
        """Of the candidates and of the list; a question and the step after it share them."""
        if self._last is not None and self._last[0] is situation:
            return self._last[1]
        found = self._recent.statistics(_ROW, *_moment(situation))
        self._last = (situation, found)
        return found

    def _absorb(
        self, rank: npt.NDArray[np.int64], bucket: int, situation: Situation, chosen: npt.NDArray[np.float32]
    ) -> None:
        self.last_s = situation.time_s if situation.time_s is not None else self.last_s
        words, told = _circumstances(situation)
        inputs = StepInputs(rank, np.array([bucket]), words, told, chosen)
        self._packed = step(self._weights, self._state(), inputs).packed()


def _circumstances(situation: Situation) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    return np.array([situation_words(situation)], np.int64), situation_numbers([situation])


def _moment(situation: Situation) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    return np.array([number_or_nan(situation.time_s)]), np.array([number_or_nan(situation.hour)])


@lru_cache(maxsize=65_536)
def _app_number(app: AppId) -> int:
    """31 bits of a digest: equal for equal applications, and among 32 of them different ones do not collide."""
    digest = hashlib.blake2b(app.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 33
