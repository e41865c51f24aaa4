"""Splitting lines: the quick way and the csv module agree."""

import csv
import io

from hypothesis import given
from hypothesis import strategies as st

from ghostdesk.telemetry.importers.rows import header_columns, split_row

FIELD = st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\0\r\n"), max_size=20)


@given(st.lists(FIELD, min_size=1, max_size=6), st.sampled_from([",", ";", "\t"]))
def test_what_csv_writes_is_split_alike(fields: list[str], delimiter: str) -> None:
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter, lineterminator="").writerow(fields)
    assert split_row(out.getvalue(), delimiter) == fields


@given(st.text(max_size=200))
def test_any_line_is_split_or_refused(line: str) -> None:
    try:
        assert split_row(line, ",")
    except ValueError as error:
        assert str(error)
    header_columns(line)
