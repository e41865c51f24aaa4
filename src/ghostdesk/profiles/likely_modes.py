"""When each mode and place of a person is likely, and what a likely mode asks of their ghost.

Only people who defined modes or places are followed. Of each sign-in it is learnt which mode was chosen in the session
that began, or none; of a choice at which hour and place, and after which mode. While the place is not known, the
likely places are taken, each by its probability.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from ghostdesk.kernel.ids import AppId, UserId
from ghostdesk.kernel.resources import Resources
from ghostdesk.profiles.baselines.slots import WeekSlots, sane
from ghostdesk.profiles.forecast import MODE_LIKELY, ModeNeed, UsageCurve
from ghostdesk.profiles.habits import add_fading
from ghostdesk.profiles.location import ELSEWHERE, Place, PlaceLikelihood
from ghostdesk.profiles.modes import NO_MODE, Mode, ModeLikelihood
from ghostdesk.profiles.situation import Situation
from ghostdesk.telemetry.events import EventKind, UsageEvent

PRESENT_S = 12 * 3600.0
"""Where somebody was, or what they chose, counts as their present state for so long."""
LEARNT_FROM = (EventKind.SIGN_IN, EventKind.MODE, EventKind.PLACE, EventKind.FILE_OPENED, EventKind.APP_LAUNCH,
               EventKind.APP_FOCUS)  # fmt: skip
_APPS = (EventKind.APP_LAUNCH, EventKind.APP_FOCUS)
_FEWEST_CHOICES = 1.9
"""A mode that was chosen less than twice is not acted upon, however likely it would be (choices fade a little)."""
_HIGH = 0.1
"""A mode that is as likely raises what nine tenths of use stay below."""


@dataclass(frozen=True, slots=True)
class Likely:
    """A mode or a place of a person, and how likely it is at this hour.

    Args:
        name: what they call it.
        probability: that it is chosen (a mode), or that they are there (a place); 1 for what is so now.
        now: whether it is chosen, or they are there.
        reason: in words for them.
    """

    name: str
    probability: float
    now: bool
    reason: str


class _Person:
    """What is kept of one person beside the counts."""

    __slots__ = (
        "app",
        "kept",
        "mode",
        "mode_s",
        "modes",
        "openers",
        "place",
        "place_s",
        "places",
        "version",
        "waiting",
    )

    def __init__(self, modes: Sequence[Mode], places: Sequence[Place]) -> None:
        self.modes, self.places = tuple(modes), tuple(places)
        self.mode, self.mode_s = NO_MODE, float("-inf")
        self.place: str | None = None
        self.place_s = float("-inf")
        self.waiting: Situation | None = None
        """How the session began in which no mode was chosen yet."""
        self.app: AppId | None = None
        self.openers: dict[str, dict[AppId, float]] = {}
        self.version = 0
        self.kept: tuple[object, tuple[ModeNeed, ...]] = (None, ())


class LikelyModes:
    """Learns from events; see the module.

    Args:
        slots: tells local time.
    """

    def __init__(self, slots: WeekSlots) -> None:
        self._slots = slots
        self._people: dict[UserId, _Person] = {}
        self._modes, self._places = ModeLikelihood(), PlaceLikelihood()

    # What people defined.

    def define(self, modes: Mapping[UserId, Sequence[Mode]], places: Mapping[UserId, Sequence[Place]]) -> None:
        """Replace everyone's definitions; nothing is kept of whoever has none any more, or of what is none any more."""
        for user in self._people.keys() - (modes.keys() | places.keys()):
            self.forget(user)
        for user in modes.keys() | places.keys():
            self._define(user, modes.get(user, ()), places.get(user, ()))

    def tell(
        self,
        user: UserId,
        modes: Sequence[Mode],
        places: Sequence[Place],
        events: Iterable[UsageEvent],
        *,
        files: bool = False,
    ) -> None:
        """Learn one person anew: what they defined, and what happened, in order.

        With `files` it stays known which applications their files were opened with; the events do not tell it.
        """
        before = self._people.get(user)
        self.forget(user)
        if modes or places:
            self._define(user, modes, places)
            if files and before is not None:
                self._people[user].openers, self._people[user].app = before.openers, before.app
            for event in events:
                self.observe(event)

    def restart(self) -> None:
        """Forget what was learnt, keep what is defined."""
        self._modes, self._places = ModeLikelihood(), PlaceLikelihood()
        self._people = {user: _Person(one.modes, one.places) for user, one in self._people.items()}

    def forget(self, user: UserId) -> None:
        """Drop everything of a person, also what it lent to others."""
        self._people.pop(user, None)
        self._modes.forget(user)
        self._places.forget(user)

    def _define(self, user: UserId, modes: Sequence[Mode], places: Sequence[Place]) -> None:
        person = self._people.get(user)
        if person is None:
            self._people[user] = _Person(modes, places)
            return
        if person.modes == tuple(modes) and person.places == tuple(places):
            return
        for mode in {one.name for one in person.modes} - {one.name for one in modes}:
            self._modes.forget(user, mode)
            if person.mode == mode:
                person.mode = NO_MODE
        for place in {one.name for one in person.places} - {one.name for one in places}:
            self._places.forget(user, place)
            if person.place == place:
                person.place = None
        person.modes, person.places = tuple(modes), tuple(places)
        person.version += 1

    # Learning.

    def observe(self, event: UsageEvent) -> None:
        """Learn from one more event; what is older than the person's latest choice changes nothing."""
        person = self._people.get(event.user) if event.user is not None else None
        if person is None or event.user is None or event.kind not in LEARNT_FROM or not sane(event.time_s):
            return
        if event.kind in _APPS:
            person.app = event.app
        elif event.kind is EventKind.FILE_OPENED:
            if event.detail and person.app is not None:
                add_fading(person.openers.setdefault(event.detail, {}), person.app)
                person.version += 1
        elif event.time_s >= max(person.mode_s, person.place_s):
            {EventKind.SIGN_IN: self._came, EventKind.MODE: self._chose, EventKind.PLACE: self._went}[event.kind](
                event.user, person, event
            )
            person.version += 1

    def _came(self, user: UserId, person: _Person, event: UsageEvent) -> None:
        if not person.modes:
            return
        if person.waiting is not None:
            self._modes.observe(user, NO_MODE, person.waiting)
        at = self._situation(person, event.time_s)
        person.waiting = None if at.mode else at
        if at.mode:  # they go on in it
            self._modes.observe(user, at.mode, at)

    def _chose(self, user: UserId, person: _Person, event: UsageEvent) -> None:
        name = event.detail or NO_MODE
        if name:  # leaving one says when it ends, not when it begins
            self._modes.observe(user, name, self._situation(person, event.time_s))
        person.mode, person.mode_s = name, event.time_s
        person.waiting = None

    def _went(self, user: UserId, person: _Person, event: UsageEvent) -> None:
        name = event.detail or None
        person.place, person.place_s = name, event.time_s
        found = next((place for place in person.places if place.name == name), None)
        if name == ELSEWHERE and found is None:
            found = Place(ELSEWHERE, "travel")
        if found is not None:
            self._places.observe(user, found, self._situation(person, event.time_s))

    # Forecasting.

    def modes(self, user: UserId, now_s: float) -> tuple[Likely, ...]:
        """The person's modes, each with how likely it is to be chosen at this hour."""
        person = self._people.get(user)
        if person is None or not person.modes:
            return ()
        at = self._situation(person, now_s)
        shares = self._mode_shares(user, person, at)
        found = []
        for mode in person.modes:
            times = self._modes.choices(user, mode.name)
            # Nested circumstances tell the same choices again; the rule of succession bounds what they can tell.
            known, chosen = times >= _FEWEST_CHOICES, mode.name == at.mode
            share = min(shares[mode.name], (times + 1.0) / (times + 2.0)) if known else shares[mode.name]
            word = "likely" if share >= MODE_LIKELY else "possible"
            words = f"{mode.name} is {word} at this hour ({share:.0%})" if known else ""
            found.append(Likely(mode.name, share, chosen, f"{mode.name} is chosen" if chosen else words))
        return tuple(found)

    def places(self, user: UserId, now_s: float) -> tuple[Likely, ...]:
        """The person's places, each with how likely they are there at this hour."""
        person = self._people.get(user)
        if person is None or not person.places:
            return ()
        at = self._situation(person, now_s)
        shares = self._places.shares(user, person.places, at)
        found = []
        for place in person.places:
            here, share = place.name == at.place, shares[place.name]
            words = f"at {place.name}" if here else f"at {place.name} at this hour: {share:.0%}"
            found.append(Likely(place.name, share, here, words))
        return tuple(found)

    def needs(self, user: UserId, now_s: float) -> tuple[ModeNeed, ...]:
        """What the modes ask for, likeliest first: the one chosen alone, else those that were chosen before."""
        person = self._people.get(user)
        if person is None or not person.modes:
            return ()
        at = self._situation(person, now_s)
        key = (self._slots.number(now_s), person.version, at.mode, at.place)
        if person.kept[0] != key:
            found = [
                self._need(person, mode, one)
                for mode, one in zip(person.modes, self.modes(user, now_s), strict=True)
                if one.reason and (one.now or not at.mode)
            ]
            person.kept = (key, tuple(sorted(found, key=lambda need: (-need.probability, need.mode))))
        return person.kept[1]

    def raised(self, curve: UsageCurve) -> UsageCurve:
        """A person's curve with what their modes ask for on top."""
        needs = self.needs(curve.user, curve.start_s)
        if not needs:
            return curve
        usual, high = curve.resources.as_tuple(), curve.high.as_tuple()
        more = [0.0] * len(usual)
        for need in needs:
            asked = need.resources.as_tuple()
            more = [a + need.probability * max(b - c, 0.0) for a, b, c in zip(more, asked, usual, strict=True)]
            if need.probability >= _HIGH:
                high = tuple(map(max, high, asked))  # type: ignore[assignment]
        resources = Resources(*(a + b for a, b in zip(usual, more, strict=True)))
        reasons = (*curve.reasons, *(need.reason for need in needs if need.acts))
        return replace(curve, modes=needs, resources=resources, high=Resources(*high), reasons=reasons)

    # Inside.

    def _need(self, person: _Person, mode: Mode, likely: Likely) -> ModeNeed:
        opened_with = []
        for file_type in mode.file_types:
            counts = person.openers.get(file_type, {})
            if counts:
                opened_with.append(max(counts, key=lambda app: (counts[app], app)))
        apps = tuple(dict.fromkeys((*mode.apps, *opened_with)))
        probability = 1.0 if likely.now else likely.probability
        return ModeNeed(mode.name, probability, likely.now, apps, mode.file_types, mode.resources, likely.reason)

    def _situation(self, person: _Person, time_s: float) -> Situation:
        """Having chosen no mode is no evidence of its own: it would count what the hour tells a second time."""
        weekday, hour = self._slots.clock(time_s)
        return Situation(
            time_s=time_s,
            hour=hour,
            weekday=weekday,
            place=person.place if time_s - person.place_s < PRESENT_S else None,
            mode=(person.mode or None) if time_s - person.mode_s < PRESENT_S else None,
        )

    def _mode_shares(self, user: UserId, person: _Person, at: Situation) -> dict[str, float]:
        if at.place is not None or not person.places:
            return self._modes.shares(user, person.modes, at)
        total: dict[str, float] = {}
        for place, chance in self._places.shares(user, person.places, at).items():
            for mode, share in self._modes.shares(user, person.modes, replace(at, place=place)).items():
                total[mode] = total.get(mode, 0.0) + chance * share
        return total
