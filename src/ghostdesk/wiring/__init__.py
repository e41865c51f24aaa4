"""Putting the parts together: which engine, store, clock and predictors this ghostdesk runs with.

Names are imported when they are first asked for: a command that only opens the database does not wait for predictors.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ghostdesk.wiring.host import (
        HISTORY_WEEKS,
        file_histories,
        forget_copies,
        load_engine,
        make_profiles,
        parking_swap,
        recent_history,
    )
    from ghostdesk.wiring.rules import (
        calendar_options,
        chosen_policy,
        gate_rules,
        host_power_model,
        link_rules,
        pool_policy,
        remote_source,
        swap_wish,
    )
    from ghostdesk.wiring.service import REMEMBERED_LAUNCHES, Ghostdesk, assemble
    from ghostdesk.wiring.store import (
        InUse,
        open_as_it_is,
        open_settings_store,
        planner_turn,
        sole_control_plane,
        store_path,
    )

__all__ = [
    "HISTORY_WEEKS",
    "REMEMBERED_LAUNCHES",
    "Ghostdesk",
    "InUse",
    "assemble",
    "calendar_options",
    "chosen_policy",
    "file_histories",
    "forget_copies",
    "gate_rules",
    "host_power_model",
    "link_rules",
    "load_engine",
    "make_profiles",
    "open_as_it_is",
    "open_settings_store",
    "parking_swap",
    "planner_turn",
    "pool_policy",
    "recent_history",
    "remote_source",
    "sole_control_plane",
    "store_path",
    "swap_wish",
]

_HOMES = {
    "host": "HISTORY_WEEKS file_histories forget_copies load_engine make_profiles parking_swap recent_history",
    "rules": "calendar_options chosen_policy gate_rules host_power_model link_rules pool_policy remote_source "
    "swap_wish",
    "service": "REMEMBERED_LAUNCHES Ghostdesk assemble",
    "store": "InUse open_as_it_is open_settings_store planner_turn sole_control_plane store_path",
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    """PEP 562."""
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{home}"), name)
