"""`ghostdesk bench prefetch`: launches from a cold disk, from a cold disk after a prefetch, and from a warm page cache.

Each application runs in a real ghost of its own, with a home attached. One launch is recorded (see
docs/explanation/prefetch.md); then all conditions follow one another in each round, round after round.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack

from ghostdesk.bench.desk import BenchError, Hub, desk
from ghostdesk.bench.host import Provenance
from ghostdesk.bench.prefetch_report import Condition, Gap, Load, PrefetchReport, RecordedSet, Trial, whole_windows
from ghostdesk.bench.rungs import BENCH_APPS, BenchApp
from ghostdesk.bench.slow_disk import slow_disk
from ghostdesk.bench.trial import Stage, can_drop_page_cache, drop_page_cache
from ghostdesk.engines.prefetcher import Prefetcher, Prefetches
from ghostdesk.engines.protocol import Engine
from ghostdesk.ghosts.ghost import DesktopTemplate
from ghostdesk.kernel.errors import GhostdeskError
from ghostdesk.kernel.ids import AppId, GhostId, TemplateId, UserId
from ghostdesk.prefetch.plan import LoadLimits, PrefetchWish

_TEMPLATE = DesktopTemplate(TemplateId("bench"))
_USER = UserId("bench-prefetch")
_SLOW = frozenset({Condition.SLOW_COLD, Condition.SLOW_PREFETCHED})
_LOADED = frozenset({Condition.PREFETCHED, Condition.SLOW_PREFETCHED})
_BUDGET_BYTES = 4e9


async def run_prefetch_bench(
    engine: Engine,
    hub: Hub,
    provenance: Provenance,
    *,
    apps: Sequence[BenchApp] = BENCH_APPS,
    rounds: int = 5,
    slow_reads_per_s: int = 150,
    slow_rounds: int = 1,
    record_warm: bool = False,
    conditions: Sequence[Condition] = tuple(Condition),
    limit_s: float = 0.0,
    progress: Callable[[str], None] = lambda _: None,
) -> PrefetchReport:
    """Measure each application; what fails is reported in `missing` and the run goes on.

    Cold starts empty the whole host's page cache: not on a host in use.

    Args:
        engine, hub: started; ghosts named `prefetch...` are built and destroyed.
        provenance: where and when.
        apps: what to measure; those that are not installed are named in `missing`.
        rounds: trials of each condition.
        slow_reads_per_s: reads a second of the slow disk; 0 leaves it out.
        slow_rounds: of the rounds, how many are done on the slow disk too.
        record_warm: record a launch whose files were all cached instead of one from the disk.
        conditions: which, in the order of each round.
        limit_s: no trial begins later than this after the start, and what is left out is named; 0 for no limit.
        progress: told each step in a few words.

    Raises:
        BenchError: this host cannot prefetch or empty its page cache, or nothing could be measured.
    """
    prefetcher = engine.prefetcher if isinstance(engine, Prefetches) else None
    if prefetcher is None or not can_drop_page_cache():
        raise BenchError("Recording launches and emptying the page cache need root.", "Run it as root.")
    before = os.getloadavg()[0]
    run = _Run(
        engine, hub, prefetcher, rounds, slow_reads_per_s, slow_rounds, record_warm, conditions, limit_s, progress
    )
    for index, app in enumerate(apps):
        await run.measure(app, index)
    if not run.trials:
        reason = run.missing[-1].reason if run.missing else "no application was asked for"
        raise BenchError(
            f"Nothing could be measured: {reason}.", "Look at what this host lacks with `ghostdesk doctor`."
        )
    return PrefetchReport(
        provenance, rounds, slow_reads_per_s, "warm" if record_warm else "cold", (before, os.getloadavg()[0]),
        tuple(run.sets), tuple(run.trials), tuple(run.loads), tuple(run.missing),
    )  # fmt: skip


class _Run:
    """The state of one run."""

    def __init__(
        self, engine: Engine, hub: Hub, prefetcher: Prefetcher, rounds: int, slow_reads_per_s: int, slow_rounds: int,
        record_warm: bool, conditions: Sequence[Condition], limit_s: float, progress: Callable[[str], None],
    ) -> None:  # fmt: skip
        self._engine, self._hub, self._prefetcher, self._progress = engine, hub, prefetcher, progress
        self._rounds, self._slow_reads_per_s, self._slow_rounds = rounds, slow_reads_per_s, slow_rounds
        self._record_warm, self._conditions = record_warm, conditions
        self._until_s = time.monotonic() + limit_s if limit_s > 0 else float("inf")
        self.sets: list[RecordedSet] = []
        self.trials: list[Trial] = []
        self.loads: list[Load] = []
        self.missing: list[Gap] = []

    async def measure(self, app: BenchApp, index: int) -> None:
        """All rounds of one application."""
        before = len(self.trials)
        await self._measure(app, index)
        good, bad = whole_windows(self.trials[before:])
        self.trials[before:] = good
        self.missing.extend(bad)

    async def _measure(self, app: BenchApp, index: int) -> None:
        ghost = GhostId(f"prefetch{index}")
        self._progress(f"{app.name}: building a ghost")
        try:
            async with desk(self._engine, self._hub, ghost, _TEMPLATE, _USER, in_use=True) as here:
                installed = await here.installed()
                app_id = next((each for each in app.apps if each in installed), None)
                if app_id is None:
                    self._miss(app.name, "", None, "is not installed")
                    return
                async with await here.watch() as screen:
                    await screen.wait_quiet(1.0, 10.0)
                    stage = Stage(here, screen, app, app_id)
                    self._progress(f"{app.name}: first start, not measured")
                    await stage.start()
                    await self._record(stage, app, ghost, app_id)
                    for number in range(1, self._rounds + 1):
                        for condition in self._conditions:
                            await self._trial(stage, app, ghost, app_id, condition, number)
                    await stage.close()
        except GhostdeskError as error:
            self._miss(app.name, "", None, str(error))

    async def _record(self, stage: Stage, app: BenchApp, ghost: GhostId, app_id: AppId) -> None:
        """One launch is recorded, as each hidden launch is in the service."""
        self._progress(f"{app.name}: recording a launch")

        async def prepare() -> None:
            if not self._record_warm:
                await drop_page_cache()
            self._prefetcher.launch_begins(ghost, app_id, in_use=False)

        try:
            timing = await stage.start(prepare)
        except (GhostdeskError, ValueError):
            self._prefetcher.launch_ended(ghost, 0.0, started=False)
            raise
        self._prefetcher.launch_ended(ghost, timing.painted_s, started=True)
        found = await self._prefetcher.recorded(app_id)
        if found is None:
            raise BenchError("The launch was not recorded.", "The log says why.")
        self.sets.append(
            RecordedSet(app.name, len(found.files), len(found.folders), found.bytes_total, found.recordings)
        )

    async def _trial(
        self, stage: Stage, app: BenchApp, ghost: GhostId, app_id: AppId, condition: Condition, number: int
    ) -> None:
        if condition in _SLOW and not (self._slow_reads_per_s and number <= self._slow_rounds):
            return
        if time.monotonic() > self._until_s:
            self._miss(app.name, condition, number, "left out: the time was up")
            return
        self._progress(f"{app.name}: round {number} of {self._rounds}, {condition}")

        async def prepare() -> None:
            if condition is not Condition.WARM:
                await drop_page_cache()
            if condition in _SLOW:
                throttle.enter_context(slow_disk(self._engine.endpoint(ghost).agent_uid, self._slow_reads_per_s))
            if condition in _LOADED:
                await self._load(app, app_id, condition, number)

        with ExitStack() as throttle:
            try:
                if condition is Condition.WARM:
                    await stage.start()  # whatever was dropped is read again
                timing = await stage.start(prepare)
            except (GhostdeskError, ValueError) as error:
                self._miss(app.name, condition, number, str(error))
                await stage.close()
                return
        self.trials.append(Trial(app.name, condition, number, timing.painted_s, timing.window.area_px))

    async def _load(self, app: BenchApp, app_id: AppId, condition: Condition, number: int) -> None:
        wish = PrefetchWish((app_id,), None, 1.0, _BUDGET_BYTES, "arranged by the benchmark")
        done = await self._prefetcher.load(wish, LoadLimits())
        self.loads.append(
            Load(
                app.name,
                condition,
                number,
                done.duration_s,
                done.read_bytes,
                done.files,
                dict(done.skipped),
                done.stopped,
            )
        )
        if done.stopped:
            self._miss(app.name, condition, number, f"the prefetch ended early: {done.stopped}")

    def _miss(self, app: str, condition: str, number: int | None, reason: str) -> None:
        self.missing.append(Gap(app, condition, number, reason))
        self._progress(f"{app}, {condition}: {reason}")
