"""Reading histories: what is recognised, what is refused, and that good rows survive bad ones."""

import bz2
import gzip
import lzma
from collections.abc import Callable
from datetime import UTC
from pathlib import Path

import numpy as np
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ghostdesk.evaluate.readers import read_activity, read_resources, read_states
from ghostdesk.evaluate.sequences import read_app_history
from ghostdesk.kernel.errors import ImportFileError

NOW_S = 1_700_000_000.0
READERS: tuple[Callable[[Path], object], ...] = (read_app_history, read_activity, read_states, read_resources)


def file(tmp_path: Path, text: str | bytes, name: str = "history") -> Path:
    path = tmp_path / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_activity_is_sorted_and_counted_once(tmp_path: Path) -> None:
    found = read_activity(file(tmp_path, "user,utc,tz_min\nb,20,60\na,15,0\na,10,-60\nb,20,60\n"), now_s=NOW_S)
    assert found.users == ("b", "a")
    assert found.user.tolist() == [0, 1, 1]
    assert found.utc_s.tolist() == [20.0, 10.0, 15.0]
    assert found.tz_min.tolist() == [60.0, -60.0, 0.0]
    assert (found.notes.duplicates, found.notes.out_of_order) == (1, 1)
    assert found.notes.sentences() == [
        "1 rows were there twice and count once.",
        "1 rows were out of order and were sorted in.",
    ]


def test_states_are_sorted_by_time(tmp_path: Path) -> None:
    text = "state,time,desktop\nIn-Use,2016-01-01 10:00:00,d1\navailable,2016-01-01 09:00:00,d2\n"
    found = read_states(file(tmp_path, text), UTC)
    assert (found.desktops, found.states) == (("d1", "d2"), ("in-use", "available"))
    assert found.desktop.tolist() == [1, 0]
    assert found.time_s[1] - found.time_s[0] == 3600.0


def test_resources_keep_every_column_of_numbers_and_gaps(tmp_path: Path) -> None:
    found = read_resources(file(tmp_path, "vm,time_s,cpu_pct,odd\nv,600,5,\nv,300,,\nv,600,7,\n"))
    assert found.time_s.tolist() == [300, 600]
    assert list(found.amounts) == ["cpu_pct"]
    assert np.isnan(found.amounts["cpu_pct"][0])
    assert found.amounts["cpu_pct"][1] == 5.0
    assert found.notes.duplicates == 1


def test_a_time_that_looks_like_a_date_is_a_number_of_seconds_in_resources(tmp_path: Path) -> None:
    assert read_resources(file(tmp_path, "vm,time_s,cpu\nv,20130801,1\n")).time_s.tolist() == [20130801]


@pytest.mark.parametrize(
    "packed", [gzip.compress, lzma.compress, bz2.compress, lambda b: zstandard.ZstdCompressor().compress(b)]
)
def test_compression_is_told_by_the_bytes(tmp_path: Path, packed: Callable[[bytes], bytes]) -> None:
    assert read_activity(file(tmp_path, packed(b"user,utc,tz_min\na,10,0\n"), "x.csv")).users == ("a",)


def test_parquet_is_read_like_csv(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    table = pa.table({"vm": ["v", "v"], "time_s": [600, 300], "cpu_pct": [5.0, None]})
    parquet.write_table(table, tmp_path / "x.csv")
    found = read_resources(tmp_path / "x.csv")
    assert found.time_s.tolist() == [300, 600]
    assert found.amounts["cpu_pct"][1] == 5.0
    apps = pa.table({"user": ["u"] * 5, "time": [10, 20, 30, 40, 50], "app": list("ababa")})
    parquet.write_table(apps, tmp_path / "apps")
    assert read_app_history(tmp_path / "apps").sequences[0].apps == tuple("ababa")


def test_parquet_cut_short_is_named(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    with pytest.raises(ImportFileError, match="damaged parquet"):
        read_resources(file(tmp_path, b"PAR1" + b"\0" * 100))


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("", "is empty"),
        ("user\nx\n", "lacks columns"),
        ("\0\0\0\n\0\n", "lacks columns"),
        (lzma.compress(b"user,utc,tz_min\na,1,0\n" * 2000)[:60], "ends too early|lacks columns"),
    ],
)
def test_rubbish_has_a_clear_error(
    tmp_path: Path, read: Callable[[Path], object], text: str | bytes, cause: str
) -> None:
    with pytest.raises(ImportFileError, match=cause) as caught:
        read(file(tmp_path, text))
    assert caught.value.mend


def test_missing_columns_are_named(tmp_path: Path) -> None:
    with pytest.raises(ImportFileError, match=r"lacks columns: tz_min \(it has user, utc\)"):
        read_activity(file(tmp_path, "user,utc\na,1\n"))
    with pytest.raises(ImportFileError, match="no rows"):
        read_activity(file(tmp_path, "user,utc,tz_min\n"))


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("a,99999999999999,0", "lies in the future|out of range"),
        ("a,1700100000,0", "lies in the future"),
        ("a,5,99999", "more than a day"),
        (",5,0", "the user is empty"),
        ("a,5", "2 fields"),
        ("a\0,5,0", "NUL"),
        ("a,soon,0", "neither"),
        ("a,5,nan", "not a finite number"),
    ],
)
def test_one_bad_row_in_a_hundred_is_left_out_and_more_are_refused(tmp_path: Path, row: str, reason: str) -> None:
    good = [f"a,{n},0" for n in range(199)]
    found = read_activity(file(tmp_path, "\n".join(["user,utc,tz_min", *good, row])), now_s=NOW_S)
    assert (len(found.utc_s), found.notes.rows, found.notes.bad_rows) == (199, 200, 1)
    assert found.notes.bad_lines[0].line == 201
    with pytest.raises(ImportFileError, match=f"the first is line 2.*({reason})"):
        read_activity(file(tmp_path, "\n".join(["user,utc,tz_min", row, *good[:50]])), now_s=NOW_S)


@given(st.binary(max_size=300) | st.text(max_size=200).map(lambda text: f"user,time,app\n{text}".encode()))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150, deadline=None)
def test_any_bytes_are_read_or_refused(tmp_path: Path, content: bytes) -> None:
    path = file(tmp_path, content)
    for read in READERS:
        try:
            read(path)
        except ImportFileError as error:
            assert error.mend
