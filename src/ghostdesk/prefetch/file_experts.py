"""Simple predictors of the file that a person opens next with an application, each a distribution over known files.

Files stand as keys (`AppId`, so that the experts of applications serve for files as they are): a file keeps its key
when it is renamed. Most recent, Markov and PPM are those of `profiles.next_app`; what is added here is frequency that
fades with time, the hour and the day, and the folder of the file before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ghostdesk.kernel.ids import AppId
from ghostdesk.profiles.next_app.expert import Shares
from ghostdesk.profiles.situation import UNKNOWN, Situation

_HALF_LIFE_S = 14 * 86_400.0
_MOST_FILES = 512
_ESCAPE = 0.5
_BLOCK_HOURS = 3
_FORGET = 0.98


class Fading:
    """Most frequent, where what was opened `half_life_s` ago counts half (exponential forgetting).

    A share is left for files never seen, as escape method C has it, of counts that fade alike.
    """

    __slots__ = ("_at_s", "_counts", "_half_life_s", "_new")

    def __init__(self, half_life_s: float = _HALF_LIFE_S) -> None:
        self._half_life_s = half_life_s
        self._counts: Shares = {}
        self._new = _ESCAPE
        self._at_s = 0.0

    def shares(self, situation: Situation = UNKNOWN) -> Shares:  # noqa: ARG002 - the seam's signature
        """See `NextAppExpert.shares`."""
        whole = sum(self._counts.values()) + self._new
        return {key: count / whole for key, count in self._counts.items()} if self._counts else {}

    def learn(self, app: AppId, situation: Situation = UNKNOWN) -> None:
        """See `NextAppExpert.learn`."""
        now_s = self._at_s if situation.time_s is None else max(situation.time_s, self._at_s)
        fade = 0.5 ** ((now_s - self._at_s) / self._half_life_s) if self._counts else 1.0
        self._at_s = now_s
        if fade < 1.0:
            self._counts = {key: count * fade for key, count in self._counts.items()}
            self._new = max(self._new * fade, _ESCAPE)
        if app not in self._counts:
            self._new += 1.0
        self._counts[app] = self._counts.get(app, 0.0) + 1.0
        if len(self._counts) > _MOST_FILES:
            ranked = sorted(self._counts.items(), key=lambda item: (-item[1], item[0]))
            self._counts = {**dict(ranked[: _MOST_FILES // 2]), app: self._counts[app]}


class SameTime:
    """What is opened at this time of day and week: contexts of the hour (blocks of three) and the weekday.

    Where the moment is not known, or nothing was seen at such a moment yet, it says what `Fading` says.
    """

    __slots__ = ("_by_day", "_by_hour", "_ever")

    def __init__(self) -> None:
        self._ever = Fading()
        self._by_hour: dict[int, Fading] = {}
        self._by_day: dict[tuple[int, int], Fading] = {}

    def shares(self, situation: Situation = UNKNOWN) -> Shares:
        """See `NextAppExpert.shares`."""
        found = self._ever.shares(situation)
        if situation.hour is None:
            return found
        block = int(situation.hour // _BLOCK_HOURS)
        narrower = [self._by_hour.get(block), self._by_day.get((situation.weekday or 0, block))]
        for at in narrower:
            if at is not None:
                found = _backed_off(at.shares(situation), found)
        return found

    def learn(self, app: AppId, situation: Situation = UNKNOWN) -> None:
        """See `NextAppExpert.learn`."""
        self._ever.learn(app, situation)
        if situation.hour is not None:
            block = int(situation.hour // _BLOCK_HOURS)
            self._by_hour.setdefault(block, Fading()).learn(app, situation)
            self._by_day.setdefault((situation.weekday or 0, block), Fading()).learn(app, situation)


class SameFolder:
    """People stay in a folder: the files of the folder that was open last, by how often each was opened.

    Args:
        folder_of: the folder of a key, "" for one that is gone.
    """

    __slots__ = ("_ever", "_folder_of", "_last", "_stayed", "_steps")

    def __init__(self, folder_of: Callable[[AppId], str]) -> None:
        self._folder_of = folder_of
        self._ever = Fading()
        self._last: AppId | None = None
        self._stayed, self._steps = 1.0, 2.0

    def shares(self, situation: Situation = UNKNOWN) -> Shares:
        """See `NextAppExpert.shares`."""
        ever = self._ever.shares(situation)
        if self._last is None:
            return ever
        folder = self._folder_of(self._last)
        here = sum(share for key, share in ever.items() if self._folder_of(key) == folder)
        away = sum(ever.values()) - here
        stays = self._stayed / self._steps
        inside, outside = (stays / here if here else 0.0), ((1.0 - stays) / away if away else 0.0)
        known = sum(ever.values())
        return {
            key: share * known * (inside if self._folder_of(key) == folder else outside) for key, share in ever.items()
        }

    def learn(self, app: AppId, situation: Situation = UNKNOWN) -> None:
        """See `NextAppExpert.learn`."""
        if self._last is not None:
            same = self._folder_of(app) == self._folder_of(self._last)
            self._stayed, self._steps = _FORGET * self._stayed + same, _FORGET * self._steps + 1.0
        self._ever.learn(app, situation)
        self._last = app


def restricted(shares: Shares, to: Mapping[AppId, object]) -> Shares:
    """The shares of these alone, sharing out what the others had; nothing where none of these is known."""
    kept = {key: share for key, share in shares.items() if key in to}
    whole, all_of_it = sum(kept.values()), sum(shares.values())
    return {key: share * all_of_it / whole for key, share in kept.items()} if whole > 0 else {}


def _backed_off(longer: Shares, shorter: Shares) -> Shares:
    """The longer context's shares; what it leaves open goes by the shorter one (back-off: Katz 1987)."""
    left = max(1.0 - sum(longer.values()), 0.0)
    return {key: longer.get(key, 0.0) + left * shorter.get(key, 0.0) for key in {**shorter, **longer}}
