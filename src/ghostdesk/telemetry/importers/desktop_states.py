"""Reads state logs of shared desktops: ``desktop,state,time``. They say when machines were used, not by whom."""

from __future__ import annotations

from collections.abc import Iterator

from ghostdesk.telemetry.events import EventKind, UsageEvent
from ghostdesk.telemetry.importers.cleaning import clean_desktop, clean_word, parse_time_s
from ghostdesk.telemetry.importers.protocol import BadLine, Parsed, ReadOptions, TextSource
from ghostdesk.telemetry.importers.rows import header_columns, read_table

_COLUMNS = ("desktop", "state", "time")


class DesktopStatesImporter:
    """CSV with the columns ``desktop,state,time``, its lines in any order."""

    name = "states"

    def sniff(self, head: str) -> bool:
        """A header with all three columns."""
        columns, _ = header_columns(head.split("\n", 1)[0])
        return set(_COLUMNS) <= set(columns)

    def read(self, source: TextSource, options: ReadOptions) -> Iterator[Parsed]:
        """One change of state a line; states are put in lower case."""
        places, rows = read_table(source)
        if not set(_COLUMNS) <= set(places):
            yield BadLine(1, "the header must name the columns desktop,state,time")
            return
        desktop, state, time = (places[column] for column in _COLUMNS)
        for row in rows:
            if isinstance(row, BadLine):
                yield row
                continue
            number, fields = row
            try:
                yield (
                    number,
                    UsageEvent(
                        time_s=parse_time_s(fields[time], options.timezone),
                        kind=EventKind.DESKTOP_STATE,
                        desktop=clean_desktop(fields[desktop]),
                        detail=clean_word(fields[state]).lower(),
                        source=self.name,
                    ),
                )
            except ValueError as error:
                yield BadLine(number, str(error))
