"""`ghostdesk bench launch`: from asking for an application until its whole window is painted, rung by rung."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ghostdesk.bench.desk import BenchError, Hub, desk
from ghostdesk.bench.host import Provenance
from ghostdesk.bench.launch_report import LaunchReport, LaunchSample, Missing
from ghostdesk.bench.rungs import BENCH_APPS, EXEC_RUNGS, BenchApp, Rung
from ghostdesk.bench.trial import Stage, can_drop_page_cache
from ghostdesk.engines.protocol import Engine
from ghostdesk.ghosts.ghost import DesktopTemplate
from ghostdesk.kernel.errors import GhostdeskError
from ghostdesk.kernel.ids import GhostId, TemplateId, UserId

_TEMPLATE = DesktopTemplate(TemplateId("bench"))
_USER = UserId("bench-launch")


async def run_launch_bench(
    engine: Engine,
    hub: Hub,
    provenance: Provenance,
    *,
    apps: Sequence[BenchApp] = BENCH_APPS,
    rounds: int = 10,
    rungs: Sequence[Rung] = tuple(Rung),
    progress: Callable[[str], None] = lambda _: None,
) -> LaunchReport:
    """Measure each application on a ghost of its own, all rungs back to back in each round.

    Each ghost has a home attached, has no limits, and starts the application once before anything is measured, so that
    its profile exists. A trial that fails is reported in `missing` and the run goes on. Raises `BenchError` when
    nothing could be measured. Cold starts empty the whole host's page cache: not on a host in use.

    Args:
        engine, hub: started; ghosts named `bench...` are built and destroyed.
        provenance: where and when, see `host.this_host`.
        apps: what to measure; those that are not installed are named in `missing`.
        rounds: trials of each rung.
        rungs: which, in the order of each round.
        progress: told each step in a few words.
    """
    run = _Run(engine, hub, rounds, tuple(rungs), progress)
    run.leave_out_cold_without_right()
    for index, app in enumerate(apps):
        await run.measure(app, index)
    if not run.samples:
        reason = run.missing[-1].reason if run.missing else "no application was asked for"
        raise BenchError(
            f"Nothing could be measured: {reason}.", "Look at what this host lacks with `ghostdesk doctor`."
        )
    return LaunchReport(provenance, rounds, run.rungs, tuple(run.samples), tuple(run.missing))


class _Run:
    """The state of one run: what was found so far."""

    def __init__(
        self, engine: Engine, hub: Hub, rounds: int, rungs: tuple[Rung, ...], progress: Callable[[str], None]
    ) -> None:
        self._engine, self._hub, self._rounds, self._progress = engine, hub, rounds, progress
        self.rungs = rungs
        self.samples: list[LaunchSample] = []
        self.missing: list[Missing] = []

    def leave_out_cold_without_right(self) -> None:
        """The cold rung needs the right to empty the page cache; the others go on without it."""
        if Rung.COLD in self.rungs and not can_drop_page_cache():
            self.rungs = tuple(rung for rung in self.rungs if rung is not Rung.COLD)
            self._miss("", Rung.COLD, None, "emptying the page cache needs root")

    async def measure(self, app: BenchApp, index: int) -> None:
        """All rounds of one application."""
        ghost = GhostId(f"bench{index}")
        self._progress(f"{app.name}: building a ghost")
        try:
            async with desk(self._engine, self._hub, ghost, _TEMPLATE, _USER, in_use=True) as here:
                installed = await here.installed()
                app_id = next((each for each in app.apps if each in installed), None)
                if app_id is None:
                    self._miss(app.name, None, None, "is not installed")
                    return
                async with await here.watch() as screen:
                    await screen.wait_quiet(1.0, 10.0)
                    await self._rounds_of(app, Stage(here, screen, app, app_id))
        except GhostdeskError as error:
            self._miss(app.name, None, None, str(error))

    async def _rounds_of(self, app: BenchApp, stage: Stage) -> None:
        self._progress(f"{app.name}: first start, not measured")
        await stage.trial(Rung.CACHED)
        for number in range(1, self._rounds + 1):
            for rung in self.rungs:
                self._progress(f"{app.name}: round {number} of {self._rounds}, {rung}")
                await self._trial(app, stage, rung, number)
        await stage.close()

    async def _trial(self, app: BenchApp, stage: Stage, rung: Rung, number: int) -> None:
        try:
            timing = await stage.trial(rung)
        except (GhostdeskError, ValueError) as error:
            self._miss(app.name, rung, number, str(error))
            await stage.close()
            return
        self.samples.append(LaunchSample(app.name, rung, number, timing.painted_s, timing.key_s))
        if rung not in EXEC_RUNGS and timing.key_s is None:
            self._miss(app.name, rung, number, "no echo of a first key was seen")

    def _miss(self, app: str, rung: Rung | None, number: int | None, reason: str) -> None:
        self.missing.append(Missing(app, rung, number, reason))
        self._progress(f"{app or 'all'}{'' if rung is None else f', {rung}'}: {reason}")
