"""IPAM, the incremental probabilistic action model of Davison and Hirsh (1998, "Predicting sequences of user actions").

A table of what follows each application. With every step the whole row of the application before is multiplied by
alpha, and what came is raised by 1 - alpha, so recent habits count most. A new row starts as a copy of the default row,
which learns from every step.

The paper's rows sum to 1 and know no unseen application; a share is taken off for those, as escape method C says, and
applications that the row lacks have their usual frequency in it.
"""

from __future__ import annotations

from ghostdesk.kernel.ids import AppId
from ghostdesk.profiles.next_app.expert import Shares
from ghostdesk.profiles.next_app.tally import MOST_APPS, Tally
from ghostdesk.profiles.situation import UNKNOWN, Situation

ALPHA = 0.8
_SMALLEST_SCALE = 1e-60
_ROW_APPS = 96
_ROWS = MOST_APPS


class _Row:
    """Shares that fade: stored without their common factor, so that a step costs two operations whatever the length."""

    __slots__ = ("scale", "values")

    def __init__(self, values: dict[AppId, float], scale: float = 1.0) -> None:
        self.values = values
        self.scale = scale

    def update(self, app: AppId, alpha: float) -> None:
        if not self.values:
            self.values[app] = 1.0
            return
        self.scale *= alpha
        self.values[app] = self.values.get(app, 0.0) + (1.0 - alpha) / self.scale
        if self.scale < _SMALLEST_SCALE or len(self.values) > _ROW_APPS:
            self._compact()

    def shares(self, factor: float) -> Shares:
        factor *= self.scale
        return {app: value * factor for app, value in self.values.items()}

    def copy(self) -> _Row:
        return _Row(dict(self.values), self.scale)

    def _compact(self) -> None:
        ranked = sorted(self.values.items(), key=lambda item: item[1], reverse=True)[: _ROW_APPS // 2]
        whole = sum(value for _, value in ranked)
        self.values = {app: value / whole for app, value in ranked}
        self.scale = 1.0


class Ipam:
    """A `NextAppExpert`.

    Args:
        alpha: how much of a row stays with each step, 0 to 1, both excluded.
    """

    __slots__ = ("_alpha", "_default", "_last", "_rows", "_tally")

    def __init__(self, alpha: float = ALPHA) -> None:
        if not 0.0 < alpha < 1.0:
            raise ValueError("alpha lies between 0 and 1")
        self._alpha = alpha
        self._default = _Row({})
        self._rows: dict[AppId, _Row] = {}
        self._last: AppId | None = None
        self._tally = Tally()

    def shares(self, situation: Situation = UNKNOWN) -> Shares:  # noqa: ARG002 - the seam's signature
        """See `NextAppExpert.shares`."""
        if self._last is None:
            return {}
        escape = self._tally.escape()
        found = self._rows.get(self._last, self._default).shares(1.0 - escape)
        for app, share in self._tally.shares().items():
            found[app] = found.get(app, 0.0) + escape * share
        return found

    def learn(self, app: AppId, situation: Situation = UNKNOWN) -> None:  # noqa: ARG002
        """See `NextAppExpert.learn`."""
        if self._last is not None:
            row = self._rows.get(self._last)
            if row is None:
                row = self._rows[self._last] = self._default.copy()
                if len(self._rows) > _ROWS:
                    self._forget()
            row.update(app, self._alpha)
        self._default.update(app, self._alpha)
        self._tally.add(app)
        self._last = app

    def _forget(self) -> None:
        """Keep the rows of the half of applications that came most, and the newest."""
        counts = self._tally.counts
        ranked = sorted(self._rows, key=lambda app: (app == self._last, counts.get(app, 0)), reverse=True)
        for app in ranked[_ROWS // 2 :]:
            del self._rows[app]
