"""`ghostdesk status` and `ghostdesk forecast`: what happens now, and what is expected."""

from __future__ import annotations

import json
import ssl
import time
import urllib.error
import urllib.request
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from ghostdesk.cli.accounts import OPERATOR, checked_user, link_for, local_url
from ghostdesk.cli.common import ConfigOption, JsonOption, out, print_json, settings_of
from ghostdesk.cli.show_capacity import capacity_tables
from ghostdesk.cli.show_context import render_context
from ghostdesk.config import Settings
from ghostdesk.kernel.errors import ConfigError
from ghostdesk.profiles.forecast import ResourceQuantiles, UsageCurve
from ghostdesk.wiring import open_settings_store

_MOST_SLOTS = 48
_UNITS = {
    "cpu_cores": (1.0, "cores"),
    "memory_bytes": (2.0**20, "MiB"),
    "gpu_share": (0.01, "%"),
    "network_bytes_per_s": (2.0**10, "KiB/s"),
    "storage_bytes_per_s": (2.0**10, "KiB/s"),
}
_BLOCKS = " ▁▂▃▄▅▆▇█"


def fetch_status(settings: Settings) -> dict[str, Any]:
    """The running control plane's status, by its own API; raises `ConfigError` when none runs."""
    store = open_settings_store(settings)
    token = link_for(settings, store, OPERATOR).rpartition("=")[2]
    store.close()
    api = _Api(local_url(settings), settings.server.tls_certificate)
    try:
        api.call("POST", "/api/session", {"token": token})
        found: dict[str, Any] = api.call("GET", "/api/status")
        api.call("DELETE", "/api/session")
    except (urllib.error.URLError, OSError, ValueError) as error:
        raise ConfigError(f"No ghostdesk answers on {api.url}: {error}.", "Start it with `ghostdesk run`.") from None
    return found


class _Api:
    """The few calls that the command line makes to a running ghostdesk on this machine."""

    def __init__(self, url: str, certificate: Path | None) -> None:
        self.url = url
        handlers: list[urllib.request.BaseHandler] = [urllib.request.HTTPCookieProcessor(CookieJar())]
        if certificate is not None:
            context = ssl.create_default_context(cafile=str(certificate))
            handlers.append(urllib.request.HTTPSHandler(context=context))
        self._opener = urllib.request.build_opener(*handlers)

    def call(self, method: str, path: str, body: dict[str, str] | None = None) -> Any:
        headers = {"Content-Type": "application/json", "Origin": self.url, "Sec-Fetch-Site": "same-origin"}
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(self.url + path, data, headers, method=method)  # noqa: S310 - our own address
        with self._opener.open(request, timeout=5) as answer:
            text = answer.read()
        return json.loads(text) if text else None


def status(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show ghosts, the plan with its reasons, and how the last launches were served."""
    found = fetch_status(settings_of(config))
    if as_json:
        print_json(found)
        return
    if found["problem"]:
        out.print(f"[yellow]{found['problem']}[/]")
    _print_forecasts(found["forecasts"])
    _print_prefetch(found["prefetch"])
    if (files := found["files"])["loads"]:
        out.print(
            f"Files: {files['files']} of people's own read ahead, {files['loaded_bytes'] / 2**20:.0f} MiB; "
            f"{files['hits']} of {files['opens']} that they opened had been",
            markup=False,
            highlight=False,
        )
    out.print(render_context(found["context"]))
    ghosts = Table("ghost", "state", "whose", "hidden applications", "memory", "why", title="Ghosts")
    for g in found["ghosts"]:
        state = g["state"] + (f" ({g['pending']} …)" if g["pending"] else "")
        memory = f"{g['memory_bytes'] / 2**20:.0f} MiB"
        ghosts.add_row(g["ghost"], state, g["owner"] or "nobody's", ", ".join(g["apps"]), memory, g["reason"])
    plan = Table("when", "what", "ghost", "why", "came to", title=f"Plan: {found['pool_target']} generic ghosts")
    for a in found["plan"][:15]:
        when = time.strftime("%H:%M:%S", time.localtime(a["time_s"]))
        plan.add_row(when, a["action"], a["subject"], a["reason"], a["done"] or "…")
    launches = Table("when", "who", "what", "served", "in", "why", title="Last launches")
    for r in found["launches"][:15]:
        when = time.strftime("%H:%M:%S", time.localtime(r["time_s"]))
        launches.add_row(when, r["user"], r["what"], r["path"], f"{r['duration_s'] * 1000:.0f} ms", r["reason"])
    out.print(ghosts, plan, *capacity_tables(found), launches)


def _print_forecasts(told: dict[str, Any]) -> None:
    """Which model is in use, whether forecasts come true, and what helps when they do not."""
    model = f"model {told['model']}" if told["model"] else "no trained model"
    learning = f", model {told['learning']} is being taken up" if told["learning"] else ""
    seen = []
    if told["hit_rate"] is not None:
        seen.append(f"first choice right {told['hit_rate']:.0%}, {told['loss_nats']:.2f} nats a step")
    if told["half_hours"]:
        seen.append(
            f"{told['sign_ins_came_a_week']:.0f} sign-ins a week, {told['sign_ins_expected_a_week']:.0f} forecast"
        )
    out.print(f"Forecasts: {model}{learning}. {'; '.join(seen)}", markup=False, highlight=False)
    for words in (told["problem"], told["words"], told["mend"]):
        if words:
            out.print(words, style="yellow" if told["drifted"] or told["problem"] else "dim", markup=False)


def _print_prefetch(told: dict[str, Any]) -> None:
    """What was loaded ahead of launches, what came of it, and what was left out."""
    if not told["sets"] and not told["loads"]:
        return
    mib = {name: told[f"{name}_bytes"] / 2**20 for name in ("read", "used", "wasted")}
    out.print(
        f"Prefetch: launches of {told['sets']} applications recorded; {told['loads']} loads, "
        f"{mib['read']:.0f} MiB read, {mib['used']:.0f} used and {mib['wasted']:.0f} not used within the hour; "
        f"{told['hits']} of {told['launches']} launches were loaded for",
        markup=False,
        highlight=False,
    )
    for words in (told["loading"] and f"loading now: {told['loading']}", told["last"] and f"last: {told['last']}"):
        if words:
            out.print(words, style="dim", markup=False)
    left_out = ", ".join(f"{count} {why}" for why, count in {**told["skipped"], **told["stopped"]}.items())
    if left_out:
        out.print(f"left out or ended early: {left_out}", style="dim", markup=False)


def forecast(
    user: Annotated[str, typer.Argument(help="Whose.")],
    hours: Annotated[float, typer.Option(min=0.1, max=48.0, help="How far ahead.")] = 2.0,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show when USER is expected, with which applications and how much of each resource, from the stored history."""
    from ghostdesk.control.profile_feed import read_surroundings  # heavy, and only needed here
    from ghostdesk.wiring import make_profiles, recent_history

    settings = settings_of(config)
    store = open_settings_store(settings)
    now_s = time.time()
    history = recent_history(store, now_s)
    surroundings = read_surroundings(store, now_s, settings.telemetry.sources)
    store.close()
    engine = make_profiles(settings)
    surroundings.tell(engine)
    engine.fit(history, now_s)
    slot_s = settings.forecast.slot_s * max(1, round(hours * 3600 / settings.forecast.slot_s / _MOST_SLOTS))
    curve = engine.usage_curve(checked_user(user), now_s, hours * 3600, slot_s)
    if as_json:
        print_json(curve)
    else:
        _draw(curve, len(history), hours)


def _draw(curve: UsageCurve, events: int, hours: float) -> None:
    out.print(f"{curve.user}, the next {hours:g} h in slots of {curve.slot_s / 60:.0f} min ({events:,} events known)")
    lanes = Table("", "hour by hour", "at most", box=None, header_style="dim")
    lanes.add_row("sign-in", f"[cyan]{_bars(curve.arrival)}[/]", f"{max(curve.arrival, default=0):.1%} a slot")
    lanes.add_row("presence", f"[green]{_bars(curve.presence)}[/]", f"{max(curve.presence, default=0):.1%}")
    for app, chances in curve.in_use.items():
        lanes.add_row(Text(app), f"[magenta]{_bars(chances)}[/]", f"{max(chances, default=0):.1%}")
    out.print(lanes)
    table = Table("next application", "probability")
    for launch in curve.apps[:8]:
        table.add_row(Text(launch.app), f"{launch.probability:.1%}")
    out.print(table)
    if curve.quantiles is not None:
        out.print(_resources(curve.quantiles))
    for reason in curve.reasons:
        out.print(f"· {reason}", markup=False)


def _resources(found: ResourceQuantiles) -> Table:
    """The first slot's quantiles: while the user is there."""
    shown = [found.levels.index(level) for level in (0.1, 0.5, 0.9, 0.975)]
    table = Table("while there", *(f"{found.levels[i]:.1%} stay below" for i in shown))
    for name, slots in found.amounts.items():
        scale, unit = _UNITS[name]
        table.add_row(name.partition("_")[0], *(f"{slots[0][i] / scale:,.2f} {unit}" for i in shown))
    return table


def _bars(values: tuple[float, ...]) -> str:
    top = max(values, default=0.0) or 1.0
    return "".join(_BLOCKS[round(v / top * (len(_BLOCKS) - 1))] for v in values)
