"""Everything that is stored of a person as one JSON text, written piece by piece: a long history needs no memory."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from typing import Any

from ghostdesk.kernel.ids import UserId
from ghostdesk.profiles.location import CELL_DEGREES, Place
from ghostdesk.store.protocol import Store

FORMAT = "ghostdesk-personal-data-1"
_MOST_LAUNCHES = 1_000_000
_ALL_TIME_S = 1e12


def export_pieces(store: Store, user: UserId, now_s: float, files: Iterable[Mapping[str, Any]] = ()) -> Iterator[str]:
    """The pieces of a JSON object with all that is stored of `user`. Times are UTC seconds.

    Args:
        files: the files they opened, which are kept beside the database.

    Raises:
        StoreError: the database cannot be read; when that happens after the first piece, the text is cut short and
            is no JSON.
    """
    account = store.user(user)
    head = {
        "format": FORMAT,
        "user": user,
        "exported_s": now_s,
        "account": None if account is None else asdict(account),
    }
    parts: list[tuple[str, Iterable[Any]]] = [
        ("consents", (asdict(consent) for consent in store.consents(user))),
        ("places", (_place(place) for place in store.places(user))),
        ("modes", (asdict(mode) for mode in store.modes(user))),
        ("calendars", (asdict(calendar) for calendar in store.calendars(user))),
        ("busy_times", (asdict(time) for _, time in store.busy_times(-_ALL_TIME_S, _ALL_TIME_S, user))),
        ("prepared", (asdict(preparation) for preparation in store.preparations(user))),
        ("deletions", (asdict(deletion) for deletion in store.deletions() if deletion.user == user)),
        ("launches", (asdict(launch) for launch in store.launches(_MOST_LAUNCHES, user))),
        ("files_opened", files),
        ("events", (asdict(event) for event in store.events(user=user))),
    ]
    yield json.dumps(head, allow_nan=False)[:-1]
    for name, items in parts:
        yield f', "{name}": ['
        between = ""
        for item in items:
            yield between + json.dumps(item, allow_nan=False)
            between = ",\n"
        yield "]"
    yield "}\n"


def _place(place: Place) -> dict[str, Any]:
    cell = place.cell
    position = None if cell is None else [round(number * CELL_DEGREES, 2) for number in cell]
    return {"name": place.name, "kind": place.kind, "position_degrees": position}
