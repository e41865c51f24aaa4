"""What a user's desktop takes while they are there: means that forget, and quantiles, shrunk towards everyone's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from ghostdesk.kernel.ids import UserId
from ghostdesk.kernel.resources import NOTHING, Resources
from ghostdesk.profiles.baselines.slots import sane
from ghostdesk.telemetry.events import EventKind, UsageEvent

KINDS = (EventKind.CPU, EventKind.MEMORY, EventKind.GPU, EventKind.NETWORK, EventKind.STORAGE)
NAMES = ("cpu_cores", "memory_bytes", "gpu_share", "network_bytes_per_s", "storage_bytes_per_s")
"""The fields of `Resources` in the order of `KINDS`."""
_INDEX = {kind: index for index, kind in enumerate(KINDS)}
_LOWEST = np.array([1e-3, 1e6, 1e-3, 1e1, 1e1])
"""The smallest amounts told apart: CPU cores, memory bytes, GPU share, network and storage bytes a second."""
_BUCKETS = 64
_STEP = 1.3
"""Each bucket is 1.3 times the one before, so a quantile is right within 15 %; the last is 1.5e7 times the first."""
_FORGET = 0.995
_POOL_FORGET = 0.9999
_PRIOR_SAMPLES = 10.0

Floats = npt.NDArray[np.float64]


@dataclass
class _Amounts:
    """Of each kind: sum of weights, weighted sum, and a histogram over buckets of growing width."""

    weight: Floats = field(default_factory=lambda: np.zeros(len(KINDS)))
    total: Floats = field(default_factory=lambda: np.zeros(len(KINDS)))
    buckets: npt.NDArray[np.float32] = field(default_factory=lambda: np.zeros((len(KINDS), _BUCKETS), dtype=np.float32))

    samples: int = 0

    def add(self, kind: int, value: float, forget: float) -> None:
        self.samples += 1
        self.weight[kind] = self.weight[kind] * forget + 1.0
        self.total[kind] = self.total[kind] * forget + value
        self.buckets[kind] *= forget
        self.buckets[kind, _bucket(kind, value)] += 1.0


@dataclass(frozen=True, slots=True)
class DesktopSample:
    """How much of one resource a signed-in person's whole desktop took: `kind` is its place in `NAMES`."""

    user: UserId
    kind: int
    time_s: float
    value: float


class DesktopSamples:
    """Tells the samples of signed-in people's whole desktops from all other events.

    Samples that name an application are parts of another sample and are left out, and so are negative and infinite
    ones. Samples count only while the user is signed in, as far as that is known: a prepared desktop is no use yet.
    """

    def __init__(self) -> None:
        self._out: set[UserId] = set()

    def take(self, event: UsageEvent) -> DesktopSample | None:
        """The sample in an event; None where there is none that counts."""
        if event.user is None or not sane(event.time_s):
            return None
        if event.kind is EventKind.SIGN_OUT:
            self._out.add(event.user)
        elif event.kind is EventKind.SIGN_IN:
            self._out.discard(event.user)
        kind = _INDEX.get(event.kind)
        if kind is None or event.app is not None or event.value is None or event.user in self._out:
            return None
        if not 0.0 <= event.value < math.inf:
            return None
        return DesktopSample(event.user, kind, event.time_s, event.value)

    def forget(self, user: UserId) -> None:
        """Drop that the user is known to be out."""
        self._out.discard(user)


class ResourceUse:
    """Learns from CPU, memory, GPU, network and storage samples of whole desktops; 1.1 kB a user."""

    def __init__(self) -> None:
        self._users: dict[UserId, _Amounts] = {}
        self._pool = _Amounts()
        self._samples = DesktopSamples()
        self.samples = 0

    def observe(self, event: UsageEvent) -> None:
        """Learn from one more event."""
        sample = self._samples.take(event)
        if sample is not None:
            self.add(sample)

    def add(self, sample: DesktopSample) -> None:
        """Learn one sample."""
        self._users.setdefault(sample.user, _Amounts()).add(sample.kind, sample.value, _FORGET)
        self._pool.add(sample.kind, sample.value, _POOL_FORGET)
        self.samples += 1

    def forget(self, user: UserId) -> None:
        """Drop what is known of a user; everyone's amounts are made anew from those who are left."""
        self._samples.forget(user)
        if self._users.pop(user, None) is None:
            return
        self._pool = _Amounts()
        for other in self._users.values():
            self._pool.weight += other.weight
            self._pool.total += other.total
            self._pool.buckets += other.buckets
            self._pool.samples += other.samples
        self.samples = self._pool.samples

    def count(self, user: UserId) -> int:
        """How many samples of this user were seen."""
        own = self._users.get(user)
        return own.samples if own is not None else 0

    def expected(self, user: UserId) -> Resources:
        """Mean use while present; an unknown user gets everyone's, and nothing where nobody was measured."""
        if self.samples == 0:
            return NOTHING
        pool = self._pool.total / np.maximum(self._pool.weight, 1e-9)
        own = self._users.get(user)
        means = pool if own is None else (own.total + _PRIOR_SAMPLES * pool) / (own.weight + _PRIOR_SAMPLES)
        return _resources(means)

    def quantile(self, user: UserId, share: float) -> Resources:
        """The amounts that use stays at or below for `share` (0 to 1) of the samples, within 15 %."""
        return _resources(self._quantiles(user, np.array([share]))[:, 0])

    def quantiles(self, user: UserId, levels: Sequence[float]) -> dict[str, tuple[float, ...]]:
        """Amounts at each level by the names of `Resources`; what was never measured of anybody is left out."""
        if self.samples == 0:
            return {}
        amounts = np.maximum.accumulate(self._quantiles(user, np.asarray(levels)), axis=1)
        measured = self._pool.buckets.sum(axis=1) > 0
        return {name: tuple(amounts[i].tolist()) for i, name in enumerate(NAMES) if measured[i]}

    def _quantiles(self, user: UserId, shares: Floats) -> Floats:
        """Shape (resources, shares)."""
        if self.samples == 0:
            return np.zeros((len(KINDS), len(shares)))
        pool = self._pool.buckets / np.maximum(self._pool.buckets.sum(axis=1, keepdims=True), 1e-9)
        own = self._users.get(user)
        mixed = pool if own is None else own.buckets + _PRIOR_SAMPLES * pool
        reached = np.cumsum(mixed, axis=1)
        targets = np.clip(shares, 0.0, 1.0)[None, :] * reached[:, -1:] - 1e-6
        found = np.minimum((reached[:, None, :] < targets[:, :, None]).sum(axis=2), _BUCKETS - 1)
        amounts = np.where(reached[:, -1:] > 0, _LOWEST[:, None] * _STEP ** (found - 0.5), 0.0)
        return np.asarray(np.where(found == 0, 0.0, amounts))


def _bucket(kind: int, value: float) -> int:
    if value <= _LOWEST[kind]:
        return 0
    return min(1 + int(np.log(value / _LOWEST[kind]) / np.log(_STEP)), _BUCKETS - 1)


def _resources(amounts: Floats) -> Resources:
    return Resources(**dict(zip(NAMES, amounts.tolist(), strict=True)))
