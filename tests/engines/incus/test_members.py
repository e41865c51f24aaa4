"""What machines have together, and what is said of those that are away."""

from typing import Any

from ghostdesk.engines.incus.members import Member, capacity_of, conditions_of, members_of
from ghostdesk.kernel.resources import Resources

TOLD = [
    {"server_name": "a", "status": "Online", "groups": ["default", "desks"]},
    {"server_name": "b", "status": "Offline", "groups": ["desks"]},
    {"server_name": "c", "status": "Online", "groups": None},
]


def _machine(memory: int, used: int) -> dict[str, Any]:
    return {
        "cpu": {"total": 4}, "memory": {"total": memory, "used": used}, "pool": {"total": 100, "used": 30},
        "load": {"Average1Min": 0.5},
    }  # fmt: skip


def test_a_group_s_members_are_those_that_count() -> None:
    assert [m.name for m in members_of(TOLD, "")] == ["a", "b", "c"]
    assert members_of(TOLD, "desks") == (
        Member("a", True, "Online", ("default", "desks")),
        Member("b", False, "Offline", ("desks",)),
    )


def test_what_is_away_is_told_and_not_counted() -> None:
    resources = {"a": _machine(1000, 400), "c": _machine(500, 100)}
    assert capacity_of(resources) == Resources(cpu_cores=8.0, memory_bytes=1500.0)
    told = conditions_of(members_of(TOLD, ""), resources, ("c: slow",), 5.0)
    assert (told.memory_bytes, told.memory_available_bytes, told.load) == (1500.0, 1000.0, 1.0)
    assert (told.disk_bytes, told.disk_free_bytes) == (200.0, 140.0)
    assert told.problems == ("the API tells no pressure", "member b is offline", "c: slow")


def test_a_cluster_that_does_not_answer_has_nothing_and_says_so() -> None:
    told = conditions_of((), {}, ("gone",), 5.0)
    assert told.memory_bytes == told.memory_available_bytes == 0.0 and "gone" in told.problems
    assert capacity_of({}) == Resources()
