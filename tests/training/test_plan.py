"""Splits in the order of time, and groups that fit the memory."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghostdesk.kernel.errors import ConfigError
from ghostdesk.training.plan import (
    LEAST_MEMORY_BYTES,
    MOST_SIDE_BY_SIDE,
    Room,
    Split,
    epochs_for,
    groups,
    order_of_groups,
)

MIB = 2**20


@given(st.integers(20, 1_000_000))
def test_every_part_of_a_split_has_a_step_and_they_follow_each_other(length: int) -> None:
    split = Split.of(length)
    assert 0 < split.train < split.validation < split.end == length
    assert length - split.train <= max(0.2 * length, 2)


@given(st.lists(st.integers(1, 60_000), max_size=60), st.integers(LEAST_MEMORY_BYTES, 4096 * MIB), st.integers(0, 9))
def test_everyone_is_in_one_group_and_groups_fit(lengths: list[int], memory_bytes: int, seed: int) -> None:
    room = Room(memory_bytes)
    found = groups(lengths, room, seed)
    assert sorted(person for group in found for person in group.people) == list(range(len(lengths)))
    for group in found:
        assert len(group.people) <= MOST_SIDE_BY_SIDE
        taken = sum(room.person_bytes(lengths[person]) for person in group.people)
        assert len(group.people) == 1 or taken <= room.free_bytes
    assert found == groups(lengths, room, seed)


def test_one_persons_most_steps_fit_by_themselves() -> None:
    room = Room(512 * MIB)
    assert room.person_bytes(room.most_steps()) <= room.free_bytes


def test_too_little_memory_is_refused_with_a_number() -> None:
    with pytest.raises(ConfigError, match="too little") as caught:
        Room(64 * MIB)
    assert f"{LEAST_MEMORY_BYTES / MIB:.0f} MiB" in caught.value.mend


def test_epochs_have_other_orders_and_seeds_repeat_them() -> None:
    assert sorted(order_of_groups(50, 0, 1)) == list(range(50))
    assert order_of_groups(50, 0, 1) != order_of_groups(50, 1, 1)
    assert order_of_groups(50, 0, 1) == order_of_groups(50, 0, 1)


def test_short_histories_are_gone_through_more_often() -> None:
    assert (epochs_for(0), epochs_for(1_000_000), epochs_for(10**9)) == (12, 4, 2)
