"""A microphone or camera that goes on tells what comes next: a call, a recording. Learnt from counts, per person.

The shares of a person are shrunk towards everyone's (see `habits`): whoever has never used a microphone here gets what
others turned to when theirs was on.
"""

from __future__ import annotations

from ghostdesk.kernel.ids import AppId, UserId
from ghostdesk.profiles.habits import HabitTable
from ghostdesk.profiles.next_app.expert import Shares
from ghostdesk.profiles.situation import UNKNOWN, Situation

_UNSEEN = "\0"
"""Stands for every application that was never seen with the signal; no application can have this id."""


class PeripheralSignals:
    """What people turn to while a microphone or camera is in use; one for all, `expert` gives each person theirs."""

    def __init__(self) -> None:
        self._habits = HabitTable()

    def expert(self, user: UserId) -> PeripheralExpert:
        """This person's `NextAppExpert`."""
        return PeripheralExpert(self, user)

    def observe(self, user: UserId, app: AppId, situation: Situation) -> None:
        """The person turned to `app`; without a signal nothing is learnt."""
        if (signal := signal_of(situation)) is not None:
            self._habits.learn(user, (signal,), app)

    def shares(self, user: UserId, situation: Situation) -> Shares:
        """Probability of each application while the signal is on; empty without a signal, or when nobody had it."""
        signal = signal_of(situation)
        if signal is None:
            return {}
        seen = self._habits.pool_choices(signal).keys() | self._habits.own_choices(user, signal).keys()
        if not seen:
            return {}
        choices = {name: name for name in (*sorted(seen), _UNSEEN)}
        shares = self._habits.shares(user, (signal,), choices)
        return {AppId(name): share for name, share in shares.items() if name != _UNSEEN}

    def forget(self, user: UserId) -> None:
        """Take out what came from this person."""
        self._habits.forget(user)


class PeripheralExpert:
    """One person's next application given a microphone or camera in use; says nothing while neither is."""

    def __init__(self, signals: PeripheralSignals, user: UserId) -> None:
        self._signals = signals
        self._user = user

    def shares(self, situation: Situation = UNKNOWN) -> Shares:
        """The forecast; empty without a signal."""
        return self._signals.shares(self._user, situation)

    def learn(self, app: AppId, situation: Situation = UNKNOWN) -> None:
        """The person turned to `app`."""
        self._signals.observe(self._user, app, situation)


def signal_of(situation: Situation) -> str | None:
    """Which of "microphone", "camera" or "both" is in use; None for neither, and for what is not known."""
    if situation.microphone and situation.camera:
        return "both"
    if situation.microphone:
        return "microphone"
    return "camera" if situation.camera else None
