"""Launch sets: what recordings agree on, and files that nobody wrote."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghostdesk.kernel.ids import AppId
from ghostdesk.prefetch.launch_set import (
    CLOSE_GAPS_BYTES,
    MOST_RECORDINGS,
    SCHEMA,
    Range,
    Recording,
    TouchedFile,
    add_recording,
    closed,
    from_text,
    majority,
    merge,
    to_text,
)

PAGE = 4096
APP = AppId("org.xfce.mousepad")
RANGES = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)).map(sorted).map(tuple), max_size=8)


def bytes_of(ranges: tuple[Range, ...] | list[Range]) -> set[int]:
    return {place for start, end in ranges for place in range(start, end)}


def file(path: str, *ranges: Range, size: int = 100 * PAGE, mtime: int = 1) -> TouchedFile:
    return TouchedFile(path, size, mtime, tuple(ranges))


def recording(at_s: float, *files: TouchedFile, ghost: str = "", cold: int = 0, took_s: float = 1.0) -> Recording:
    return Recording(APP, ghost or f"g{at_s:g}", at_s, took_s, cold, files, ("/usr/share",), ("/usr/lib/libc.so",))


@given(RANGES)
def test_closing_without_gaps_keeps_the_very_bytes(ranges: list[Range]) -> None:
    found = closed(ranges, 0)
    assert bytes_of(found) == bytes_of(ranges)
    assert all(a[1] < b[0] for a, b in pairwise(found)), "apart and rising"


@given(RANGES, st.integers(1, 4))
def test_closing_to_few_ranges_only_ever_adds(ranges: list[Range], most: int) -> None:
    found = closed(ranges, 0, most)
    assert len(found) <= most
    assert bytes_of(found) >= bytes_of(ranges)
    everything = [r for r in ranges if r[1] > r[0]]
    if everything:
        assert (found[0][0], found[-1][1]) == (min(r[0] for r in everything), max(r[1] for r in everything))


@given(st.lists(RANGES, min_size=1, max_size=5), st.integers(1, 5))
def test_the_majority_has_the_bytes_that_enough_voters_have(voters: list[list[Range]], wanted: int) -> None:
    counted = {place: sum(place in bytes_of(v) for v in voters) for v in voters for place in bytes_of(v)}
    assert bytes_of(majority(voters, wanted)) == {place for place, count in counted.items() if count >= wanted}


def test_a_set_is_what_most_launches_touched() -> None:
    common = file("/usr/bin/app", (0, 10 * PAGE))
    found = merge(
        [
            recording(1, common, file("/usr/share/once", (0, PAGE))),
            recording(2, common, file("/usr/lib/often", (0, 40 * PAGE))),
            recording(3, common, file("/usr/lib/often", (0, 2 * PAGE), (60 * PAGE, 70 * PAGE))),
        ]
    )
    assert found is not None
    assert {f.path: f.ranges for f in found.files} == {
        "/usr/bin/app": ((0, 10 * PAGE),),
        "/usr/lib/often": ((0, 2 * PAGE),),
    }
    assert (found.recordings, found.recorded_s, found.folders, found.links) == (
        3, 3, ("/usr/share",), ("/usr/lib/libc.so",)
    )  # fmt: skip
    assert found.bytes_total == 12 * PAGE


def test_after_an_update_the_new_file_counts_and_the_old_ones_have_no_say() -> None:
    old, new = file("/usr/bin/app", (0, 9 * PAGE)), file("/usr/bin/app", (0, PAGE), size=50 * PAGE, mtime=2)
    found = merge([recording(1, old), recording(2, old), recording(3, old), recording(4, new)])
    assert found is not None
    assert found.files == (new,)


def test_what_a_launch_saves_is_the_slow_cold_one_against_the_quick_warm_one() -> None:
    touched = file("/usr/bin/app", (0, 100 * PAGE))
    cold, warm = recording(1, touched, cold=90 * PAGE, took_s=3.0), recording(2, touched, cold=PAGE, took_s=1.0)
    both, one = merge([cold, warm]), merge([cold])
    assert both is not None and one is not None
    assert (both.seconds_saved, one.seconds_saved) == (2.0, None)


def test_one_desktop_has_one_vote_and_few_recordings_are_kept() -> None:
    kept: tuple[Recording, ...] = ()
    for at_s in range(20):
        kept = add_recording(kept, recording(float(at_s), ghost=f"g{at_s % 8}"))
        assert len({each.ghost for each in kept}) == len(kept) <= MOST_RECORDINGS
    assert [each.recorded_s for each in kept] == [19, 18, 17, 16, 15]
    assert merge([]) is None


@given(
    st.lists(
        st.builds(
            lambda at_s, took_s, cold, ranges: recording(
                at_s, TouchedFile("/usr/bin/app", 100 * PAGE, 5, closed(ranges, 0)), cold=cold, took_s=took_s
            ),
            st.floats(0, 4e9),
            st.floats(0, 100),
            st.integers(0, 1 << 40),
            RANGES,
        ),
        max_size=MOST_RECORDINGS,
    )
)
def test_a_file_reads_back_as_it_was_written(recordings: list[Recording]) -> None:
    assert from_text(to_text(recordings)) == tuple(recordings)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)
PLAIN = json.loads(to_text([recording(1, file("/usr/bin/app", (0, PAGE), (9 * PAGE, 10 * PAGE)))]))


@given(st.text() | JSON.map(json.dumps))
def test_rubbish_is_refused_in_words(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        from_text(text)


@given(st.sampled_from(sorted(PLAIN["recordings"][0])), JSON)
def test_one_wrong_field_is_refused_or_means_what_it_says(name: str, value: object) -> None:
    table = {"schema": SCHEMA, "recordings": [PLAIN["recordings"][0] | {name: value}]}
    try:
        found = from_text(json.dumps(table))
    except ValueError:
        return
    assert json.loads(to_text(found))["recordings"][0][name] == value


@pytest.mark.parametrize(
    "bad",
    [
        ["relative", 10, 1, [[0, 5]]],
        ["/usr/../etc/shadow", 10, 1, [[0, 5]]],
        ["/usr//bin", 10, 1, [[0, 5]]],
        ["/usr/a\0b", 10, 1, [[0, 5]]],
        ["/usr/bin/app", -1, 1, [[0, 5]]],
        ["/usr/bin/app", 10, 1, [[5, 0]]],
        ["/usr/bin/app", 10, 1, [[0, 1 << 40]]],
        ["/usr/bin/app", 10, 1, [[0, 5], [3, 7]]],
        ["/usr/bin/app", 10, 1.5, [[0, 5]]],
        ["/usr/bin/app", 10, 1, [[0, 5]] * 600],
    ],
)
def test_hostile_entries_are_refused(bad: list[object]) -> None:
    table = {"schema": SCHEMA, "recordings": [PLAIN["recordings"][0] | {"files": [bad]}]}
    with pytest.raises(ValueError, match=r".+"):
        from_text(json.dumps(table))
    with pytest.raises(ValueError, match="nested too deep"):
        from_text("[" * 100_000)


def test_small_holes_are_read_with_the_rest() -> None:
    assert closed([(0, PAGE), (PAGE + CLOSE_GAPS_BYTES, 20 * PAGE)]) == ((0, 20 * PAGE),)
    assert len(closed([(0, PAGE), (PAGE + CLOSE_GAPS_BYTES + 1, 20 * PAGE)])) == 2
