"""`ghostdesk bench fleet`: what a fleet on Incus or LXD costs, on the server that the settings name."""

from __future__ import annotations

import logging
from dataclasses import asdict, replace
from typing import Annotated, Any

import typer

from ghostdesk.bench.fleet import Clone, Ticks, make_instances, measure_clones, measure_ticks
from ghostdesk.bench.host import Provenance
from ghostdesk.bench.stats import Summary, summarise
from ghostdesk.cli.bench_running import Progress, with_engine
from ghostdesk.cli.common import ConfigOption, JsonOption, out, print_json, settings_of
from ghostdesk.control.recover import recover
from ghostdesk.engines.incus.engine import IncusEngine
from ghostdesk.engines.incus.server import api_from
from ghostdesk.ghosts.ghost import DesktopTemplate
from ghostdesk.kernel.errors import ConfigError
from ghostdesk.kernel.ids import TemplateId
from ghostdesk.kernel.resources import MIB, Resources
from ghostdesk.wiring import Ghostdesk


def fleet(
    ghosts: Annotated[int, typer.Option(min=0, max=5000, help="Instances for the ticks; 0 for none.")] = 200,
    ticks: Annotated[int, typer.Option(min=1, help="Ticks to time.")] = 10,
    clones: Annotated[int, typer.Option(min=0, help="Desktops to build and see painted; 0 for none.")] = 5,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """From nothing to a painted desktop, and the control loop's tick over many instances, on a server or cluster.

    The instances for the ticks are real, but their first process only sleeps. All that was made is removed.
    """
    settings = settings_of(config)
    if settings.engine.name != "incus":
        raise ConfigError("This measures Incus and LXD.", 'Give --config with engine.name = "incus".')
    wide = replace(settings, pool=replace(settings.pool, ceiling=max(ghosts, 20), ghost_memory_bytes=MIB))
    template = DesktopTemplate(TemplateId("bench"), settings.engine.width_px, settings.engine.height_px)

    async def work(desk: Ghostdesk, progress: Progress, origin: Provenance) -> dict[str, Any]:
        assert isinstance(desk.engine, IncusEngine)
        made = await measure_clones(desk.engine, template, Resources(), clones, progress)
        timed = await _ticks(desk, template, ghosts, ticks, progress) if ghosts else None
        return _told(made, timed, origin)

    told = with_engine(wide, 0, work)
    if as_json:
        print_json(told)
        return
    for line in _lines(told):
        out.print(line, markup=False, highlight=False)


async def _ticks(desk: Ghostdesk, template: DesktopTemplate, ghosts: int, ticks: int, progress: Progress) -> Ticks:
    """Make the instances, take them over as after a restart, and time ticks that hold them all."""
    assert isinstance(desk.engine, IncusEngine)
    api = api_from(desk.settings.engine)
    try:
        made_in_s = await make_instances(desk.engine, api, template, ghosts, progress)
        logging.getLogger("ghostdesk.control.recover").setLevel(logging.ERROR)  # they have no agents
        await recover(desk.loop.manager, desk.engine, desk.hub, desk.executor, desk.journal, desk.clock)
        desk.loop.policy = replace(desk.loop.policy, floor=ghosts, ceiling=ghosts)
        progress(f"{ticks} ticks")
        return await measure_ticks(desk.engine, api, desk.loop.tick, ticks, made_in_s)
    finally:
        await api.close()


def _told(clones: list[Clone], ticks: Ticks | None, origin: Provenance) -> dict[str, Any]:
    return {
        "schema": "ghostdesk.bench.fleet/1",
        "provenance": asdict(origin),
        "clones": [asdict(clone) for clone in clones],
        "answers_s": _sum(summarise(clone.answers_s for clone in clones)),
        "painted_s": _sum(summarise(clone.painted_s for clone in clones)),
        "ticks": asdict(ticks) | {"first_process": "sleeps"} if ticks is not None else None,
        "observe_s": _sum(summarise(ticks.observe_s)) if ticks is not None else None,
        "tick_s": _sum(summarise(ticks.tick_s)) if ticks is not None else None,
    }


def _sum(summary: Summary | None) -> dict[str, Any] | None:
    return asdict(summary) if summary is not None else None


def _lines(told: dict[str, Any]) -> list[str]:
    lines = []
    for key, what in (
        ("answers_s", "a new desktop's screen answers after"),
        ("painted_s", "and is painted after"),
        ("observe_s", "reading all instances takes"),
        ("tick_s", "a tick of the control loop takes"),
    ):
        if (found := told[key]) is not None:
            lines.append(
                f"{what} {found['median']:.3f} s at the median ({found['minimum']:.3f} to {found['maximum']:.3f}, "
                f"n = {found['n']})"
            )
    if (ticks := told["ticks"]) is not None:
        lines.append(
            f"{ticks['instances']} instances on {ticks['members']} members, made in {ticks['made_in_s']:.0f} s; "
            "their first process only sleeps"
        )
    return [*lines, Provenance(**told["provenance"]).line()]
