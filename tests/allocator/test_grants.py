"""What a person who comes is given: within quotas, never refused because of ghosts, always with a reason."""

from dataclasses import replace

import hypothesis.strategies as st
from hypothesis import given

from ghostdesk.allocator.bookings import Booking
from ghostdesk.allocator.capacity import CapacityRules, promise, tally
from ghostdesk.allocator.grants import Grant, Host, InUse, grant
from ghostdesk.allocator.quotas import GhostQuota, Quota, Quotas
from ghostdesk.ghosts.ghost import Ghost, GhostState
from ghostdesk.kernel.ids import GhostId, TemplateId, UserId
from ghostdesk.kernel.resources import GIB, NOTHING, Resources

ADA, BEN, CLEO = UserId("ada"), UserId("ben"), UserId("cleo")
WHOLE = Resources(8.0, 16 * GIB, 0.0, 125e6, 500e6)
FULL = Resources(memory_bytes=6e9)
WHERE = {ADA: "physics", BEN: "physics", CLEO: "law"}


def _rules(*, factors: Resources | None = None, **quotas: object) -> CapacityRules:
    rules = CapacityRules(quotas=Quotas(**quotas), departments=WHERE)  # type: ignore[arg-type]
    return rules if factors is None else replace(rules, factors=factors)


def _active(user: str, limits: Resources = FULL) -> Ghost:
    return Ghost(GhostId(f"g{user}"), TemplateId("t"), GhostState.ACTIVE, UserId(user), limits=limits)


def _idle(number: int, owner: UserId | None = None) -> Ghost:
    return Ghost(GhostId(f"i{number}"), TemplateId("t"), GhostState.READY, owner)


def _grant(user: UserId, rules: CapacityRules, *ghosts: Ghost, whole: Resources = WHOLE, now_s: float = 0.0) -> Grant:
    return grant(user, FULL, rules, Host(whole, whole, ghosts, 250e6, {}), now_s)


def test_without_quotas_people_get_all() -> None:
    assert _grant(ADA, _rules()) == Grant(FULL)


def test_a_persons_quota_cuts_their_limits_and_says_so() -> None:
    given_ = _grant(ADA, _rules(person=Quota(most=Resources(cpu_cores=2.0, memory_bytes=4e9))))
    assert given_.limits == Resources(cpu_cores=2.0, memory_bytes=4e9)
    assert [(cut.resource, cut.asked, cut.free, cut.reason.code) for cut in given_.cuts] == [
        ("cpu_cores", 8.0, 2.0, "user-quota"),
        ("memory_bytes", 6e9, 4e9, "user-quota"),
    ]


def test_one_persons_own_quota_goes_before_everybodys() -> None:
    rules = _rules(person=Quota(desktops=0), people={ADA: Quota(desktops=1)})
    assert _grant(ADA, rules).refusal is None
    refused = _grant(CLEO, rules).refusal
    assert refused is not None and refused.by_quota
    assert (refused.cause, refused.entry.reason.code) == ("Your quota is 0 desktops.", "user-quota")
    assert "Ask your operator" in refused.mend


def test_a_desktop_beyond_the_departments_quota_is_refused_and_other_departments_are_not() -> None:
    rules = _rules(departments={"physics": Quota(desktops=1)})
    refused = _grant(BEN, rules, _active("ada")).refusal
    assert refused is not None
    assert refused.cause == "The 1 desktop that physics may have are in use."
    assert (refused.entry.resource, refused.entry.asked, refused.entry.free) == ("desktops", 1, 0)
    assert _grant(CLEO, rules, _active("ada")).refusal is None


def test_a_department_shares_its_amounts_and_the_last_is_refused_when_too_little_is_left() -> None:
    rules = _rules(departments={"physics": Quota(most=Resources(cpu_cores=1.05, memory_bytes=7e9))})
    first = _grant(ADA, rules)
    assert first.limits == Resources(cpu_cores=1.0, memory_bytes=6e9)
    assert first.cuts == (), "the standard share of CPU is the rule in a department with a quota"
    second = _grant(BEN, rules, _active("ada", first.limits))
    assert second.refusal is not None and second.refusal.entry.resource == "cpu_cores"
    roomy = _rules(departments={"physics": Quota(most=Resources(memory_bytes=7e9))})
    cut = _grant(BEN, roomy, _active("ada", first.limits))
    assert cut.refusal is None and cut.limits.memory_bytes == 1e9
    assert cut.cuts[0].reason.text == "the memory quota of physics"


def test_memory_that_desktops_in_use_are_promised_is_not_promised_again() -> None:
    small = Resources(2.0, 1.2e9, 0.0, 125e6, 500e6)
    refused = _grant(CLEO, _rules(), _active("ada"), _active("ben"), whole=small).refusal
    assert refused is not None and not refused.by_quota
    assert refused.entry.reason.text == "the memory is promised to 2 desktops in use"
    twice = _rules(factors=Resources(4.0, 2.0, 1.0, 8.0, 4.0))
    assert _grant(CLEO, twice, _active("ada"), _active("ben"), whole=small).refusal is None


def test_cpu_is_shared_by_weight_and_nobody_is_refused_for_it() -> None:
    tiny = replace(WHOLE, cpu_cores=1.0)
    many = [_active(f"u{n}", Resources(memory_bytes=1e9)) for n in range(20)]
    assert _grant(ADA, _rules(), *many, whole=tiny).refusal is None


def test_who_comes_for_a_class_gets_what_was_booked_for_each() -> None:
    booking = Booking("lab", 0.0, 3600.0, 5, department="physics", each=Resources(cpu_cores=4.0), number=1)
    rules = replace(_rules(), bookings=(booking,))
    assert _grant(ADA, rules, now_s=60.0).limits == Resources(cpu_cores=4.0, memory_bytes=6e9)
    assert _grant(CLEO, rules, now_s=60.0).limits == FULL


def test_a_quota_that_is_lowered_takes_nothing_from_whoever_works_and_one_that_is_raised_gives() -> None:
    ghost = _active("ada", Resources(cpu_cores=2.0, memory_bytes=4e9))
    for cores, expected in ((1.0, 2.0), (3.0, 3.0)):
        rules = _rules(person=Quota(most=Resources(cpu_cores=cores, memory_bytes=4e9)))
        in_use = InUse.of(Host(WHOLE, WHOLE, (ghost,), 250e6, {}), FULL, rules, 0.0)
        assert in_use.limits_of(ghost).cpu_cores == expected
    plain = InUse.of(Host(WHOLE, WHOLE, (ghost,), 250e6, {}), FULL, _rules(), 0.0)
    assert plain.limits_of(ghost) == FULL


users = st.sampled_from([ADA, BEN, CLEO])
quotas = st.builds(
    Quota,
    st.none() | st.integers(0, 4),
    st.builds(Resources, st.sampled_from([0.0, 0.5, 2.0]), st.sampled_from([0.0, 1e9, 5e9])),
)
people_at_work = st.lists(st.sampled_from(["ada", "ben", "cleo", "dan", "eve"]), unique=True).map(
    lambda names: [_active(name, Resources(memory_bytes=2e9)) for name in names]
)
hosts = st.builds(Resources, st.sampled_from([1.0, 4.0]), st.sampled_from([1e9, 2e9, 64e9]))


@given(users, quotas, quotas, people_at_work, hosts, st.integers(0, 30))
def test_ghosts_change_nothing_for_people(
    user: UserId, own: Quota, theirs: Quota, active: list[Ghost], host: Resources, idle: int
) -> None:
    rules = _rules(person=own, departments={"physics": theirs}, ghosts=GhostQuota(desktops=1))
    active = [ghost for ghost in active if ghost.owner != user]
    ghosts = [_idle(n) for n in range(idle)]
    without = _grant(user, rules, *active, whole=host)
    assert _grant(user, rules, *active, *ghosts, whole=host) == without
    if own == theirs == Quota() and host.memory_bytes == 64e9:
        assert without.refusal is None, "within quotas, with room: nobody is refused"


@given(users, quotas, quotas, people_at_work, hosts)
def test_what_is_granted_is_within_every_rule_and_every_refusal_has_a_reason(
    user: UserId, own: Quota, theirs: Quota, active: list[Ghost], host: Resources
) -> None:
    rules = _rules(person=own, departments={"physics": theirs})
    active = [ghost for ghost in active if ghost.owner != user]
    found = _grant(user, rules, *active, whole=host)
    if found.refusal is not None:
        entry = found.refusal.entry
        assert found.refusal.cause and found.refusal.mend and entry.reason.text and entry.resource
        assert entry.free < entry.asked or entry.free == 0
        return
    counted = tally([*active, _active(user, found.limits)], rules, 250e6, {})
    assert counted.people.memory_bytes <= rules.allowed(host).memory_bytes + 1
    for limit, most in zip(found.limits.as_tuple(), own.most.as_tuple(), strict=True):
        assert not most or 0 < limit <= most + 1e-9
    if rules.department_of(user) == "physics":
        before = tally(active, rules, 250e6, {})
        taken = before.limits_of_department.get("physics", NOTHING)
        assert theirs.desktops is None or before.in_department.get("physics", 0) < theirs.desktops
        for limit, has, most in zip(found.limits.as_tuple(), taken.as_tuple(), theirs.most.as_tuple(), strict=True):
            assert not most or 0 < limit <= most - has + 1e-6
    assert promise(found.limits, rules.desktop).memory_bytes > 0
