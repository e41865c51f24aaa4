"""Modes of work that a person defined and picks: what each needs, and when each is likely."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ghostdesk.kernel.errors import ConfigError
from ghostdesk.kernel.ids import AppId, UserId
from ghostdesk.kernel.resources import NOTHING, Resources
from ghostdesk.profiles.habits import Circumstance, HabitTable, add_fading, times_of
from ghostdesk.profiles.location import checked_name
from ghostdesk.profiles.next_app.expert import Shares
from ghostdesk.profiles.situation import UNKNOWN, Situation

_MOST_APPS = 32
_MOST_FILE_TYPES = 32
NO_MODE = ""
"""Stands for having left a mode."""
_DEFINED_SHARE = 0.8
"""What the applications of a mode take together before anything was learnt: the definition may be out of date."""
_DEFINITION_STRENGTH = 4.0


@dataclass(frozen=True, slots=True)
class Mode:
    """A mode of work such as "video editing".

    Args:
        name: what its owner calls it.
        apps: applications that it needs, the most important first.
        file_types: MIME types that are opened in it.
        resources: what it takes; zero where its owner did not say.
    """

    name: str
    apps: tuple[AppId, ...] = ()
    file_types: tuple[str, ...] = ()
    resources: Resources = NOTHING

    def __post_init__(self) -> None:
        checked_name(self.name)
        if len(self.apps) > _MOST_APPS or len(self.file_types) > _MOST_FILE_TYPES:
            raise ConfigError(
                f"The mode {self.name!r} is too long.",
                f"Give {_MOST_APPS} applications and {_MOST_FILE_TYPES} file types at most.",
            )
        if len(set(self.apps)) < len(self.apps):
            raise ConfigError(f"The mode {self.name!r} names an application twice.", "Name each once.")
        if any(not 0 <= amount < float("inf") for amount in self.resources.as_tuple()):
            raise ConfigError(f"The mode {self.name!r} asks for less than nothing.", "Give amounts of 0 or more.")


class ModeLikelihood:
    """Learns when each mode of a person is likely: by hour of the week, place, and the mode before.

    The evidence of time, place and previous mode is taken together as if each were independent given the mode (naive
    Bayes, each with shares shrunk as in `habits`). Modes that several people call by the same name are pooled.
    """

    def __init__(self) -> None:
        self._habits = HabitTable()

    def observe(self, user: UserId, mode: str, situation: Situation) -> None:
        """The person chose `mode` (`NO_MODE`: left it). The situation's mode is the one before."""
        circumstances = (*times_of(situation), *(one for one in _around(situation) if one is not None))
        self._habits.learn(user, circumstances, mode, mode.casefold())

    def shares(self, user: UserId, modes: Sequence[Mode], situation: Situation) -> dict[str, float]:
        """Probability of each mode, and of `NO_MODE`, to be the next chosen; they sum to 1."""
        choices = {name: name.casefold() for name in (NO_MODE, *(mode.name for mode in modes))}
        always = times_of(situation)[:1]
        usual = self._habits.shares(user, always, choices)
        odds = self._habits.shares(user, times_of(situation), choices)
        for circumstance in _around(situation):
            if circumstance is not None:
                given = self._habits.shares(user, (*always, circumstance), choices)
                odds = {name: odds[name] * given[name] / usual[name] for name in odds}
        total = sum(odds.values())
        return {name: share / total for name, share in odds.items()}

    def choices(self, user: UserId, mode: str) -> float:
        """How often the person chose it, fading."""
        return self._habits.own_choices(user, "always").get(mode, 0.0)

    def forget(self, user: UserId, mode: str | None = None) -> None:
        """Take out what came from this person, or their choices of one mode."""
        if mode is None:
            self._habits.forget(user)
        else:
            self._habits.drop(user, mode, mode.casefold())


def _around(situation: Situation) -> tuple[Circumstance | None, ...]:
    place = None if situation.place is None else ("place", situation.place)
    return place, (None if situation.mode is None else ("after", situation.mode))


class ModePrior:
    """What a person's own definitions say of each mode, before anything was learnt of it.

    Args:
        modes: the person's.
    """

    def __init__(self, modes: Sequence[Mode]) -> None:
        self._modes = {mode.name: mode for mode in modes}

    def apps(self, mode: str) -> Shares:
        """Shares of the mode's applications, falling with their rank as 1, 1/2, 1/3 ...; empty for an unknown mode."""
        found = self._modes.get(mode)
        if found is None or not found.apps:
            return {}
        weights = [1.0 / rank for rank in range(1, len(found.apps) + 1)]
        scale = _DEFINED_SHARE / sum(weights)
        return {app: weight * scale for app, weight in zip(found.apps, weights, strict=True)}

    def resources(self, mode: str) -> Resources:
        """What the mode takes by its definition; nothing for an unknown mode."""
        found = self._modes.get(mode)
        return NOTHING if found is None else found.resources


class ModeExpert:
    """One person's next application given their chosen mode: the definition, moved by what they do in the mode.

    A `NextAppExpert`; it says nothing while no mode is chosen.
    """

    def __init__(self, prior: ModePrior) -> None:
        self.prior = prior
        self._counts: dict[str, dict[AppId, float]] = {}

    def shares(self, situation: Situation = UNKNOWN) -> Shares:
        """The forecast in the situation's mode."""
        if not situation.mode:
            return {}
        counts, defined = self._counts.get(situation.mode, {}), self.prior.apps(situation.mode)
        strength = _DEFINITION_STRENGTH if defined else 1.0
        total = sum(counts.values()) + strength
        apps = sorted(counts.keys() | defined.keys())
        return {app: (counts.get(app, 0.0) + strength * defined.get(app, 0.0)) / total for app in apps}

    def learn(self, app: AppId, situation: Situation = UNKNOWN) -> None:
        """The person turned to `app`."""
        if situation.mode and (situation.mode in self._counts or len(self._counts) < _MOST_APPS):
            add_fading(self._counts.setdefault(situation.mode, {}), app)
