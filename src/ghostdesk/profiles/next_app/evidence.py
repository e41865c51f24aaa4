"""What one person's past says of each application that may come next: the inputs of the mixture.

Counts of what followed contexts of several kinds, as in context mixing (Mahoney, "Adaptive weighing of context models
for lossless data compression", 2005): the last one to four applications; the one before the last without the last
(skipping); how far back in the list of recent applications the person went the last times (move-to-front ranks:
Bentley et al., "A locally adaptive data compression scheme", 1986), which carries over between people; and the
circumstances: time of day, place, mode, microphone and camera, file type, calendar.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from heapq import nsmallest

import numpy as np
import numpy.typing as npt

from ghostdesk.kernel.ids import AppId
from ghostdesk.profiles.next_app.expert import Shares
from ghostdesk.profiles.situation import UNKNOWN, Situation

Floats = npt.NDArray[np.float32]
Key = tuple[object, ...]

RECENT = 24
"""Applications of their own, latest first, that are candidates to come next."""
LENT = 12
"""Applications that others use and the person has not yet: candidates too."""
START = AppId("<start>")
"""Stands for the beginning of a session among the applications before. It is never forecast."""
_RANK_KINDS = 3
_OWN_KINDS = 11
_AROUND_KINDS = 8
_KINDS = _RANK_KINDS + _OWN_KINDS + _AROUND_KINDS
_BLENDED = 4
_FORGET = 0.98
_FADES = (0.8, 0.95, 0.99)
_MOST_CONTEXTS = 1200
_MOST_FOLLOWERS = 96
_BASE = 18
_GROUPS = 4
FEATURES = 3 * _KINDS + _BASE + 2 * _GROUPS + RECENT + 2
BLEND_FEATURE = 3 * _KINDS
"""The column with the logarithm of the blended (PPM) probability: what the mixture starts from."""
_OWN_PAST = 1000
"""After so many steps whatever the person never used is no candidate any more."""
_SCALE = 0.25
_LEAST = 1e-5


@dataclass(frozen=True, slots=True)
class Lent:
    """What people who are alike turn to, given the application that is open: one distribution a group, widest first.

    `shares` holds up to four: everyone's after this application, everyone's at all, the colleagues' (department or job
    role), and those who behave alike.
    """

    shares: tuple[Shares, ...] = ()

    def best(self, limit: int, without: Iterable[AppId]) -> list[AppId]:
        """The likeliest applications over all groups, likeliest first."""
        total: Shares = {}
        for one in self.shares:
            for app, share in one.items():
                total[app] = total.get(app, 0.0) + share
        known = set(without)
        return [app for _, app in nsmallest(limit, ((-total[a], a) for a in total if a not in known and a != START))]


NOTHING_LENT = Lent()


@dataclass(frozen=True, slots=True)
class Evidence:
    """Candidates and what is known of each.

    Args:
        apps: the candidates, most recently used first, then those lent by others.
        features: shape (candidates + 1, FEATURES); the last row stands for any other application.
    """

    apps: tuple[AppId, ...]
    features: Floats


class PersonEvidence:
    """The contexts of one person: some 200 to 400 KiB with a long history, bounded."""

    __slots__ = ("_after", "_followers", "_keys_at", "_last", "_new_rate", "_ranks", "_rows", "_times", "_uses",
                 "count", "recent", "trail")  # fmt: skip

    def __init__(self) -> None:
        self._after: dict[Key, dict[object, float]] = {}
        self._followers: dict[Key, list[AppId]] = {}
        self._uses = np.zeros((8, len(_FADES)))
        self._rows: dict[AppId, int] = {}
        self._keys_at: tuple[Situation, list[Key | None]] | None = None
        self._last: dict[AppId, int] = {}
        self._times: dict[AppId, int] = {}
        self._ranks: list[int] = []
        self._new_rate = 0.5
        self.recent: list[AppId] = []
        self.trail: list[AppId] = []
        self.count = 0

    def usage_shares(self) -> Shares:
        """How often each application was turned to; sums to 1."""
        return {app: times / self.count for app, times in self._times.items()} if self.count else {}

    def followers(self, app: AppId) -> tuple[Shares, float]:
        """What the person turned to after `app` (a distribution), and the weight of that evidence."""
        counts = self._after.get((_RANK_KINDS, app))
        if not counts:
            return {}, 0.0
        whole = sum(counts.values())
        return {a: c / whole for a, c in counts.items() if isinstance(a, str)}, whole  # type: ignore[misc]

    def evidence(self, situation: Situation = UNKNOWN, lent: Lent = NOTHING_LENT) -> Evidence:
        """What is known now of each candidate."""
        own = self.recent[:RECENT]
        others = lent.best(LENT, self._times) if lent.shares and self.count < _OWN_PAST else []
        apps = own + others
        size, features = len(own), np.zeros((len(apps) + 1, FEATURES), dtype=np.float32)
        if size:
            self._fill_own(features[:size], own, self._keys(situation))
        self._fill_lent(features[:-1], apps, lent)
        rows = np.arange(size)
        column = 3 * _KINDS + _BASE + 2 * _GROUPS
        features[rows, column + rows] = 1.0
        features[size:-1, column + RECENT] = 1.0
        features[-1, column + RECENT + 1] = 1.0
        features[-1, BLEND_FEATURE] = math.log(max(self._new_rate * (0.5 if others else 1.0), 1e-4)) * _SCALE
        features[size:-1, BLEND_FEATURE] += np.log(max(self._new_rate, 1e-4)) * _SCALE
        features[:, BLEND_FEATURE + 1] = math.log1p(self.count) * _SCALE
        features[:, BLEND_FEATURE + 2] = math.log(max(self._new_rate, 1e-4)) * _SCALE
        return Evidence(tuple(apps), features)

    def learn(self, app: AppId, situation: Situation = UNKNOWN) -> None:
        """The person turned to `app`, in the situation that stood before it."""
        rank = self.recent.index(app) if app in self.recent else RECENT
        keys = self._keys(situation)
        for kind, key in enumerate(keys):
            if key is not None:
                self._count((kind, *key), rank if kind < _RANK_KINDS else app)
        self._follow(keys, app)
        self._new_rate += 0.02 * (float(app not in self._times) - self._new_rate)
        row = self._rows.setdefault(app, len(self._rows))
        if row == len(self._uses):
            self._uses = np.concatenate((self._uses, np.zeros_like(self._uses)))
        self._uses *= _FADES
        self._uses[row] += 1.0
        self._times[app] = self._times.get(app, 0) + 1
        self._last[app] = self.count
        self.count += 1
        if app in self.recent:
            self.recent.remove(app)
        self.recent.insert(0, app)
        self._ranks = [rank, *self._ranks[:3]]
        self.trail = [*self._trail(situation)[-5:], app]
        self._keys_at = None
        self._bound()

    # Inside.

    def _trail(self, at: Situation) -> list[AppId]:
        """The applications before; the first of a session follows a mark of its own, so it is learnt as such."""
        begins = at.session_position == 0 and self.trail[-1:] != [START]
        return [*self.trail, START] if begins else self.trail

    def _keys(self, at: Situation) -> list[Key | None]:
        """The contexts of the moment, one a kind; a question and the step after it share them."""
        if self._keys_at is not None and self._keys_at[0] is at:
            return self._keys_at[1]
        keys = self._contexts(at)
        self._keys_at = (at, keys)
        return keys

    def _contexts(self, at: Situation) -> list[Key | None]:
        trail, ranks = self._trail(at), self._ranks
        a, b, c, d = ([*reversed(trail[-4:])] + [None] * 4)[:4]
        r1, r2, r3, r4 = (ranks + [-1] * 4)[:4]
        back = (r1 == 1, r2 == 1, r3 == 1, r4 == 1)
        position = None if at.session_position is None else min(at.session_position, 3)
        third = None if at.hour is None else int(at.hour // 3)
        dwell = None if at.dwell_s is None else min(int(math.log2(max(at.dwell_s, 1.0)) / 2), 6)
        devices = None if at.microphone is None and at.camera is None else (bool(at.microphone), bool(at.camera))
        return [
            (r1, r2, r3), (r1, r2, r3, r4), back,
            (a,), (a, b), (a, b, c), (a, b, c, d),
            (b,), (b, c), (a, c), (min(str(a), str(b)), max(str(a), str(b))),
            (a, r1), (a, *back), (r1, r2, a),
            None if third is None else (third, (at.weekday or 0) >= 5),
            None if third is None else (third, a),
            None if dwell is None and position is None else (dwell, position, a),
            None if not at.mode else (at.mode,),
            None if not at.place else (at.place, a),
            None if devices is None else (devices, a),
            None if not at.file_type else (at.file_type,),
            _calendar_key(at),
        ]  # fmt: skip

    def _count(self, key: Key, what: object) -> None:
        counts = self._after.setdefault(key, {})
        for other in counts:
            counts[other] *= _FORGET
        counts[what] = counts.get(what, 0.0) + 1.0
        if len(counts) > _MOST_FOLLOWERS:
            del counts[min(counts, key=lambda one: (counts[one], str(one)))]

    def _follow(self, keys: Sequence[Key | None], app: AppId) -> None:
        for kind in range(_RANK_KINDS, _RANK_KINDS + 3):
            key = keys[kind]
            if key is None:
                continue
            latest = self._followers.setdefault((kind, *key), [])
            if app in latest:
                latest.remove(app)
            latest.insert(0, app)
            del latest[4:]

    def _bound(self) -> None:
        if len(self._after) <= _MOST_CONTEXTS:
            return
        latest_first = list(reversed(self._after))  # of contexts seen as often, those that are new stay
        latest_first.sort(key=lambda key: -sum(self._after[key].values()))
        kept = set(latest_first[: _MOST_CONTEXTS // 2])
        self._after = {key: counts for key, counts in self._after.items() if key in kept}
        self._followers = {key: latest for key, latest in self._followers.items() if key in self._after}

    def _fill_own(self, features: Floats, own: Sequence[AppId], keys: Sequence[Key | None]) -> None:
        size = len(own)
        counts = np.zeros((_KINDS, size), dtype=np.float32)
        wholes, widths = np.zeros(_KINDS, dtype=np.float32), np.zeros(_KINDS, dtype=np.float32)
        places: dict[object, int] = {app: index for index, app in enumerate(own)}
        ranks: dict[object, int] = {rank: rank for rank in range(size)}
        where: list[int] = []  # most contexts name few of the candidates: only those are set
        found: list[float] = []
        for kind, key in enumerate(keys):
            seen = None if key is None else self._after.get((kind, *key))
            if seen:
                column, get = kind * size, (ranks if kind < _RANK_KINDS else places).get
                for what, count in seen.items():
                    place = get(what)
                    if place is not None:
                        where.append(column + place)
                        found.append(count)
                wholes[kind], widths[kind] = sum(seen.values()), len(seen)
        counts.ravel()[where] = found
        blend = np.full(size, 1.0 / (size + 1), dtype=np.float32)
        for kind in range(_RANK_KINDS, _RANK_KINDS + _BLENDED):
            if wholes[kind] > 0:
                blend = (blend * widths[kind] + counts[kind]) / (wholes[kind] + widths[kind])
        prior = np.empty((_KINDS, size))
        prior[:_RANK_KINDS], prior[_RANK_KINDS:] = 1.0 / RECENT, blend
        known = wholes > 0
        smooth = (counts + 0.4 * prior) / (wholes[:, None] + 0.4)
        features[:, :_KINDS] = (np.log(np.maximum(smooth, _LEAST)) * known[:, None] * _SCALE).T
        features[:, _KINDS : 2 * _KINDS] = (counts / (counts + 1.0)).T
        features[:, 2 * _KINDS : 3 * _KINDS] = np.log1p(wholes)[None, :] * _SCALE
        features[:, BLEND_FEATURE] = np.log(np.maximum(blend, _LEAST)) * _SCALE
        uses = self._uses[[self._rows[a] for a in own]].astype(np.float32)
        at = BLEND_FEATURE + 3
        features[:, at : at + 3] = np.log(uses + 1e-3) * _SCALE
        times = np.array([self._times[a] for a in own], dtype=np.float32)
        features[:, at + 3] = np.log(times / self.count) * _SCALE
        ages = np.array([self.count - self._last[a] for a in own], dtype=np.float32)
        features[:, at + 4] = np.log(ages) * _SCALE
        features[:, at + 5] = 1.0 / times
        self._fill_followers(features, places, keys, at + 6)

    def _fill_followers(
        self, features: Floats, places: Mapping[object, int], keys: Sequence[Key | None], at: int
    ) -> None:
        for offset, kind in enumerate(range(_RANK_KINDS, _RANK_KINDS + 3)):
            key = keys[kind]
            latest = self._followers.get((kind, *key)) if key is not None else None
            for order, app in enumerate(latest or ()):
                if app in places:
                    features[places[app], at + 3 * offset + min(order, 2)] = 1.0

    def _fill_lent(self, features: Floats, apps: Sequence[AppId], lent: Lent) -> None:
        at = 3 * _KINDS + _BASE
        for group, shares in enumerate(lent.shares[:_GROUPS]):
            if shares:
                found = np.array([shares.get(a, 0.0) for a in apps], dtype=np.float32)
                features[:, at + 2 * group] = np.log(found + 1e-3) * _SCALE
                features[:, at + 2 * group + 1] = 1.0
        if lent.shares:
            unseen = features[:, BLEND_FEATURE] == 0.0
            everyone = np.array([lent.shares[0].get(a, 0.0) for a in apps], dtype=np.float32)
            features[unseen, BLEND_FEATURE] = np.log(np.maximum(everyone[unseen], 1e-4)) * _SCALE


def _calendar_key(at: Situation) -> Key | None:
    if at.calendar_minutes is None:
        return None
    near = -180.0 < at.calendar_minutes <= 15.0
    return (at.calendar_series or "", at.calendar_minutes <= 0) if near else ("far",)
