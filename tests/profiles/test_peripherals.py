"""A microphone that goes on tells of a call, for its user first and for newcomers through everyone."""

import pytest

from ghostdesk.kernel.ids import AppId, UserId
from ghostdesk.profiles.next_app.expert import NextAppExpert
from ghostdesk.profiles.peripherals import PeripheralSignals
from ghostdesk.profiles.situation import Situation

ADA, BOB = UserId("ada"), UserId("bob")
MEET, OBS, EDITOR = AppId("meet"), AppId("obs"), AppId("editor")
SPEAKING, FILMED, QUIET = Situation(microphone=True), Situation(camera=True), Situation(microphone=False, camera=False)


def test_it_says_nothing_without_a_signal() -> None:
    signals = PeripheralSignals()
    expert: NextAppExpert = signals.expert(ADA)
    assert expert.shares(SPEAKING) == {}  # nobody ever spoke
    expert.learn(EDITOR, QUIET)
    expert.learn(EDITOR)
    assert expert.shares(SPEAKING) == expert.shares(QUIET) == expert.shares() == {}


def test_each_signal_has_its_own_applications() -> None:
    signals = PeripheralSignals()
    expert = signals.expert(ADA)
    for _ in range(10):
        expert.learn(MEET, SPEAKING)
        expert.learn(OBS, FILMED)
    assert expert.shares(SPEAKING)[MEET] > 0.8
    assert expert.shares(FILMED)[OBS] > 0.8
    assert OBS not in expert.shares(SPEAKING)
    assert expert.shares(Situation(microphone=True, camera=True)) == {}


def test_a_newcomer_gets_what_others_turn_to_and_room_is_left_for_the_unseen() -> None:
    signals = PeripheralSignals()
    for _ in range(30):
        signals.observe(BOB, MEET, SPEAKING)
    shares = signals.expert(ADA).shares(SPEAKING)
    assert 0.7 < shares[MEET] < 1
    for _ in range(10):
        signals.observe(ADA, OBS, SPEAKING)
    assert signals.shares(ADA, SPEAKING)[OBS] > 0.7
    assert sum(signals.shares(ADA, SPEAKING).values()) < 1


def test_whoever_is_forgotten_teaches_nobody() -> None:
    signals = PeripheralSignals()
    for _ in range(10):
        signals.observe(BOB, MEET, SPEAKING)
    signals.forget(BOB)
    assert signals.shares(ADA, SPEAKING) == signals.shares(BOB, SPEAKING) == {}


def test_a_million_signals_of_one_do_not_decide_for_all() -> None:
    signals = PeripheralSignals()
    for _ in range(3000):
        signals.observe(BOB, OBS, SPEAKING)
    for number in range(10):
        for _ in range(20):
            signals.observe(UserId(f"u{number}"), MEET, SPEAKING)
    shares = signals.shares(ADA, SPEAKING)
    assert shares[MEET] > 2 * shares[OBS]
    assert shares[OBS] == pytest.approx(50 / (50 + 10 * 16.6 + 10), rel=0.2)
