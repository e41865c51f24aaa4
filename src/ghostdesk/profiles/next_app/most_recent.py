"""Most recent: people return to what they used last, in the order of last use.

The rule of Shin et al. (2012) and of every task switcher. The rule itself only ranks; each rank's probability is
how often the next application stood there so far, made non-increasing along the ranks by pooling adjacent violators
(isotonic regression; Ayer et al. 1955), so that the order stays the rule's.
"""

from __future__ import annotations

from enum import StrEnum

from ghostdesk.kernel.ids import AppId
from ghostdesk.profiles.next_app.expert import Shares
from ghostdesk.profiles.situation import UNKNOWN, Situation

_RANKS = 64
_PRIOR_EVENTS = 4.0
"""How many events the assumption weighs that rank k is met in proportion to 1 / k (Zipf), before ranks are known."""


class Current(StrEnum):
    """Where the application in use stands in the list."""

    FIRST = "first"
    LAST = "last"
    DROPPED = "dropped"


class MostRecent:
    """A `NextAppExpert` that keeps the list of applications by last use, and how far down it people go.

    Args:
        current: where the application in use stands: on top, at the end, or not in the list at all.
        ranks: length of the list.
    """

    __slots__ = ("_current", "_met", "_new", "_recent")

    def __init__(self, current: Current = Current.FIRST, ranks: int = _RANKS) -> None:
        self._current = current
        self._recent: list[AppId] = []  # latest first
        # Rank 0 is the current application, which the rule may put elsewhere.
        whole = sum(1.0 / rank for rank in range(1, ranks + 1))
        self._met = [_PRIOR_EVENTS / rank / whole for rank in range(1, ranks + 1)]
        self._new = 1.0

    def shares(self, situation: Situation = UNKNOWN) -> Shares:  # noqa: ARG002 - the seam's signature
        """See `NextAppExpert.shares`."""
        recent, met = self._recent, self._met
        here = len(recent)
        if self._current is Current.FIRST:
            listed, weights = recent, met[:here]
        elif self._current is Current.LAST:
            listed, weights = [*recent[1:], *recent[:1]], [*met[1:here], *met[: min(here, 1)]]
        else:
            listed, weights = recent[1:], met[1:here]
        whole = sum(weights) + self._new
        return {app: weight / whole for app, weight in zip(listed, non_increasing(weights), strict=True)}

    def learn(self, app: AppId, situation: Situation = UNKNOWN) -> None:  # noqa: ARG002
        """See `NextAppExpert.learn`."""
        recent = self._recent
        try:
            rank = recent.index(app)
        except ValueError:
            self._new += 1.0
            del recent[len(self._met) - 1 :]
        else:
            self._met[rank] += 1.0
            del recent[rank]
        recent.insert(0, app)


def non_increasing(values: list[float]) -> list[float]:
    """The least-squares fit to `values` that never rises, of the same sum (pool adjacent violators)."""
    means: list[float] = []
    sizes: list[int] = []
    for value in values:
        mean, size = value, 1
        while means and means[-1] < mean:
            before = sizes.pop()
            mean = (mean * size + means.pop() * before) / (size + before)
            size += before
        means.append(mean)
        sizes.append(size)
    return [mean for mean, size in zip(means, sizes, strict=True) for _ in range(size)]
