"""Delimited text, one record a line: split so that a hostile line can spoil no other line."""

from __future__ import annotations

import csv
from collections.abc import Iterator

from ghostdesk.telemetry.importers.protocol import MAX_LINE_CHARS, BadLine, TextSource

_DELIMITERS = (",", ";", "\t")


def header_columns(line: str) -> tuple[tuple[str, ...], str]:
    """The column names of a header line, in lower case, and its delimiter (the one that splits it most)."""
    delimiter = max(_DELIMITERS, key=line.count)
    try:
        fields = split_row(line, delimiter)
    except ValueError:
        return (), delimiter
    return tuple(field.strip().lower() for field in fields), delimiter


def split_row(line: str, delimiter: str) -> list[str]:
    """The fields of one line; raises `ValueError` with a reason.

    Each line is split alone: a quote that is never closed ends with its line and does not swallow the rest of the file.
    """
    if len(line) > MAX_LINE_CHARS:
        raise ValueError(f"the line is longer than {MAX_LINE_CHARS} characters")
    if "\0" in line:
        raise ValueError("the line holds a NUL character")
    if '"' not in line:
        return line.split(delimiter)
    try:
        return next(csv.reader([line], delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise ValueError(f"the quotes are not in order ({error})") from None


Row = tuple[int, list[str]] | BadLine


def read_table(source: TextSource) -> tuple[dict[str, int], Iterator[Row]]:
    """The columns of a table by name, and its rows with their line numbers (the header is line 1).

    Empty lines are passed over. A row must have as many fields as the header; empty ones too many are let through.
    """
    lines = source.lines()
    columns, delimiter = header_columns(next(lines, ""))
    places = {name: place for place, name in reversed(tuple(enumerate(columns)))}
    return places, _rows(lines, len(columns), delimiter)


def _rows(lines: Iterator[str], width: int, delimiter: str) -> Iterator[Row]:
    for number, line in enumerate(lines, start=2):
        if not line or line.isspace():
            continue
        try:
            row = split_row(line, delimiter)
            if len(row) != width and (len(row) < width or any(row[width:])):
                raise ValueError(f"{len(row)} fields where the header has {width}")
        except ValueError as error:
            yield BadLine(number, str(error))
        else:
            yield number, row
