"""Tickets: once, soon, and for whom they were made."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, rule

from ghostdesk.kernel.ids import GhostId, UserId
from ghostdesk.server.tickets import TicketOffice

USERS = st.sampled_from([UserId("ada"), UserId("ben")])
SESSIONS = st.sampled_from([b"one", b"two"])


class Tickets(RuleBasedStateMachine):
    """Against a model: a ticket is honoured once, in time, for its own user and session."""

    given_out = Bundle("given_out")

    def __init__(self) -> None:
        super().__init__()
        self.office = TicketOffice(life_s=20.0, per_user=1000)
        self.now_s = 0.0
        self.good: dict[str, tuple[UserId, bytes, GhostId, float]] = {}

    @rule(target=given_out, user=USERS, session=SESSIONS, number=st.integers(0, 9))
    def issue(self, user: UserId, session: bytes, number: int) -> str:
        ghost = GhostId(f"g{number}")
        secret = self.office.issue(user, ghost, number, session, self.now_s)
        self.good[secret] = (user, session, ghost, self.now_s + 20.0)
        return secret

    @rule(duration_s=st.floats(0.0, 15.0))
    def wait(self, duration_s: float) -> None:
        self.now_s += duration_s

    @rule(session=SESSIONS)
    def revoke(self, session: bytes) -> None:
        self.office.revoke(session)
        self.good = {secret: held for secret, held in self.good.items() if held[1] != session}

    @rule(secret=given_out, user=USERS, session=SESSIONS)
    def take(self, secret: str, user: UserId, session: bytes) -> None:
        ticket = self.office.take(secret, user, session, self.now_s)
        held = self.good.pop(secret, None)
        honoured = held is not None and held[:2] == (user, session) and held[3] > self.now_s
        assert (ticket is not None) is honoured
        if ticket is not None and held is not None:
            assert (ticket.user, ticket.ghost) == (held[0], held[2])

    @rule(secret=consumes(given_out))
    def take_twice(self, secret: str) -> None:
        user, session = self.good.get(secret, (UserId("ada"), b"one", GhostId("g0"), 0.0))[:2]
        self.office.take(secret, user, session, self.now_s)
        self.good.pop(secret, None)
        assert self.office.take(secret, user, session, self.now_s) is None


TestTickets = Tickets.TestCase


@given(st.text(max_size=80))
def test_made_up_tickets_are_refused(secret: str) -> None:
    office = TicketOffice(20.0)
    office.issue(UserId("ada"), GhostId("g0"), 1, b"one", 0.0)
    assert office.take(secret, UserId("ada"), b"one", 1.0) is None


def test_a_user_holds_few_and_pushes_out_nobody_elses() -> None:
    office = TicketOffice(20.0, per_user=3)
    bens = office.issue(UserId("ben"), GhostId("g9"), 1, b"two", 0.0)
    adas = [office.issue(UserId("ada"), GhostId("g0"), 1, b"one", 0.0) for _ in range(5)]
    taken = [office.take(secret, UserId("ada"), b"one", 1.0) is not None for secret in adas]
    assert taken == [False, False, True, True, True]
    assert office.take(bens, UserId("ben"), b"two", 1.0) is not None
