"""`ghostdesk train`: a new model from history, that goes live only if it is better."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from ghostdesk.cli.common import ConfigOption, JsonOption, RayOption, err, out, print_json, settings_of
from ghostdesk.config import Settings
from ghostdesk.kernel.errors import ConfigError
from ghostdesk.profiles.lstm_step import LstmConfig
from ghostdesk.profiles.next_app.mixture import SIMPLE
from ghostdesk.training.cluster import cluster_or_none
from ghostdesk.training.curve_hours import CurveHours
from ghostdesk.training.curves import CurveTrainReport, train_curves_on
from ghostdesk.training.loop import Trainer, TrainOptions, TrainProgress
from ghostdesk.training.run import TrainerFactory, TrainReport, TrainRequest, Watcher, until_s
from ghostdesk.training.run import train as run_training
from ghostdesk.training.sources import HistorySource, file_source, store_source
from ghostdesk.wiring import open_settings_store


class Part(StrEnum):
    """What is trained."""

    APPLICATIONS = "applications"
    CURVES = "curves"


EpochsOption = Annotated[
    int | None,
    typer.Option(min=1, max=100, help="Passes over the history at most.", show_default="2 to 12, by its length"),
]
BudgetOption = Annotated[
    float | None,
    typer.Option(min=1.0, help="End training after so many seconds.", show_default="none"),
]
OnlyOption = Annotated[
    Part | None, typer.Option(help="Train one of the two alone; the curves need no PyTorch.", show_default="both")
]


def train(
    history: Annotated[
        Path | None, typer.Option(help="Train on this file instead of what is stored.", show_default="the store")
    ] = None,
    epochs: EpochsOption = None,
    seed: Annotated[int, typer.Option(min=0, help="Equal seeds give equal weights.")] = 0,
    hidden: Annotated[int, typer.Option(min=8, max=512, help="Units of the model's memory.")] = 64,
    memory_mib: Annotated[int, typer.Option(min=1, help="Memory that training may take.")] = 1024,
    budget_s: BudgetOption = None,
    threads: Annotated[
        int, typer.Option(min=1, max=256, help="Processor threads; more than 1 pays on an idle machine only.")
    ] = 1,
    timezone: Annotated[
        str, typer.Option(help="Zone of the file's times that name none.", show_default="forecast.timezone")
    ] = "",
    resume: Annotated[
        bool, typer.Option("--resume/--no-resume", help="Go on with a training that was interrupted.")
    ] = True,
    promote: Annotated[
        bool, typer.Option("--promote/--no-promote", help="Let a better model go live by itself.")
    ] = True,
    only: OnlyOption = None,
    ray: RayOption = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train models on what is stored (or on a file), and let each go live if it beats the present one.

    Two are made: of the next application (for which the last 15 % of everyone's history are held out: one half stops
    the training, the other decides), and of the usage curves (the last days decide). Interrupted at any moment, the
    same command goes on and ends with the same models.

    On a Ray cluster the usage curves are trained a resource a task and models are compared a group of people a task;
    the LSTM learns on this machine, as each of its steps needs the one before. The models are the same.
    """
    settings = settings_of(config)
    now_s = time.time()
    os.environ["OMP_NUM_THREADS"] = str(threads)  # read when torch is loaded, which is later
    make_trainer = None if only is Part.CURVES else trainer_factory()
    hours, report, curves = CurveHours(now_s), None, None
    opened = _source(history, settings, timezone or settings.forecast.timezone, now_s, resume=resume)
    with opened as source, cluster_or_none(ray) as cluster, _Bars(quiet=as_json) as bars:
        identity = source.identity()
        if make_trainer is not None:
            request = TrainRequest(
                state_folder=settings.state.directory,
                source=hours.listening(source),
                timezone=settings.forecast.timezone,
                config=LstmConfig(hidden=hidden),
                options=TrainOptions(epochs, seed=seed, memory_bytes=memory_mib * 2**20, budget_s=budget_s),
                make_trainer=make_trainer,
                simple=SIMPLE,
                now_s=now_s,
                resume=resume,
                promote=promote,
                threads=threads,
                cluster=cluster,
            )
            report = run_training(request, bars.watcher())
        if only is not Part.APPLICATIONS:
            curves = train_curves_on(
                source, hours, settings.state.directory,
                identity=identity, seed=seed, promote=promote, told=bars.curves, cluster=cluster,
            )  # fmt: skip
    _tell(report, curves, as_json=as_json)


@contextmanager
def _source(
    history: Path | None, settings: Settings, timezone: str, now_s: float, *, resume: bool
) -> Iterator[HistorySource]:
    """A file, or what is stored."""
    if history is not None:
        yield file_source(history, timezone)
        return
    store = open_settings_store(settings)
    try:
        yield store_source(store, until_s(settings.state.directory, now_s, resume=resume))
    finally:
        store.close()


def _tell(report: TrainReport | None, curves: CurveTrainReport | None, *, as_json: bool) -> None:
    if as_json:
        print_json({**({} if report is None else asdict(report)), "curves": curves})
        return
    if report is not None:
        _say(report)
    if curves is not None:
        _say_curves(curves)
    if (curves is not None and curves.live) or (report is not None and report.live):
        out.print("A ghostdesk that runs takes it up within seconds: `ghostdesk status` shows it.")


def trainer_factory() -> TrainerFactory:
    """Makes trainers; raises `ConfigError` where torch is not installed."""
    try:
        from ghostdesk.profiles.lstm import LstmTrainer
    except ImportError as error:
        raise ConfigError(
            f"Training needs PyTorch, which is not installed ({error}).",
            "Install it: pip install 'ghostdesk[train]'. Usage curves need none: ghostdesk train --only curves.",
        ) from None

    def make(config: LstmConfig, seed: int) -> Trainer:
        return LstmTrainer(config, seed)

    return make


class _Bars:
    """Progress of reading, preparing and training, on the terminal; nothing when `quiet`."""

    def __init__(self, *, quiet: bool) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[told]}"))
        self._progress = Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=err, disable=quiet)
        self._tasks: dict[str, TaskID] = {}
        self._quiet = quiet

    def __enter__(self) -> _Bars:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def watcher(self) -> Watcher:
        """What the training calls."""
        return Watcher(self._read, self._prepared, self._trained, self._words)

    def _task(self, name: str) -> TaskID:
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task(name, total=None, told="")
        return self._tasks[name]

    def _read(self, events: int) -> None:
        self._progress.update(self._task("reading"), completed=events, told=f"{events:,} events")

    def _prepared(self, people: int, of: int) -> None:
        self._progress.update(self._task("preparing"), completed=people, total=of, told=f"{people:,} of {of:,} people")

    def _trained(self, now: TrainProgress) -> None:
        held_out = f", held out {now.held_out[-1]:.3f}" if now.held_out else ""
        loss = "" if now.loss != now.loss else f" loss {now.loss:.3f}"
        told = f"epoch {now.epoch}/{now.epochs}{loss}{held_out}, {now.steps_per_s:,.0f} steps/s"
        self._progress.update(self._task("training"), completed=now.steps, total=now.steps_total, told=told)

    def curves(self, what: str, share: float) -> None:
        """The usage curves are under way."""
        self._progress.update(self._task("usage curves"), completed=share, total=1.0, told=what)

    def _words(self, words: str) -> None:
        if not self._quiet:
            err.print(words, highlight=False)


def _say(report: TrainReport) -> None:
    table = Table("epoch", "training loss", "held-out loss", title=f"Trained on {report.history}")
    for epoch, (loss, held_out) in enumerate(zip(report.training_loss, report.held_out_loss, strict=True), start=1):
        table.add_row(str(epoch), f"{loss:.4f}", f"{held_out:.4f}{' (kept)' if epoch == report.best_epoch else ''}")
    out.print(table)
    spent = ", ".join(f"{name} {spent_s:.0f} s" for name, spent_s in report.seconds.items())
    out.print(
        f"{report.events:,} events, {report.steps:,} steps of {report.people:,} people; {spent}; {report.stopped}"
    )
    for what, count in report.left_out.items():
        if count:
            out.print(f"  left out: {count:,} {what}", highlight=False)
    if report.first_bad:
        out.print(f"  {report.first_bad}", markup=False, highlight=False)
    if report.broken:
        err.print(f"[yellow]The history ends too early:[/] {report.broken}. What came before was used.")
    if not report.reproducible:
        out.print("  The time budget ended it: the result depends on the machine's speed, not on the seed alone.")
    for note in report.notes:
        err.print(note, style="yellow", markup=False)
    _say_gate(report)
    verdict = "live now" if report.live else "kept, not live"
    out.print(f"Model {report.model.name} is [bold]{verdict}[/]: {report.reason}.", highlight=False)


def _say_curves(report: CurveTrainReport) -> None:
    table = Table(
        "usage curve", "people", "loss, new", "loss, present", "",
        title=f"Quantile loss on held-out hours, by use; {report.samples:,} samples of {report.people:,} people",
    )  # fmt: skip
    for one in report.resources:
        losses = ("-" if loss is None else f"{loss:.4f}" for loss in (one.challenger, one.champion))
        table.add_row(one.resource.partition("_")[0], f"{one.people:,}", *losses, one.reason)
    out.print(table)
    for note in report.notes:
        err.print(note, style="yellow", markup=False)
    if report.model is None:
        out.print(f"No usage curves were trained: {report.reason}.")
        return
    verdict = "live now" if report.live else "kept, not live"
    out.print(f"Usage curves {report.model.name} are [bold]{verdict}[/]: {report.reason}.", highlight=False)


def _say_gate(report: TrainReport) -> None:
    gate = report.gate
    table = Table("", "log loss (nats)", title=f"The last {gate.steps:,} steps of {gate.people:,} people, held out")
    table.add_row("the new model", f"{gate.challenger:.4f}")
    if gate.champion is not None:
        table.add_row("the present model", f"{gate.champion:.4f}")
    if gate.challenger_on_those is not None and gate.simple:
        table.add_row("the new model, on some people", f"{gate.challenger_on_those:.4f}")
    for name, loss in sorted(gate.simple.items(), key=lambda one: one[1]):
        table.add_row(f"{name}, on the same", f"{loss:.4f}")
    out.print(table)
