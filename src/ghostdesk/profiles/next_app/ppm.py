"""PPM-3 with recency, for one person.

Prediction by partial matching (Cleary and Witten 1984, escape method C of Moffat 1990) mixed with how far back people
go in the list of recent applications, by weights that follow their success (fixed share, Herbster and Warmuth 1998).
"""

from __future__ import annotations

from ghostdesk.kernel.ids import AppId
from ghostdesk.profiles.baselines.ppm import START, Contexts, Recency
from ghostdesk.profiles.next_app.expert import Shares
from ghostdesk.profiles.situation import UNKNOWN, Situation

_ORDER = 3
_FORGET = 0.98
_CONTEXTS = 1500
_RECENT = 24
_SWITCH = 0.02
_LEAST = 1e-4


class PpmRecencyExpert:
    """A `NextAppExpert`: contexts of up to three applications, and recency."""

    def __init__(self) -> None:
        self._contexts = Contexts(_ORDER, _FORGET, _CONTEXTS)
        self._recency = Recency()
        self._before: tuple[AppId, ...] = (START,)
        self._recent: list[AppId] = []
        self._ppm_weight = 0.7
        self._last: tuple[tuple[AppId, ...], tuple[Shares, Shares]] | None = None

    def shares(self, situation: Situation = UNKNOWN) -> Shares:
        """The forecast now."""
        ppm, recency = self._members(self._context(situation))
        weight = self._ppm_weight
        return {a: weight * ppm.get(a, 0.0) + (1 - weight) * recency.get(a, 0.0) for a in {**ppm, **recency}}

    def learn(self, app: AppId, situation: Situation = UNKNOWN) -> None:
        """The person turned to `app`."""
        before = self._context(situation)
        ppm, recency = self._members(before)
        good = self._ppm_weight * max(ppm.get(app, 0.0), _LEAST)
        other = (1.0 - self._ppm_weight) * max(recency.get(app, 0.0), _LEAST)
        self._ppm_weight = _SWITCH / 2 + (1.0 - _SWITCH) * good / (good + other)
        self._contexts.add(before, app)
        self._recency.add(self._recent, app)
        if app in self._recent:
            self._recent.remove(app)
        self._recent = [app, *self._recent[: _RECENT - 1]]
        self._before = (*before, app)[-_ORDER:]
        self._last = None

    def _context(self, at: Situation) -> tuple[AppId, ...]:
        return (START,) if at.session_position == 0 else self._before

    def _members(self, before: tuple[AppId, ...]) -> tuple[Shares, Shares]:
        """What both say; a question and the step after it share it."""
        if self._last is None or self._last[0] != before:
            self._last = before, (self._contexts.blend(before, {}), self._recency.shares(self._recent))
        return self._last[1]
