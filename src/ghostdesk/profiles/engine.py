"""The User Profile Engine: learns from events, and answers what each user and everyone together will need.

What odd input does: events from before 1970 or after 2100 are ignored; so are events more than a day ahead of the
latest time that `fit` or a forecast was asked for, as one wrong clock would otherwise age everybody's habits. Events
that come late are set where they belong in the table of arrivals; in the models of sessions and applications they are
ignored. An unknown user gets everyone's forecast, and with no history at all a flat one.

Learning event by event gives the same arrivals as `fit` on the same events in order. Of a long past, `fit` takes each
user's last three hundred applications, and judges the experts by the last fifty. `ghostdesk bench forecast`
measures cost.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ghostdesk.kernel.ids import AppId, UserId
from ghostdesk.kernel.resources import Resources
from ghostdesk.profiles.arrivals.live import Adjust, ArrivalForecasts
from ghostdesk.profiles.arrivals.seam import Floats
from ghostdesk.profiles.arrivals.trained_blend import TrainedHazards
from ghostdesk.profiles.baselines.hour_of_week import Outlook
from ghostdesk.profiles.baselines.sessions import ACTIVITY
from ghostdesk.profiles.baselines.slots import EARLIEST_S, LATEST_S, WeekSlots, sane
from ghostdesk.profiles.desktop_needs import DesktopNeeds, Doubles
from ghostdesk.profiles.diary import Diary
from ghostdesk.profiles.forecast import ArrivalCurve, LaunchProbability, UsageCurve
from ghostdesk.profiles.forecast_watch import ArrivalHealth, ArrivalWatch, NextAppHealth
from ghostdesk.profiles.likely_modes import LikelyModes
from ghostdesk.profiles.location import Place
from ghostdesk.profiles.modes import Mode
from ghostdesk.profiles.next_app.forecasts import NextAppForecasts
from ghostdesk.profiles.next_app.pool import Attributes
from ghostdesk.profiles.reasons import app_reason, arrival_reason
from ghostdesk.profiles.refit import APP_EVENTS, RECALLED, OnJudged, Refit, TrainedExperts
from ghostdesk.profiles.resource_curves.model import CurveModel
from ghostdesk.profiles.situation import Situation
from ghostdesk.telemetry.calendars.entries import BusyTime
from ghostdesk.telemetry.events import UsageEvent
from ghostdesk.telemetry.history import History

_TOO_FAR_AHEAD_S = 86_400.0
_APPS = 8
_HALF_HOUR_S = 1800
_NEAR_S = 1800.0
"""How fast the next application gives way to what the user uses at all, as slots lie further ahead."""


@dataclass(frozen=True, slots=True)
class _Tick:
    """All users' curves at one moment; the last row is a newcomer's."""

    now_s: float
    changes: int
    numbers: tuple[int, ...]
    outlook: Outlook


class UserProfileEngine:
    """A `ProfileEngine`: arrivals and applications by a mixture of experts each, resources by hourly curves.

    Args:
        timezone: IANA name of the zone in which the users live; raises `ConfigError` when unknown.
        horizon_s: how far each user's curve reaches.
        slot_s: length of its slots.
        trained: makes one person's experts from trained models, by their names; none without a model.
        curve_models: trained models of the usage curves by resource.
        judged: told what each step of the next application cost.
    """

    def __init__(
        self,
        timezone: str = "UTC",
        horizon_s: float = 7200.0,
        slot_s: float = 300.0,
        trained: TrainedExperts = dict,
        curve_models: Mapping[str, CurveModel] | None = None,
        judged: OnJudged = lambda _step: None,
    ) -> None:
        if not (slot_s > 0 and slot_s <= horizon_s <= 7 * 86_400):
            raise ValueError(f"a horizon of {horizon_s} s in slots of {slot_s} s: 0 < slot <= horizon <= one week")
        self._timezone = timezone
        self._horizon_s = horizon_s
        self._slot_s = slot_s
        self._latest_s: float | None = None
        self._attributes: dict[UserId, Attributes] = {}
        self._trained, self._judged = trained, judged
        self._refit: Refit | None = None
        self._curve_models = dict(curve_models or {})
        self._diary = Diary()
        self.ways = LikelyModes(WeekSlots(timezone, _HALF_HOUR_S))
        """People's modes and places."""
        self._forget_all()

    def fit(self, history: History, now_s: float) -> None:
        """Learn from a history, from nothing. Events later than a day after `now_s` are ignored."""
        self._forget_all()
        self._latest_s = _clamped(now_s)
        left = Counter(event.user for event in history if event.kind in APP_EVENTS)
        for event in history:
            self._observe(event, left[event.user])
            if event.kind in APP_EVENTS:
                left[event.user] -= 1

    def set_attributes(self, attributes: Mapping[UserId, Attributes]) -> None:
        """What the operator says of people: whoever is alike lends their habits to those who are new."""
        self._attributes = dict(attributes)
        self._apps.set_attributes(self._attributes)

    def set_calendars(self, personal: Mapping[UserId, Sequence[BusyTime]], everyone: Sequence[BusyTime]) -> None:
        """Replace what calendars say: of each person who opted in, and holidays and terms of everyone."""
        self._diary.set(personal, everyone)
        self._changes += 1

    def set_ways(self, modes: Mapping[UserId, Sequence[Mode]], places: Mapping[UserId, Sequence[Place]]) -> None:
        """Replace everyone's definitions of modes and places: of those who agree that they are used."""
        self.ways.define(modes, places)

    def forget(self, user: UserId) -> None:
        """Drop everything that is held of this person, also what they lent to others."""
        if self._refit is not None:
            self._refit.spoiled = True
        self._diary.forget(user)
        self.ways.forget(user)
        self._arrivals.forget(user)
        self._apps.forget(user)
        self._needs.forget(user)
        self._attributes.pop(user, None)
        self._app_cache.pop(user, None)
        self._reason_cache.pop(user, None)
        self._changes += 1

    def observe(self, event: UsageEvent) -> None:
        """Learn from one more event."""
        user = event.user
        away = user is not None and event.kind in ACTIVITY and not self._arrivals.there_now(user, event.time_s)
        if self._observe(event, 0) and away:
            self._arrival_watch.arrived(self._arrivals.slots.number(event.time_s))

    def begin_refit(self, trained: TrainedExperts, judged: OnJudged = lambda _step: None) -> Refit:
        """Begin to learn the next application anew for another trained model; what is in use goes on meanwhile."""
        self._refit = Refit(self._new_apps(trained, judged), trained, judged)
        return self._refit

    def adopt(self, refit: Refit) -> bool:
        """Put what was learnt anew in the place of what is in use; False when it was overtaken, or tells of somebody
        who was forgotten meanwhile."""
        if refit is not self._refit:
            return False
        self._refit = None
        if refit.spoiled:
            return False
        refit.forecasts.set_attributes(self._attributes)
        refit.catch_up()
        self._apps, self._trained, self._judged = refit.forecasts, refit.trained, refit.judged
        self._needs.other_near()
        self._app_cache.clear()
        self._reason_cache.clear()
        self._changes += 1
        return True

    def use_curves(self, models: Mapping[str, CurveModel]) -> None:
        """Serve other trained models of the usage curves from now on."""
        self._curve_models = dict(models)
        self._needs.use(self._curve_models)

    def health(self) -> tuple[NextAppHealth, ArrivalHealth]:
        """Whether the forecasts come true as they did before."""
        return self._apps.watch.health(), self._arrival_watch.health()

    def _observe(self, event: UsageEvent, apps_after: int) -> bool:
        """`apps_after` is how many of the user's applications are known to follow. False: its time cannot be."""
        if not sane(event.time_s):
            return False
        if self._latest_s is not None and event.time_s > self._latest_s + _TOO_FAR_AHEAD_S:
            return False
        self._arrivals.observe(event)
        if apps_after <= RECALLED:
            self._apps.observe(event, apps_after=apps_after)
        self.ways.observe(event)
        if self._refit is not None:
            self._refit.note(event)
        self._needs.observe(event)
        self._changes += 1
        return True

    def users(self) -> tuple[UserId, ...]:
        """Everyone named in an event."""
        return self._arrivals.users()

    def predict_resource_needs(self, user: UserId, now_s: float) -> UsageCurve:
        """The user's curve from now on. Never raises: an unknown user gets everyone's."""
        now_s = self._moved_to(now_s)
        tick = self._tick(now_s)
        row = self._arrivals.row(user)
        index = -1 if row is None else row
        arrival = tick.outlook.arrival[index].tolist()
        apps = self._apps_of(user, now_s)
        usual, high = self._needs.usual_and_high(user, now_s)
        curve = UsageCurve(
            user,
            now_s,
            self._slot_s,
            arrival=tuple(arrival),
            presence=tuple(tick.outlook.presence[index].tolist()),
            apps=apps,
            resources=usual,
            high=high,
            reasons=self._reasons(user, now_s, tick.numbers[arrival.index(max(arrival))], apps),
        )
        return self.ways.raised(curve)

    def usage_curve(self, user: UserId, now_s: float, horizon_s: float, slot_s: float) -> UsageCurve:
        """The user's curve over any window from one slot to a week, with applications and resources slot by slot."""
        now_s = self._moved_to(now_s)
        slot_s = min(max(slot_s, 60.0), 86_400.0)
        horizon_s = min(max(horizon_s, slot_s), 7 * 86_400.0)
        outlook = self._arrivals.outlook_of(user, now_s, horizon_s, slot_s, self._adjust())
        presence = tuple(outlook.presence[0].tolist())
        return replace(
            self.predict_resource_needs(user, now_s),
            slot_s=slot_s,
            arrival=tuple(outlook.arrival[0].tolist()),
            presence=presence,
            in_use=self._in_use(user, now_s, presence, slot_s),
            launch_within=self._apps.launch_within(user, now_s, [slot_s * (at + 1) for at in range(len(presence))])
            if self._arrivals.there_now(user, now_s)
            else (),
            quantiles=self._needs.quantiles(user, now_s, horizon_s, slot_s),
        )

    def _adjust(self) -> Adjust | None:
        """What calendars change, where any is known."""
        return self._diary.adjust if self._diary.known() else None

    def _learn_calendars(self, now_s: float) -> None:
        """Once a half hour, from those who were not there."""

        def hazard(user: UserId) -> float | None:
            if self._arrivals.there_now(user, now_s):
                return None
            return self._arrivals.predict(user, now_s, _HALF_HOUR_S, _HALF_HOUR_S).expected[0]

        self._diary.learn(self._arrivals.slots.number(now_s), now_s, _HALF_HOUR_S, hazard, self._arrivals.came)

    def _surroundings(self, user: UserId, situation: Situation) -> Situation:
        """What the calendar and the operator say of a person."""
        attributes = self._attributes.get(user)
        if attributes is not None:
            situation = replace(
                situation, job_role=attributes.job_role or None, department=attributes.department or None
            )
        return self._diary.around(user, situation)

    def _in_use(
        self, user: UserId, now_s: float, presence: tuple[float, ...], slot_s: float
    ) -> dict[AppId, tuple[float, ...]]:
        """Chance of each likely application in each slot: first what comes next, then what is used at all."""
        near = {a.app: a.probability for a in self._apps_of(user, now_s)}
        far = self._apps.usage_shares(user)
        apps = sorted({*near, *far}, key=lambda a: (-max(near.get(a, 0.0), far.get(a, 0.0)), a))[:_APPS]
        fades = [math.exp(-(step + 0.5) * slot_s / _NEAR_S) for step in range(len(presence))]
        return {
            app: tuple(
                p * (fade * near.get(app, 0.0) + (1.0 - fade) * far.get(app, 0.0))
                for p, fade in zip(presence, fades, strict=True)
            )
            for app in apps
        }

    def outlook(self, now_s: float) -> Outlook:
        """Everyone's chances over the horizon as arrays, one row a user in the order of `users`, a newcomer's last."""
        return self._arrivals.outlook(self._moved_to(now_s), self._horizon_s, self._slot_s, self._adjust())

    def hot_bytes(self) -> int:
        """Bytes of the arrays that every tick reads; what is kept of active people beside them is not in it."""
        return self._arrivals.hot_bytes()

    def predict_arrivals(self, now_s: float, horizon_s: float) -> ArrivalCurve:
        """Sign-ins of everyone together, in slots of `slot_s`; the horizon is cut to between one slot and one week."""
        now_s = self._moved_to(now_s)
        horizon_s = min(max(horizon_s, self._slot_s), 7 * 86_400.0)
        return self._arrivals.predict(None, now_s, horizon_s, self._slot_s)

    def resource_quantile(self, user: UserId, share: float) -> Resources:
        """The amounts that the user's desktop stays at or below for `share` of the time."""
        return self._needs.quantile(user, share)

    def _forget_all(self) -> None:
        self._arrivals = ArrivalForecasts(self._timezone, trained=self._trained_arrivals)
        self._arrival_watch = ArrivalWatch()
        self.ways.restart()
        self._apps = self._new_apps(self._trained, self._judged)
        self._refit = None
        self._needs = DesktopNeeds(self._curve_models, self._near_resources)
        self._latest_s = None
        self._changes = 0
        self._last_tick: _Tick | None = None
        self._app_cache: dict[UserId, tuple[object, tuple[LaunchProbability, ...]]] = {}
        self._reason_cache: dict[UserId, tuple[object, str]] = {}

    def _new_apps(self, trained: TrainedExperts, judged: OnJudged) -> NextAppForecasts:
        made = NextAppForecasts(self._arrivals.slots, trained=trained, around=self._surroundings, judged=judged)
        made.set_attributes(self._attributes)
        return made

    def _near_resources(self, user: UserId, now_s: float) -> Doubles | None:
        """As the forecasts in use say it: they may be swapped."""
        return self._apps.near_resources(user, now_s)

    def _trained_arrivals(self, begin_s: Floats, slot_s: float) -> TrainedHazards | None:
        """As the forecasts in use say it: they may be swapped."""
        return self._apps.trained_arrivals(begin_s, slot_s)

    def _watch_arrivals(self, now_s: float) -> None:
        """Once a half hour: what is expected of it."""
        slots = self._arrivals.slots
        slot = slots.number(now_s)
        if slot != self._arrival_watch.slot():
            left_s = max((1.0 - slots.fraction(now_s)) * _HALF_HOUR_S, 1.0)
            curve = self._arrivals.predict(None, now_s, left_s, left_s)
            self._arrival_watch.slot_begins(slot, curve.expected[0], curve.dispersion)

    def _moved_to(self, now_s: float) -> float:
        now_s = _clamped(now_s)
        self._latest_s = now_s if self._latest_s is None else max(self._latest_s, now_s)
        return now_s

    def _tick(self, now_s: float) -> _Tick:
        """Everyone's curves, computed once a moment: a tick asks for each user in turn."""
        tick = self._last_tick
        if tick is None or tick.now_s != now_s or tick.changes != self._changes:
            self._learn_calendars(now_s)
            self._watch_arrivals(now_s)
            numbers, _ = self._arrivals.slots.pieces(now_s, self._horizon_s, self._slot_s)
            middles = tuple(int(pieces[len(pieces) // 2]) for pieces in numbers)
            tick = _Tick(now_s, self._changes, middles, self.outlook(now_s))
            self._last_tick = tick
        return tick

    def _apps_of(self, user: UserId, now_s: float) -> tuple[LaunchProbability, ...]:
        """Next applications; whoever is not there is asked for the first of a session."""
        key = self._apps.version(user, now_s)
        kept = self._app_cache.get(user)
        if kept is None or kept[0] != key:
            kept = self._app_cache[user] = (key, tuple(self._apps.predict(user, now_s, _APPS)))
        return kept[1]

    def _reasons(self, user: UserId, now_s: float, number: int, apps: tuple[LaunchProbability, ...]) -> tuple[str, ...]:
        if self._arrivals.there_now(user, now_s):
            first = "is there now"
        else:
            key = (number, self._apps.version(user, now_s)[0])
            kept = self._reason_cache.get(user)
            if kept is None or kept[0] != key:
                words = arrival_reason(self._arrivals.slots, number, self._arrivals.habit(user, number))
                kept = self._reason_cache[user] = (key, words)
            first = kept[1]
        planned = self._diary.effect.explain(user, self._diary.features(user, now_s)) if self._diary.known() else ""
        return tuple(words for words in (first, planned, app_reason(apps)) if words)


def _clamped(now_s: float) -> float:
    return min(max(now_s, EARLIEST_S), LATEST_S) if now_s == now_s else EARLIEST_S  # noqa: PLR0124  (not a number)
