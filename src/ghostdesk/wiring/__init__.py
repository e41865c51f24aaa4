"""Putting the parts together: which engine, store, clock and predictors this ghostdesk runs with."""

from ghostdesk.wiring.host import (
    HISTORY_WEEKS,
    file_histories,
    forget_copies,
    load_engine,
    make_profiles,
    open_settings_store,
    parking_swap,
    planner_turn,
    recent_history,
    sole_control_plane,
    store_path,
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

__all__ = [
    "HISTORY_WEEKS",
    "REMEMBERED_LAUNCHES",
    "Ghostdesk",
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
