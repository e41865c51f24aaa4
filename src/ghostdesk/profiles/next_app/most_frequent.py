"""Most frequent: the application used most so far is the likeliest next one, whatever came just before.

The baseline of every study of the field (Shin et al. 2012; Baeza-Yates et al. 2015). What is left for unseen
applications is escape method C: see `Tally`.
"""

from __future__ import annotations

from ghostdesk.kernel.ids import AppId
from ghostdesk.profiles.next_app.expert import Shares
from ghostdesk.profiles.next_app.tally import MOST_APPS, Tally
from ghostdesk.profiles.situation import UNKNOWN, Situation


class MostFrequent:
    """A `NextAppExpert` that counts.

    Args:
        limit: how many applications are kept at most.
    """

    __slots__ = ("_tally",)

    def __init__(self, limit: int = MOST_APPS) -> None:
        self._tally = Tally(limit)

    def shares(self, situation: Situation = UNKNOWN) -> Shares:  # noqa: ARG002 - the seam's signature
        """See `NextAppExpert.shares`."""
        return self._tally.shares()

    def learn(self, app: AppId, situation: Situation = UNKNOWN) -> None:  # noqa: ARG002
        """See `NextAppExpert.learn`."""
        self._tally.add(app)
