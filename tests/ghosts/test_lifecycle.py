"""The lifecycle's promises, for every order of events that Hypothesis can think of."""

from dataclasses import replace
from pathlib import Path

import hypothesis.strategies as st
from hypothesis import given, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from ghostdesk.ghosts.commands import AttachHome, Build, Destroy, LaunchHidden, SetLimits, Thaw
from ghostdesk.ghosts.events import (
    BindRequested,
    BuildRequested,
    CacheRequested,
    ClaimRequested,
    Done,
    Failed,
    GhostEvent,
    Lost,
    ParkRequested,
    ReleaseRequested,
    ResizeRequested,
    WakeRequested,
    WarmRequested,
)
from ghostdesk.ghosts.ghost import DesktopTemplate, Ghost, GhostState
from ghostdesk.ghosts.lifecycle import TABLE, render_table, step
from ghostdesk.kernel.ids import AppId, GhostId, TemplateId, UserId
from ghostdesk.kernel.resources import NOTHING, Priority, Resources

TEMPLATE = DesktopTemplate(TemplateId("generic"))
USERS = st.sampled_from([UserId("alice"), UserId("bob")])
APPS = st.lists(st.sampled_from([AppId("editor"), AppId("browser"), AppId("viewer")]), unique=True).map(tuple)
WORK = st.sampled_from(["cache", "build", "bind", "warm", "resize", "park", "wake", "claim", "destroy", "nonsense"])
EVENTS: st.SearchStrategy[GhostEvent] = st.one_of(
    st.just(CacheRequested(TEMPLATE)),
    st.just(BuildRequested(TEMPLATE)),
    st.builds(BindRequested, USERS),
    st.builds(WarmRequested, APPS, st.booleans()),
    st.builds(ResizeRequested, st.sampled_from([Resources(cpu_cores=1.0), NOTHING]), st.sampled_from(Priority)),
    st.just(ParkRequested()),
    st.just(WakeRequested()),
    st.builds(ClaimRequested, USERS),
    st.just(ReleaseRequested()),
    st.just(Lost("gone")),
    st.builds(Done, WORK, APPS),
    st.builds(Failed, WORK, st.just("broken")),
)


class Life(RuleBasedStateMachine):
    """One ghost, any events in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.ghost = Ghost(GhostId("g1"), TEMPLATE.template)
        self.now_s = 0.0
        self.owners: set[UserId] = set()
        self.drained = False

    @rule(event=EVENTS)
    def happens(self, event: GhostEvent) -> None:
        before = self.ghost
        self.now_s += 1.0
        result = step(before, event, self.now_s)
        if result.refused:
            assert result.ghost == before
            assert not result.commands
            return
        self.ghost = result.ghost
        assert before.owner in (None, self.ghost.owner), "an owner never changes"
        assert self.ghost.generation >= before.generation
        if self.ghost.owner != before.owner:
            assert self.ghost.generation > before.generation, "a new owner is a new generation"
            assert any(isinstance(c, AttachHome) and c.user == self.ghost.owner for c in result.commands)
        assert set(before.apps) <= set(self.ghost.apps) or self.ghost.state is GhostState.ABSENT
        for command in result.commands:
            assert command.ghost == before.ghost
            if isinstance(command, LaunchHidden):
                assert before.owner is not None, "applications are launched for somebody only"
        if before.state is GhostState.DRAINING:
            assert self.ghost.state in (GhostState.DRAINING, GhostState.ABSENT), "nothing comes back from draining"
        if isinstance(event, ClaimRequested) and before.state is not GhostState.ACTIVE:
            assert [type(c) for c in result.commands][:2] == [SetLimits, Thaw], "limits are lifted, then it runs"
            assert self.ghost.priority is Priority.PERSON, "whoever works in it comes before ghosts"
        if self.ghost.owner is not None:
            self.owners.add(self.ghost.owner)

    @invariant()
    def one_owner_in_a_life(self) -> None:
        assert len(self.owners) <= 1

    @invariant()
    def warm_and_active_ghosts_belong_to_somebody(self) -> None:
        if self.ghost.state in (GhostState.WARM, GhostState.ACTIVE):
            assert self.ghost.owner is not None

    @invariant()
    def draining_is_busy_or_can_be_tried_again(self) -> None:
        if self.ghost.state is GhostState.DRAINING and self.ghost.pending is None:
            again = step(self.ghost, ReleaseRequested(), self.now_s)
            assert [type(c) for c in again.commands] == [Destroy]


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)


def _after(*events: GhostEvent) -> Ghost:
    ghost = Ghost(GhostId("g1"), TEMPLATE.template)
    for number, event in enumerate(events):
        result = step(ghost, event, float(number))
        assert not result.refused, result.refused
        ghost = result.ghost
    return ghost


BUILT = (BuildRequested(TEMPLATE), Done("build"))
ALICE, BOB = UserId("alice"), UserId("bob")


def test_the_climb_from_nothing_to_active() -> None:
    ghost = _after(*BUILT)
    assert (ghost.state, ghost.owner) == (GhostState.READY, None)
    ghost = _after(*BUILT, BindRequested(ALICE), Done("bind"))
    assert (ghost.state, ghost.owner, ghost.generation) == (GhostState.READY, ALICE, 1)
    warm = (
        *BUILT,
        BindRequested(ALICE),
        Done("bind"),
        WarmRequested((AppId("editor"),)),
        Done("warm", (AppId("editor"),)),
    )
    assert _after(*warm).state is GhostState.WARM
    assert _after(*warm, ParkRequested(), Done("park")).state is GhostState.PARKED
    assert _after(*warm, ParkRequested(), Done("park"), WakeRequested(), Done("wake")).state is GhostState.WARM
    active = _after(*warm, ClaimRequested(ALICE))
    assert (active.state, active.generation, active.apps) == (GhostState.ACTIVE, 1, (AppId("editor"),))


def test_a_claim_of_another_users_ghost_is_refused() -> None:
    ghost = _after(*BUILT, BindRequested(ALICE), Done("bind"))
    assert "somebody else" in step(ghost, ClaimRequested(BOB), 9.0).refused


def test_a_claim_cuts_into_a_warming_and_its_late_answer_is_refused() -> None:
    ghost = _after(*BUILT, BindRequested(ALICE), Done("bind"), WarmRequested((AppId("editor"),)), ClaimRequested(ALICE))
    assert ghost.state is GhostState.ACTIVE
    assert step(ghost, Done("warm", (AppId("editor"),)), 9.0).refused


def test_a_claim_during_a_bind_attaches_the_home_again() -> None:
    ghost = _after(*BUILT, BindRequested(ALICE))
    commands = step(ghost, ClaimRequested(ALICE), 9.0).commands
    assert any(isinstance(c, AttachHome) for c in commands)


def test_the_same_claim_twice_changes_nothing() -> None:
    ghost = _after(*BUILT, ClaimRequested(ALICE), Done("claim"))
    again = step(ghost, ClaimRequested(ALICE), 9.0)
    assert (again.ghost, again.commands, again.refused) == (ghost, (), "")


def test_a_failed_build_is_cleaned_up() -> None:
    result = step(_after(BuildRequested(TEMPLATE)), Failed("build", "no memory"), 1.0)
    assert result.ghost.state is GhostState.DRAINING
    assert [type(c) for c in result.commands] == [Destroy]
    assert result.ghost.reason == "no memory"


def test_an_id_is_never_built_twice_while_busy() -> None:
    ghost = _after(BuildRequested(TEMPLATE))
    assert step(ghost, BuildRequested(TEMPLATE), 1.0).refused == "busy with build"
    assert [type(c) for c in step(replace(ghost, pending=None), BuildRequested(TEMPLATE), 1.0).commands] == [Build]


@given(st.sampled_from(list(GhostState)), EVENTS)
def test_every_state_answers_every_event(state: GhostState, event: GhostEvent) -> None:
    ghost = Ghost(GhostId("g1"), TEMPLATE.template, state, owner=ALICE)
    result = step(ghost, event, 1.0)
    assert result.refused or any(row.on is type(event) for row in TABLE[state])


def test_the_reference_shows_the_table_as_it_is() -> None:
    page = Path(__file__).parents[2] / "docs" / "reference" / "lifecycle.md"
    assert render_table() in page.read_text(), "write it anew with: make docs"


def test_a_resize_of_a_desktop_in_use_that_failed_leaves_its_limits_unknown_so_that_they_are_set_again() -> None:
    half = Resources(cpu_cores=0.5)
    for before, after in ((BUILT, half), ((*BUILT, ClaimRequested(ALICE), Done("claim")), NOTHING)):
        ghost = _after(*before, ResizeRequested(half))
        assert (ghost.limits, ghost.pending) == (half, "resize")
        assert step(ghost, Done("resize"), 9.0).ghost.limits == half
        assert step(ghost, Failed("resize", "gone"), 9.0).ghost.limits == after
