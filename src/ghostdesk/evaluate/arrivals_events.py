"""Sessions of usage events that are not in a table: ghostdesk's own store, or an export that an importer reads."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime, tzinfo

import numpy as np

from ghostdesk.evaluate.arrivals_reading import ArrivalHistory
from ghostdesk.evaluate.arrivals_timeline import RowUse, lonely_times, sessions_from_events
from ghostdesk.evaluate.state_log import desktop_uses
from ghostdesk.kernel.errors import ImportFileError
from ghostdesk.profiles.baselines.sessions import ACTIVITY
from ghostdesk.telemetry.events import EventKind, UsageEvent


def history_of_events(
    events: Iterable[UsageEvent], zone: tzinfo, source: str, notes: Sequence[str] = ()
) -> ArrivalHistory:
    """People's sessions; where no event names anybody, those of shared desktops.

    Args:
        events: in any order.
        zone: of people's clocks.
        source: what the events are from, for the error.
        notes: what its reader found odd.

    Raises:
        ImportFileError: nobody ever arrived.
    """
    signs: dict[str, list[tuple[float, EventKind]]] = defaultdict(list)
    states: list[tuple[float, str, str]] = []
    for event in events:
        if event.kind is EventKind.DESKTOP_STATE:
            states.append((event.time_s, event.desktop or "", event.detail or ""))
        elif event.user is not None and (event.kind in ACTIVITY or event.kind is EventKind.SIGN_OUT):
            signs[event.user].append((event.time_s, event.kind))
    if signs:
        rows = [_person(name, told, zone) for name, told in signs.items()]
        history = ArrivalHistory(rows, "user", (60,), list(notes))
    else:
        history = _desktops(states, notes)
    if not any(len(row.start_s) for row in history.rows):
        raise ImportFileError(
            f"{source} holds no session: nobody ever arrived.", "Import a history with `ghostdesk import FILE` first."
        )
    return history


def _person(name: str, told: list[tuple[float, EventKind]], zone: tzinfo) -> RowUse:
    row = sessions_from_events(name, told)
    offsets = [datetime.fromtimestamp(t, zone).utcoffset() for t in row.start_s.tolist()]
    offset_s = np.array([one.total_seconds() if one is not None else 0.0 for one in offsets])
    return RowUse(row.name, row.start_s, row.end_s, offset_s, row.until_s)


def _desktops(states: list[tuple[float, str, str]], notes: Sequence[str]) -> ArrivalHistory:
    states.sort(key=lambda one: one[0])
    names = sorted({desktop for _, desktop, _ in states})
    kinds = sorted({state for _, _, state in states})
    time_s = np.array([one[0] for one in states])
    right = ~lonely_times(time_s) if len(time_s) else np.zeros(0, dtype=bool)
    place = {name: number for number, name in enumerate(names)}
    kind = {name: number for number, name in enumerate(kinds)}
    desktop = np.array([place[one[1]] for one in states], dtype=np.int64)
    state = np.array([kind[one[2]] for one in states], dtype=np.int64)
    uses, odd = desktop_uses(names, desktop[right], state[right], time_s[right], kinds)
    return ArrivalHistory(uses, "desktop", (10,), [*notes, *(finding.sentence() for finding in odd)], tuple(odd))
