"""Which files a person opens next, and with which probability in this session: an online mixture, calibrated.

Each expert gives a distribution over the next file that an application opens. Their mixture by Bayes' rule with fixed
share (Herbster and Warmuth 1998; see `profiles.next_app.mixture`) gives q, the probability that a file comes next.
A file is worth loading if it is opened at all while it stays loaded, so what counts is the probability that it is
opened in the session: 1 - (1 - q)^n with n, the openings that such sessions had, calibrated by logistic regression on
what came of earlier forecasts (Platt 1999).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, tzinfo

import numpy as np

from ghostdesk.kernel.ids import AppId
from ghostdesk.prefetch.file_experts import Fading, SameFolder, SameTime, restricted
from ghostdesk.prefetch.file_history import (
    FileEvent,
    FileHistory,
    FileOpened,
    FileRemoved,
    FileRenamed,
    renamed,
    within,
)
from ghostdesk.profiles.arrivals.online_logistic import OnlineLogistic
from ghostdesk.profiles.next_app.expert import NextAppExpert, Shares
from ghostdesk.profiles.next_app.markov import Markov
from ghostdesk.profiles.next_app.mixture import reweighed
from ghostdesk.profiles.next_app.most_recent import MostRecent
from ghostdesk.profiles.next_app.ppm import PpmRecencyExpert
from ghostdesk.profiles.situation import Situation

SESSION_GAP_S = 1800.0
"""A person who opened nothing for so long begins a new session, as far as files are concerned."""
_CANDIDATES = 48
_NO_CHANCES: Mapping[AppId, float] = {}
_JUDGED = 400
_LEAST = 1e-4
_MOST = 1.0 - 1e-4
_CALIBRATION_PRIOR = 30.0
_REASONS = {
    "most recent": ("recent-file", "opened lately"),
    "most frequent": ("frequent-file", "opened often"),
    "what follows": ("follows", "usually opened after the file before"),
    "PPM-3 + recency": ("pattern", "part of a usual order of files"),
    "same time": ("same-hour", "usually opened at this time"),
    "same folder": ("same-folder", "in the folder that is worked in"),
}
EXPERTS = tuple(_REASONS)


@dataclass(frozen=True, slots=True)
class LikelyFile:
    """A file that may be opened in this session.

    Args:
        path: relative to the home.
        app: the application that would open it.
        probability: that it is opened while this session lasts.
        size_bytes: when it was opened last.
        code, why: the reason, without any name.
    """

    path: str
    app: AppId
    probability: float
    size_bytes: int
    code: str
    why: str


@dataclass
class _OfApp:
    """What is known of one application's files."""

    experts: dict[str, NextAppExpert]
    known: dict[AppId, None] = field(default_factory=dict)
    opens_a_session: float = 2.0
    """Different files in a session in which it opened any; a running mean."""
    in_sessions: float = 0.5
    """In this share of the sessions it opened any; a running mean."""


@dataclass
class _Asked:
    """A forecast that waits for its session's end, to be learnt from."""

    probabilities: dict[AppId, float]
    opened_before: frozenset[AppId]


class NextFiles:
    """One person's model. Teach it with `apply`, in the order of time; ask it with `likely`.

    Args:
        zone: of the person's clock.
    """

    def __init__(self, zone: tzinfo) -> None:
        self._zone = zone
        self._paths: dict[AppId, str] = {}
        self._keys: dict[str, AppId] = {}
        self._next = 0
        self._sizes: dict[AppId, int] = {}
        self._apps: dict[AppId, _OfApp] = {}
        self._follows = Markov(2)
        self._weights = {name: 1.0 / len(EXPERTS) for name in EXPERTS}
        self._calibrations = {kind: _calibration() for kind in ("session", "launch")}
        self._session: dict[AppId, dict[AppId, None]] = {}
        self._asked: dict[str, list[_Asked]] = {"session": [], "launch": []}
        self._last_s = float("-inf")

    @classmethod
    def of(cls, history: FileHistory, zone: tzinfo) -> NextFiles:
        """Learnt from a history, oldest first; by the latest few hundred openings the experts are judged, too."""
        model = cls(zone)
        early = max(len(history.opens) - _JUDGED, 0)
        for place, one in enumerate(history.opens):
            model._learn(one, judged=place >= early)
        return model

    def apply(self, event: FileEvent) -> None:
        """Learn from an opening; follow a renaming or a removal."""
        if isinstance(event, FileOpened):
            self._learn(event)
        elif isinstance(event, FileRenamed):
            for key, path in list(self._paths.items()):
                if within(path, event.path):
                    self._name(key, renamed(path, event))
        elif isinstance(event, FileRemoved):
            for path in [path for path in self._keys if within(path, event.path)]:
                self._forget(self._keys[path])

    def end_session(self) -> None:
        """The desktop in which files were opened is gone: what was opened in it counts as any other file again."""
        self._end_session()
        self._last_s = float("-inf")

    def knows(self, path: str) -> bool:
        """Whether this file, or one in this folder, was ever opened."""
        return path in self._keys or any(within(known, path) for known in self._keys)

    def likely(
        self, now_s: float, app: AppId | None = None, chances: Mapping[AppId, float] = _NO_CHANCES
    ) -> tuple[LikelyFile, ...]:
        """Files that may be opened in this session, likeliest first; those opened in it already are not listed.

        Args:
            app: the application that is being started; without, all that the person opens files with count as often as
                they do so.
            chances: of applications to be used in this session, where more is known than how often they are.
        """
        at = self._situation(now_s)
        kind = "session" if app is None else "launch"
        asked = {one: max(of.in_sessions, min(chances.get(one, 0.0), 1.0)) for one, of in self._apps.items()}
        if app is not None:
            asked = {app: 1.0}
        opened = set() if self._begins(now_s) else {key for keys in self._session.values() for key in keys}
        found: dict[AppId, LikelyFile] = {}
        for one, chance in asked.items():
            for key, (probability, best) in self._in_session(one, at, kind, chance).items():
                if key in opened or (key in found and found[key].probability >= probability):
                    continue
                code, why = _REASONS[best]
                found[key] = LikelyFile(self._paths[key], one, probability, self._sizes[key], code, why)
        return tuple(sorted(found.values(), key=lambda one: (-one.probability, one.path)))

    # Inside.

    def _learn(self, event: FileOpened, *, judged: bool = True) -> None:
        at = self._situation(event.time_s)
        if self._begins(event.time_s):
            self._end_session()
            if judged:
                self._asked["session"].append(self._ask(at, None))
        self._last_s = max(event.time_s, self._last_s)
        key = self._keys.get(event.path) or self._new(event.path)
        of = self._of(event.app)
        if judged:
            if event.app not in self._session:
                self._asked["launch"].append(self._ask(at, event.app))
            opinions = self._opinions(of, at)
            self._weights = reweighed(self._weights, {name: shares.get(key, 0.0) for name, shares in opinions.items()})
        for expert in of.experts.values():
            expert.learn(key, at)
        self._follows.learn(key, at)
        of.known[key] = None
        self._sizes[key] = event.size_bytes
        self._session.setdefault(event.app, {})[key] = None

    def _situation(self, time_s: float) -> Situation:
        local = datetime.fromtimestamp(time_s, self._zone)
        return Situation(time_s=time_s, hour=local.hour + local.minute / 60.0, weekday=local.weekday())

    def _begins(self, time_s: float) -> bool:
        return time_s - self._last_s > SESSION_GAP_S

    def _of(self, app: AppId) -> _OfApp:
        if app not in self._apps:
            experts: dict[str, NextAppExpert] = {
                "most recent": MostRecent(),
                "most frequent": Fading(),
                "PPM-3 + recency": PpmRecencyExpert(),
                "same time": SameTime(),
                "same folder": SameFolder(lambda key: self._paths.get(key, "").rpartition("/")[0]),
            }
            self._apps[app] = _OfApp(experts)
        return self._apps[app]

    def _opinions(self, of: _OfApp, at: Situation) -> dict[str, Shares]:
        opinions = {name: expert.shares(at) for name, expert in of.experts.items()}
        opinions["what follows"] = restricted(self._follows.shares(at), of.known)
        return opinions

    def _next_shares(self, of: _OfApp, at: Situation) -> tuple[Shares, dict[AppId, str]]:
        """Each file's probability to be the application's next one, and the expert that says most of it."""
        total: Shares = {}
        most: dict[AppId, tuple[float, str]] = {}
        for name, shares in self._opinions(of, at).items():
            for key, share in shares.items():
                part = self._weights[name] * share
                total[key] = total.get(key, 0.0) + part
                if part > most.get(key, (0.0, ""))[0]:
                    most[key] = (part, name)
        there = (key for key in total if key in self._paths)
        kept = {key: total[key] for key in sorted(there, key=lambda key: (-total[key], key))[:_CANDIDATES]}
        return kept, {key: most[key][1] for key in kept if key in most}

    def _in_session(self, app: AppId, at: Situation, kind: str, chance: float) -> dict[AppId, tuple[float, str]]:
        of = self._apps.get(app)
        if of is None:
            return {}
        shares, best = self._next_shares(of, at)
        raw = {key: _sometime(share, of.opens_a_session) * chance for key, share in shares.items()}
        return {key: (p, best.get(key, "most recent")) for key, p in self._calibrated(raw, kind).items()}

    def _calibrated(self, raw: Mapping[AppId, float], kind: str) -> dict[AppId, float]:
        if not raw:
            return {}
        odds = _inputs(raw.values()) @ self._calibrations[kind].weights
        return dict(zip(raw, (1.0 / (1.0 + np.exp(-odds))).tolist(), strict=True))

    def _ask(self, at: Situation, app: AppId | None) -> _Asked:
        """The forecast before calibration, as `likely` would give it."""
        raw: dict[AppId, float] = {}
        for one, of in self._apps.items():
            if app is None or one == app:
                chance = of.in_sessions if app is None else 1.0
                for key, share in self._next_shares(of, at)[0].items():
                    raw[key] = max(raw.get(key, 0.0), _sometime(share, of.opens_a_session) * chance)
        opened = frozenset(key for keys in self._session.values() for key in keys)
        return _Asked({key: p for key, p in raw.items() if key not in opened}, opened)

    def _end_session(self) -> None:
        if not self._session:
            return
        opened = {key for keys in self._session.values() for key in keys}
        for kind, asked in self._asked.items():
            for one in asked:
                if one.probabilities:
                    happened = np.array([float(key in opened) for key in one.probabilities])
                    self._calibrations[kind].learn(_inputs(one.probabilities.values()), happened)
        for app, of in self._apps.items():
            files = self._session.get(app)
            of.in_sessions += 0.05 * (float(files is not None) - of.in_sessions)
            if files:
                of.opens_a_session += 0.1 * (len(files) - of.opens_a_session)
        self._session = {}
        self._asked = {"session": [], "launch": []}

    def _new(self, path: str) -> AppId:
        key = AppId(f"{self._next:07d}")
        self._next += 1
        self._name(key, path)
        return key

    def _name(self, key: AppId, path: str) -> None:
        """Give the file this name; what had the name before takes over no other."""
        old = self._paths.get(key)
        if old is not None:
            self._keys.pop(old, None)
        known = self._keys.get(path)
        if known is not None and known != key:
            # saved by renaming a new file onto the old: the old one's past is the file's, and the new one's is short
            self._paths.pop(key, None)
            self._sizes[known] = self._sizes.pop(key, self._sizes.get(known, 0))
            return
        self._paths[key], self._keys[path] = path, key

    def _forget(self, key: AppId) -> None:
        path = self._paths.pop(key, None)
        if path is not None:
            self._keys.pop(path, None)
        self._sizes.pop(key, None)


def _calibration() -> OnlineLogistic:
    return OnlineLogistic(np.array([0.0, 1.0]), precision=_CALIBRATION_PRIOR, half_life=300.0)


def _inputs(probabilities: Iterable[float]) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    p = np.clip(np.fromiter(probabilities, dtype=np.float64), _LEAST, _MOST)
    return np.stack((np.ones(len(p)), np.log(p / (1.0 - p))), axis=1)


def _sometime(share: float, times: float) -> float:
    """The probability that what has this chance each time happens at least once in so many times."""
    return -math.expm1(times * math.log1p(-min(share, _MOST)))
