"""The state log of shared desktops that do not exist."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from ghostdesk.evaluate.arrivals_reading import read_arrival_history
from ghostdesk.kernel.errors import ConfigError
from ghostdesk.replay.synthetic.desktops import SyntheticDesktops
from ghostdesk.replay.synthetic.desktops_csv import write_states

HOUSE = SyntheticDesktops(40, 70, seed=2)


def test_the_log_is_read_back_as_the_sessions_that_were_made(tmp_path: Path) -> None:
    path, sessions = tmp_path / "states.csv", HOUSE.sessions()
    written = write_states(HOUSE, path)
    assert written.starts == len(sessions.start_s) > 1000
    lines = path.read_text().splitlines()
    assert lines[0].startswith("desktop,state,time") and len(lines) == written.rows + 1
    assert all(line.startswith("synthetic-") and line.endswith(",synthetic") for line in lines[1:])
    assert Counter(line.split(",")[1] for line in lines[1:]).keys() == {"in-use", "available", "offline", "restarted"}
    rows = read_arrival_history(path).rows
    read = np.sort(np.concatenate([row.start_s for row in rows]))
    assert len(read) == len(sessions.start_s)
    assert np.abs(read - np.sort(sessions.start_s)).max() <= 1.0
    write_states(HOUSE, tmp_path / "again.csv")
    assert (tmp_path / "again.csv").read_bytes() == path.read_bytes()


def test_nobody_sits_where_somebody_sits() -> None:
    sessions = HOUSE.sessions()
    for desktop in range(HOUSE.desktops):
        here = sessions.desktop == desktop
        assert (sessions.start_s[here][1:] >= sessions.end_s[here][:-1]).all()


def test_visitors_come_back_to_the_seat_they_prefer() -> None:
    sessions = HOUSE.sessions()
    visits = Counter(sessions.visitor.tolist())
    regulars = [visitor for visitor, count in visits.items() if count >= 20]
    most = []
    for visitor in regulars:
        seats = np.bincount(sessions.desktop[sessions.visitor == visitor], minlength=HOUSE.desktops)
        most.append(seats.max() / seats.sum())
    usual = np.bincount(sessions.desktop, minlength=HOUSE.desktops).max() / len(sessions.desktop)
    assert len(regulars) > 5 and np.mean(most) > usual + 0.05


def test_a_full_house_turns_people_away_and_counts_them() -> None:
    tiny = SyntheticDesktops(1, 70, seed=2)
    sessions = tiny.sessions()
    assert sessions.turned_away > 0
    assert sessions.turned_away + len(sessions.start_s) == len(tiny.arrivals())


@pytest.mark.parametrize("sizes", [(0, 10, 0), (10, 0, 0), (10, 10, -1), (20_001, 1, 0)])
def test_impossible_sizes_are_refused(sizes: tuple[int, int, int]) -> None:
    with pytest.raises(ConfigError):
        SyntheticDesktops(*sizes)
