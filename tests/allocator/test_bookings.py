"""Booked classes: what is taken, what is held when, for whom, and what will not fit."""

import math
from dataclasses import replace

import hypothesis.strategies as st
import pytest
from hypothesis import given

from ghostdesk.allocator.bookings import (
    MOST_DESKTOPS,
    Booking,
    BookingError,
    BookingLead,
    BookingRoom,
    Seat,
    booked_wish,
    check_booking,
    reserved_at,
    shortfalls,
)
from ghostdesk.kernel.ids import UserId
from ghostdesk.kernel.resources import GIB, Resources

HOUR_S = 3600.0
NOON_S = 1_800_000_000.0
LEAD = BookingLead(lead_s=300.0, each_s=5.0, hold_s=1800.0)
ADA, BEN, EVE = UserId("ada"), UserId("ben"), UserId("eve")
PHYSICS = Booking("physics 2b", NOON_S, NOON_S + HOUR_S, 4, department="physics", number=1)


def _seat(user: str, department: str = "", since_s: float = NOON_S) -> Seat:
    return Seat(UserId(user), department, since_s)


def test_desktops_are_held_from_the_lead_time_to_the_end() -> None:
    opens_s = NOON_S - 300.0 - 4 * 5.0
    for now_s, held in ((opens_s - 1, 0), (opens_s, 4), (NOON_S, 4), (NOON_S + HOUR_S - 1, 4), (NOON_S + HOUR_S, 0)):
        assert reserved_at([PHYSICS], now_s, LEAD).desktops == held, now_s


def test_whoever_of_the_class_has_a_desktop_takes_one_of_it_and_others_do_not() -> None:
    seats = [_seat("ada", "physics", 0.0), _seat("eve", "law")]
    reserved = reserved_at([PHYSICS], NOON_S, LEAD, seats)
    assert (reserved.desktops, reserved.seated) == (3, {ADA: PHYSICS})
    assert reserved.kept_from(EVE, "law").of_nobody == 3
    assert reserved.kept_from(EVE, "law").owners == {ADA}
    assert reserved.kept_from(BEN, "physics").of_nobody == 0


def test_nothing_is_kept_from_others_once_the_class_is_late() -> None:
    reserved = reserved_at([PHYSICS], NOON_S + LEAD.hold_s, LEAD)
    assert reserved.desktops == 4, "they are held ready"
    assert reserved.kept_from(EVE, "law").of_nobody == 0, "and anybody may take one"


def test_a_booking_for_anybody_is_taken_by_those_who_come_after_it_opened() -> None:
    tour = replace(PHYSICS, department="", name="open day", number=2)
    seats = [_seat("old", since_s=NOON_S - 7200), _seat("new", since_s=NOON_S - 10)]
    reserved = reserved_at([tour], NOON_S, LEAD, seats)
    assert (reserved.desktops, set(reserved.seated)) == (3, {UserId("new")})
    assert reserved.kept_from(EVE, "").of_nobody == 0


def test_a_person_in_two_bookings_at_once_takes_one_desktop() -> None:
    named = Booking("exam", NOON_S, NOON_S + 2 * HOUR_S, 2, users=frozenset({ADA, BEN}), number=2)
    reserved = reserved_at([PHYSICS, named], NOON_S, LEAD, [_seat("ada", "physics")])
    assert reserved.seated == {ADA: named}, "the one that names them"
    assert reserved.desktops == 4 + 1


bookings = st.builds(
    Booking,
    st.sampled_from(("a", "b", "c")),
    st.integers(-5, 5).map(lambda h: NOON_S + h * HOUR_S),
    st.integers(6, 9).map(lambda h: NOON_S + h * HOUR_S),
    st.integers(1, 6),
    st.sampled_from(("", "law", "physics")),
    number=st.integers(1, 99),
)
named = st.builds(
    lambda booking, users: replace(booking, department="", users=users),
    bookings,
    st.frozensets(st.sampled_from((ADA, BEN, EVE)), min_size=1),
)
seats = st.lists(
    st.builds(
        Seat,
        st.sampled_from([UserId(u) for u in ("ada", "ben", "eve", "ian", "joe", "kim")]),
        st.sampled_from(("", "law", "physics")),
        st.integers(-9, 9).map(lambda h: NOON_S + h * HOUR_S),
    ),
    max_size=12,
)


@given(st.lists(bookings | named, max_size=6), seats, st.integers(-9, 9))
def test_nobody_is_counted_twice_and_no_booking_holds_more_than_it_asked_for(
    booked: list[Booking], sitting: list[Seat], hour: int
) -> None:
    now_s = NOON_S + hour * HOUR_S
    reserved = reserved_at(booked, now_s, LEAD, sitting)
    assert all(hold.taken + hold.left == hold.booking.desktops for hold in reserved.holds)
    assert all(LEAD.opens_s(h.booking) <= now_s < h.booking.end_s for h in reserved.holds)
    assert sum(hold.taken for hold in reserved.holds) == len(reserved.seated) <= len({s.user for s in sitting})
    for user, booking in reserved.seated.items():
        assert booking.open_to_all or any(booking.includes(user, s.department) for s in sitting if s.user == user)


def test_what_the_machine_has_not_is_listed_with_how_many_are_short_and_why() -> None:
    chess = replace(PHYSICS, name="chess", department="", desktops=3, start_s=NOON_S + 60, number=2)
    late = replace(chess, name="late", start_s=NOON_S + HOUR_S, end_s=NOON_S + 2 * HOUR_S, number=3)
    (short,) = shortfalls([late, chess, PHYSICS], BookingRoom(desktops=5), 0.0)
    assert (short.wish, short.resource, short.asked, short.free) == ("3 desktops for chess", "desktops", 3, 1)
    assert short.reason.text == "2 short: the ceiling is 5 desktops beside 4 booked by others"


def test_every_resource_counts_and_the_one_that_ends_first_is_named() -> None:
    room = BookingRoom(100, Resources(cpu_cores=8, memory_bytes=8 * GIB, gpu_share=0.0), Resources(1.0, GIB))
    assert shortfalls([replace(PHYSICS, desktops=8)], room, 0.0) == ()
    heavy = replace(PHYSICS, desktops=5, each=Resources(cpu_cores=2.0))
    (short,) = shortfalls([heavy], room, 0.0)
    assert (short.resource, short.free, short.reason.code) == ("cpu_cores", 4, "booking-resource")
    (no_gpu,) = shortfalls([replace(PHYSICS, each=Resources(gpu_share=0.5))], room, 0.0)
    assert (no_gpu.resource, no_gpu.free) == ("gpu_share", 0)
    quota = replace(room, departments={"physics": 3})
    (by_quota,) = shortfalls([PHYSICS], quota, 0.0)
    assert (by_quota.free, by_quota.reason.text) == (3, "1 short: the quota of physics is 3 desktops")


@given(st.lists(bookings, max_size=8), st.integers(0, 12))
def test_what_is_granted_to_bookings_never_exceeds_the_ceiling_at_any_moment(
    booked: list[Booking], ceiling: int
) -> None:
    booked = [replace(b, name=f"{b.name}{row}", number=row) for row, b in enumerate(booked)]
    short = {entry.wish: entry for entry in shortfalls(booked, BookingRoom(ceiling), 0.0)}
    granted = {}
    for booking in booked:
        entry = short.get(booked_wish(booking))
        granted[booking.number] = booking.desktops if entry is None else entry.free
        assert entry is None or (entry.reason.text and entry.asked > entry.free >= 0)
    for moment in {b.start_s for b in booked}:
        held = sum(granted[b.number] for b in booked if b.start_s <= moment < b.end_s)
        assert held <= ceiling


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ({"start_s": NOON_S + HOUR_S, "end_s": NOON_S}, "ends before it starts"),
        ({"end_s": NOON_S}, "ends before it starts"),
        ({"start_s": NOON_S - 9e5, "end_s": NOON_S - 8e5}, "is over already"),
        ({"start_s": math.nan}, "are no times"),
        ({"end_s": math.inf}, "are no times"),
        ({"end_s": NOON_S + 40 * 86_400}, "lasts 40 days"),
        ({"start_s": NOON_S + 1000 * 86_400, "end_s": NOON_S + 1000 * 86_400 + 9}, "two years ahead"),
        ({"desktops": 0}, "0 desktops cannot"),
        ({"desktops": -3}, "-3 desktops cannot"),
        ({"desktops": 1_000_000}, "1000000 desktops cannot"),
        ({"name": " "}, "is no name"),
        ({"name": "x" * 81}, "is no name"),
        ({"name": "a\x1b[2J"}, "is no name"),
        ({"users": frozenset({ADA})}, "not for both"),
        ({"department": "", "desktops": 1, "users": frozenset({ADA, BEN})}, "2 people are named for 1"),
        ({"each": Resources(cpu_cores=-1.0)}, "negative or no number"),
        ({"each": Resources(memory_bytes=math.inf)}, "negative or no number"),
    ],
)
def test_a_booking_that_cannot_be_is_refused_with_cause_and_mend(change: dict[str, object], cause: str) -> None:
    with pytest.raises(BookingError, match=cause) as caught:
        check_booking(replace(PHYSICS, **change), NOON_S - HOUR_S)  # type: ignore[arg-type]
    assert caught.value.mend


def test_a_booking_that_runs_already_is_taken_and_the_largest_is_too() -> None:
    assert check_booking(PHYSICS, NOON_S + 60) is PHYSICS
    assert check_booking(replace(PHYSICS, desktops=MOST_DESKTOPS), NOON_S).desktops == MOST_DESKTOPS


def test_the_same_class_twice_at_the_same_time_is_refused_and_names_the_first() -> None:
    again = replace(PHYSICS, start_s=NOON_S + 60, number=0)
    with pytest.raises(BookingError, match=r"overlaps \(number 1\)") as caught:
        check_booking(again, NOON_S - 60, [PHYSICS])
    assert "reserve remove 1" in caught.value.mend
    check_booking(replace(again, start_s=PHYSICS.end_s, end_s=PHYSICS.end_s + 60), NOON_S, [PHYSICS])
    check_booking(replace(again, name="another"), NOON_S, [PHYSICS])
