"""From settings to the rules that deciding parts go by: pure."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any
from zoneinfo import ZoneInfo

from ghostdesk.allocator.conditions_gate import Band, GateRules
from ghostdesk.allocator.energy_model import HOST_TYPES, HostPowerModel
from ghostdesk.allocator.links import LinkRules
from ghostdesk.allocator.plan import PoolPolicy
from ghostdesk.allocator.policies.choosing import chosen_setting
from ghostdesk.config import Settings
from ghostdesk.control.calendar_sync import CalendarOptions
from ghostdesk.control.policy_feed import PolicyFeed
from ghostdesk.engines.local.parking_swap import SwapWish
from ghostdesk.engines.local.remote_homes import RemoteSource
from ghostdesk.ghosts.ghost import DesktopTemplate
from ghostdesk.kernel.clock import Clock
from ghostdesk.kernel.errors import ConfigError
from ghostdesk.kernel.ids import TemplateId, app_id
from ghostdesk.kernel.resources import Resources
from ghostdesk.telemetry.calendars.addresses import AddressPolicy


def calendar_options(settings: Settings) -> CalendarOptions:
    """How calendars are read under these settings."""
    chosen = settings.calendars
    return CalendarOptions(
        timezone=settings.forecast.timezone,
        policy=AddressPolicy(frozenset(host.lower() for host in chosen.allowed_hosts)),
        ca_file=str(chosen.ca_file) if chosen.ca_file else None,
        sync_every_s=chosen.sync_every_s,
        operator_sources=settings.telemetry.sources,
    )


def remote_source(settings: Settings) -> RemoteSource:
    """Where homes are on a server; raises `ConfigError` for what is no such place."""
    return RemoteSource.parse(settings.homes.remote, settings.homes.options, settings.homes.cache_bytes)


def pool_policy(settings: Settings) -> PoolPolicy:
    """The allocator's policy from the settings."""
    engine, pool = settings.engine, settings.pool
    template = DesktopTemplate(
        TemplateId("generic"),
        engine.width_px,
        engine.height_px,
        tuple(app_id(app) for app in engine.apps),
        engine.network,
    )
    return PoolPolicy(
        template=template,
        floor=pool.floor,
        ceiling=max(pool.ceiling, pool.floor),
        target_hit_rate=pool.target_hit_rate,
        warm_threshold=pool.warm_threshold,
        warm_lead_s=pool.warm_lead_s,
        warm_apps=pool.warm_apps,
        active_app_threshold=pool.active_app_threshold,
        park_after_s=pool.park_after_s,
        ghost_limits=Resources(
            cpu_cores=pool.ghost_cpu_cores,
            memory_bytes=pool.ghost_memory_bytes,
            gpu_share=pool.gpu_share,
            network_bytes_per_s=pool.ghost_network_bytes_per_s,
            storage_bytes_per_s=pool.ghost_storage_bytes_per_s,
        ),
        active_limits=Resources(
            cpu_cores=pool.active_cpu_cores,
            memory_bytes=pool.active_memory_bytes,
            gpu_share=pool.gpu_share,
            network_bytes_per_s=pool.active_network_bytes_per_s,
            storage_bytes_per_s=pool.active_storage_bytes_per_s,
        ),
        in_steps=pool.prewarm_in_steps,
        forecast_only=settings.forecast.forecast_only,
    )


def gate_rules(settings: Settings) -> GateRules:
    """When warming is held back; raises `ConfigError` for levels that do not rise."""
    chosen = settings.context
    bands = {}
    for name in ("cpu_pressure", "memory_pressure", "io_pressure", "memory_in_use", "swap_in_use", "disk_in_use"):
        try:
            bands[name] = Band(*getattr(chosen, name))
        except ValueError as error:
            raise ConfigError(
                f"context.{name}: {error}.", "Give three rising levels: as usual below, slow from, paused from."
            ) from None
    if not (0.0 <= chosen.dwell_s < math.inf and 0.0 <= chosen.fault_hold_s < math.inf):
        raise ConfigError("context.dwell_s and context.fault_hold_s must be 0 or more.", "Give seconds, such as 30.")
    return GateRules(
        cpu=bands["cpu_pressure"],
        memory=bands["memory_pressure"],
        io=bands["io_pressure"],
        memory_use=bands["memory_in_use"],
        swap=bands["swap_in_use"],
        disk=bands["disk_in_use"],
        dwell_s=chosen.dwell_s,
        fault_hold_s=chosen.fault_hold_s,
        watch=chosen.warming_gate,
    )


def link_rules(settings: Settings) -> LinkRules:
    """What a line to a browser must do; raises `ConfigError` for amounts that are no amounts."""
    picture_bytes, budget_s = settings.context.preconnect_picture_bytes, settings.context.preconnect_budget_s
    if not (0.0 <= picture_bytes < math.inf and budget_s > 0.0):
        raise ConfigError(
            "context.preconnect_picture_bytes must be 0 or more, and context.preconnect_budget_s above 0.",
            "Give bytes, such as 200000, and seconds, such as 2.",
        )
    return LinkRules(picture_bytes, budget_s)


def chosen_policy(settings: Settings, clock: Clock) -> PolicyFeed | None:
    """The policy that the settings name, none where they name none; raises `ConfigError` for an unknown one."""
    if not settings.pool.policy:
        return None
    try:
        _, setting = chosen_setting(settings.pool.policy)
    except ConfigError as error:
        raise ConfigError(f"pool.policy: {error.cause}", error.mend) from None
    return PolicyFeed(setting.make(), clock, zone=ZoneInfo(settings.forecast.timezone))


def host_power_model(settings: Settings) -> HostPowerModel:
    """The model that answers where no sensor does; raises `ConfigError` for watts that cannot be."""
    chosen = settings.energy
    assumed = HOST_TYPES.get(chosen.host_type)
    if assumed is None:
        raise ConfigError(f"energy.host_type {chosen.host_type!r} is not known.", f"Known: {', '.join(HOST_TYPES)}.")
    every = {
        "idle_w": settings.power.idle_w,
        "busy_w": settings.power.busy_w,
        "suspended_w": chosen.suspended_w,
        "wake_time_s": chosen.wake_time_s,
    }
    told: dict[str, Any] = {name: value for name, value in every.items() if value > 0.0}
    if told:
        told["source"] = "given in the settings"
    if "suspended_w" not in told:  # nothing draws more asleep than idle
        told["suspended_w"] = min(assumed.suspended_w, told.get("idle_w", assumed.idle_w))
    try:
        return replace(assumed, **told)
    except ValueError as error:
        raise ConfigError(f"[energy]: {error}.", "Give suspended_w <= power.idle_w <= power.busy_w.") from None


def swap_wish(settings: Settings) -> SwapWish:
    """The swap that the operator asked for: none, unless desktops run on this host."""
    if settings.engine.name != "local":
        return SwapWish()
    parking = settings.parking
    return SwapWish(
        int(parking.zram_bytes), parking.zram_algorithm, parking.zram_priority, int(parking.swap_file_bytes)
    )
