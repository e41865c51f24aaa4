"""`ghostdesk import`: teach ghostdesk from the past."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from ghostdesk.cli.common import ConfigOption, JsonOption, err, out, print_json, settings_of
from ghostdesk.kernel.errors import ConfigError
from ghostdesk.telemetry.importers.registry import load_importers
from ghostdesk.telemetry.importers.runner import ImportReport, run_import
from ghostdesk.wiring import open_settings_store

_SHOWN_BAD_LINES = 10


def import_history(
    files: Annotated[list[Path], typer.Argument(help="Files: plain, .gz, .xz, .bz2 or .zst.", show_default=False)],
    kind: Annotated[str, typer.Option("--format", help="csv, activitywatch or states; guessed when not given.")] = "",
    user: Annotated[str, typer.Option(help="Whose history it is, where the file does not say.")] = "",
    timezone: Annotated[str, typer.Option(help="Zone of times that name none, such as Europe/Berlin.")] = "UTC",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Read history into ghostdesk: usage CSV, ActivityWatch exports, desktop state logs.

    The same file twice adds nothing, and an import that was interrupted goes on where it was.
    Bad lines are reported with their numbers and reasons; the good ones are kept.
    """
    settings = settings_of(config)
    importers = load_importers()
    if kind and kind not in importers:
        raise ConfigError(f"There is no format {kind!r}.", f"Formats here: {', '.join(sorted(importers))}.")
    store = open_settings_store(settings)
    reports = []
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TextColumn("{task.fields[found]}"))
    with Progress(*columns, TimeRemainingColumn(), console=err, disable=as_json) as bar:
        for path in files:
            task = bar.add_task(path.name, total=None, found="")

            def show(done: int, total: int, events: int, bad: int, task: object = task) -> None:
                found = f"{events:,} events" + (f", {bad:,} bad" if bad else "")
                bar.update(task, completed=done, total=total, found=found)  # type: ignore[arg-type]

            reports.append(
                run_import(
                    path,
                    store,
                    importers.get(kind) if kind else None,
                    user=user or None,
                    timezone=timezone,
                    progress=show,
                )
            )
    store.close()
    if as_json:
        print_json(reports)
    else:
        for report in reports:
            _say(report)
    if any(r.broken for r in reports):
        raise typer.Exit(1)


def _say(report: ImportReport) -> None:
    if report.already_complete:
        out.print(f"{report.path}: imported before; nothing was added")
        return
    out.print(
        f"{report.path}: {report.new_events:,} new events, {report.duplicate_events:,} known already, "
        f"{report.lines:,} lines ({report.importer})"
    )
    for bad in report.bad_lines[:_SHOWN_BAD_LINES]:
        out.print(f"  line {bad.line}: {bad.reason}", markup=False, highlight=False)
    if report.bad_total > _SHOWN_BAD_LINES:
        out.print(f"  … and {report.bad_total - _SHOWN_BAD_LINES:,} more bad lines (--json lists the first 100)")
    if report.broken:
        err.print(f"[yellow]{report.path} ends too early:[/] {report.broken}. What came before was kept.")
