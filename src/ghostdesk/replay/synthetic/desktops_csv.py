"""Writes the state log of synthetic shared desktops, as `ghostdesk import` and `ghostdesk evaluate` read it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ghostdesk.replay.synthetic.desktops import SyntheticDesktops, state_time
from ghostdesk.replay.synthetic.people import SOURCE
from ghostdesk.replay.workload_csv import whole_file

COLUMNS = ("desktop", "state", "time", "source")
"""Readers pass over `source`, which says in every row that it is synthetic."""


@dataclass(frozen=True, slots=True)
class WrittenStates:
    """What was written: the file, how much, how many found no seat, and that none of it is real."""

    path: Path
    desktops: int
    rows: int
    starts: int
    turned_away: int
    source: str = SOURCE


def write_states(desktops: SyntheticDesktops, path: Path) -> WrittenStates:
    """Write all changes of state, in the order of time; the file appears under its name when it is whole.

    Raises:
        ConfigError: the file cannot be written.
    """
    sessions = desktops.sessions()
    rows = 0
    with whole_file(path) as stream:
        stream.write(",".join(COLUMNS) + "\n")
        for time_s, desktop, state in desktops.states(sessions):
            stream.write(f"{desktop},{state},{state_time(time_s)},{SOURCE}\n")
            rows += 1
    return WrittenStates(path, desktops.desktops, rows, len(sessions.start_s), sessions.turned_away)
