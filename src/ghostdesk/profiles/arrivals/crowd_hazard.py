"""The chance that a row's use starts in the next slot, given the whole house: a small network that learns as it goes.

Inputs are those of `crowd_features.py`; the network (`small_network.py`) starts from "the rate at which people come,
times the row's share of it". It is trained on a ring of past cases: every start, and slots without one in proportion
to how likely a start had seemed, each weighted by how many it stands for (importance sampling), so that the hazards
stay calibrated. A few steps follow every slot; there is no training that anybody must start.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from ghostdesk.profiles.arrivals.crowd_features import HOUSE_INPUTS, ROW_INPUTS, CrowdInputs, CrowdState
from ghostdesk.profiles.arrivals.seam import LEAST_HAZARD, MOST_HAZARD, WEEK_S, Flags, Floats, Floats32, Ints
from ghostdesk.profiles.arrivals.small_network import SmallNetwork
from ghostdesk.profiles.baselines.slots import MONDAY_S

DORMANT_S = 4.0 * WEEK_S
_HIDDEN = 32
_RING = 200_000
_BATCH = 512
_FIRST_CASES = 500
_CASES_A_STEP = 96
_NEGATIVES_A_START = 4.0
_LEAST_SHARE = 0.02
_SCALE_CASES = 20_000.0
_MOST = 5.0
_INPUTS = HOUSE_INPUTS + ROW_INPUTS


@dataclass
class _Case:
    """Inputs of one moment, whose outcome is not known yet."""

    inputs: CrowdInputs
    hazards: Floats32
    until_s: float
    came: Flags


@dataclass
class _Slot:
    """A slot that is under way."""

    now_s: float
    local_s: float
    hour: Ints
    idle: Flags
    busy: Flags
    began: Flags = field(init=False)
    starts: int = 0

    def __post_init__(self) -> None:
        self.began = np.zeros(len(self.idle), dtype=bool)


class CrowdHazard:
    """Hazards of all rows; 20 MB of past cases and 3.5 kB a row.

    Args:
        slot_s: length of a slot in seconds.
        seed: of the first weights and of what is drawn.
    """

    def __init__(self, slot_s: float, seed: int = 0) -> None:
        self.slot_s = slot_s
        self._state = CrowdState(slot_s)
        self._rng = np.random.default_rng(seed)
        self._network = SmallNetwork(_INPUTS, _HIDDEN, self._rng)
        self._ring: npt.NDArray[np.float16] = np.zeros((0, _INPUTS), dtype=np.float16)
        self._told: Floats32 = np.zeros((0, 3), dtype=np.float32)  # base, outcome, weight
        self._cases = 0
        self._due = 0.0
        self._moments: Floats = np.zeros((3, _INPUTS))  # sums of weights, of inputs, of squares
        self._shift: Floats32 = np.zeros(_INPUTS, dtype=np.float32)
        self._size: Floats32 = np.ones(_INPUTS, dtype=np.float32)
        self._end_s: Floats = np.zeros(0)
        self._slot: _Slot | None = None
        self._waiting: list[_Case] = []

    def grow(self, rows: int) -> None:
        """Make room for so many rows."""
        self._state.grow(rows)
        if rows > len(self._end_s):
            self._end_s = np.append(self._end_s, np.full(rows - len(self._end_s), -np.inf))

    def ended(self, row: int, time_s: float) -> None:
        """A use ends."""
        self._end_s[row] = time_s
        self._state.ended(row, time_s)

    def started(self, row: int, time_s: float) -> None:
        """A use starts."""
        self._state.started(row, time_s, time_s - self._end_s[row])
        if self._slot is not None:
            self._slot.starts += 1
            if row < len(self._slot.began):
                self._slot.began[row] = True
        for case in self._waiting:
            if row < len(case.came) and time_s < case.until_s:
                case.came[row] = True

    def hazards(
        self, now_s: float, offset_s: float, idle_s: Floats, ahead_s: float = 0.0, row_offset_s: Floats | None = None
    ) -> Floats:
        """The chance that each row's use starts within a slot and `ahead_s` more, shape (rows,); 0 in use, or dormant.

        Args:
            now_s: UTC seconds; a slot or more after the last time begins a new slot, from which is learnt.
            offset_s: local time minus UTC.
            idle_s: seconds since each row's last use ended, shape (rows,): NaN in use, infinite where none is known.
            ahead_s: seconds until a desktop that is begun is ready.
            row_offset_s: local time minus UTC of each row, where they are not all the same.
        """
        house_s = now_s + MONDAY_S + offset_s
        rows_s = np.broadcast_to(house_s if row_offset_s is None else now_s + MONDAY_S + row_offset_s, idle_s.shape)
        hour = np.minimum((rows_s % WEEK_S // 3600.0).astype(np.int64), 167)
        with np.errstate(invalid="ignore"):
            idle = idle_s < DORMANT_S
        fresh = self._slot is None or now_s >= self._slot.now_s + self.slot_s - 0.5
        if fresh:
            self._finish(now_s)
        self._state.begin(house_s)
        inputs = self._state.inputs(now_s, house_s, hour, idle_s, idle)
        hazards = self._asked(inputs)
        if fresh:
            self._slot = _Slot(now_s, house_s, hour, idle, np.isnan(idle_s))
            until_s = now_s + self.slot_s + ahead_s
            self._waiting.append(_Case(inputs, hazards, until_s, np.zeros(len(idle), dtype=bool)))
        found = np.zeros(len(idle))
        found[inputs.rows] = np.clip(hazards, LEAST_HAZARD, MOST_HAZARD)
        return found

    def _asked(self, inputs: CrowdInputs) -> Floats32:
        scaled = self._scaled(_joined(inputs))
        return np.asarray(1.0 / (1.0 + np.exp(-np.clip(self._network.log_odds(scaled, inputs.base), -30.0, 30.0))))

    def _scaled(self, inputs: Floats32) -> Floats32:
        return np.asarray(np.clip((inputs - self._shift) / self._size, -_MOST, _MOST))

    def _finish(self, now_s: float) -> None:
        """Learn from what is over."""
        slot = self._slot
        if slot is not None:
            # A pause of the caller's (a night without asking) is no slot.
            self._state.learn(slot.local_s, slot.hour, slot.idle, slot.busy, slot.began, slot.starts)
        over = [case for case in self._waiting if case.until_s <= now_s + 0.5]
        self._waiting = [case for case in self._waiting if case.until_s > now_s + 0.5]
        for case in over:
            self._keep(case)
        self._train()

    def _keep(self, case: _Case) -> None:
        came = case.came[case.inputs.rows]
        share = np.clip(_NEGATIVES_A_START * case.hazards, _LEAST_SHARE, 1.0)
        kept = np.flatnonzero(came | (self._rng.random(len(came)) < share))
        if not len(kept):
            return
        weight = np.where(came[kept], 1.0, 1.0 / share[kept]).astype(np.float32)
        joined = _joined(case.inputs)[kept]
        if self._cases < _SCALE_CASES:
            self._moments += np.stack(
                (np.full(_INPUTS, float(len(kept))), joined.sum(axis=0), (joined.astype(np.float64) ** 2).sum(axis=0))
            )
            mean = self._moments[1] / self._moments[0]
            spread = np.sqrt(np.maximum(self._moments[2] / self._moments[0] - mean * mean, 0.0))
            self._shift, self._size = mean.astype(np.float32), np.maximum(spread, 1e-2).astype(np.float32)
        told = np.stack((case.inputs.base[kept], came[kept].astype(np.float32), weight), axis=1)
        places = (self._cases + np.arange(len(kept))) % _RING
        if self._cases < _RING and places.max() >= len(self._ring):
            room = min(_RING, max(2 * len(self._ring), int(places.max()) + 1, 1024)) - len(self._ring)
            self._ring = np.concatenate((self._ring, np.zeros((room, _INPUTS), dtype=np.float16)))
            self._told = np.concatenate((self._told, np.zeros((room, 3), dtype=np.float32)))
        self._ring[places], self._told[places] = joined, told
        self._cases += len(kept)
        self._due += len(kept) / _CASES_A_STEP

    def _train(self) -> None:
        if self._cases < _FIRST_CASES:
            self._due = 0.0
            return
        while self._due >= 1.0:
            self._due -= 1.0
            chosen = self._rng.integers(0, min(self._cases, _RING), size=_BATCH)
            base, outcome, weight = self._told[chosen].T
            self._network.learn(self._scaled(self._ring[chosen].astype(np.float32)), base, outcome, weight)


def _joined(inputs: CrowdInputs) -> Floats32:
    """All inputs of each row, shape (rows, inputs)."""
    house = np.broadcast_to(inputs.house, (len(inputs.rows), HOUSE_INPUTS))
    return np.concatenate((house, inputs.own), axis=1)
