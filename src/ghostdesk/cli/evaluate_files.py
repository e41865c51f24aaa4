"""`ghostdesk evaluate files`: how many opened files would have been loaded before, and what that would have wasted."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from ghostdesk.cli.common import ConfigOption, err, out, settings_of, zone_named
from ghostdesk.config import Settings
from ghostdesk.evaluate.files import FilesReport, evaluate_files
from ghostdesk.evaluate.files_reading import FileLog, read_file_log
from ghostdesk.evaluate.json_out import check_folder, write_json
from ghostdesk.kernel.errors import ConfigError
from ghostdesk.kernel.resources import MIB
from ghostdesk.prefetch.choose_files import FileBudget
from ghostdesk.wiring import file_histories

_BUDGETS_MIB = "0.5,2,8,32"


def files(
    file: Annotated[
        Path | None,
        typer.Argument(
            help="CSV (plain or compressed): user,time,app,path,size_bytes; what this service keeps without one.",
            show_default=False,
        ),
    ] = None,
    budgets_mib: Annotated[
        str, typer.Option("--budgets", help="MiB that may be loaded for a person and session, comma-separated.")
    ] = _BUDGETS_MIB,
    least_probability: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="ghostdesk loads no file that is less likely to be opened.")
    ] = FileBudget().least_probability,
    judged_share: Annotated[
        float, typer.Option(min=0.01, max=1.0, help="Share of each person's openings, the last ones, that are judged.")
    ] = 0.2,
    users_limit: Annotated[int, typer.Option(min=0, help="Only the first so many users of the file; 0 is all.")] = 0,
    timezone: Annotated[str, typer.Option(help="Zone of times that name none, and of people's clocks.")] = "UTC",
    json_to: Annotated[
        Path | None, typer.Option("--json", help="Write everything to this file; - is standard output.")
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Files loaded ahead: hit rate and wasted bytes, against simple rules and a clairvoyant bound.

    A session begins when a person opens a file after half an hour without. Files are loaded while the desktop is
    warmed, and again when an application comes into use, with what is left of the budget. A **hit** is a first opening
    in a session of a file that was loaded; **wasted** is what was loaded and not opened in the session.

    Without FILE, what this service has learnt of people who agree is judged, on this machine; no name is printed or
    written. `ghostdesk simulate history --files FILE` makes a synthetic log up, and a file of the same columns that you
    recorded yourself is read alike.
    """
    zone = zone_named(timezone)
    budgets = [FileBudget(one * MIB, least_probability=least_probability) for one in _numbers(budgets_mib)]
    check_folder(json_to)
    with err.status("reading"):
        log = read_file_log(file, zone) if file is not None else _own_log(settings_of(config))
    if users_limit:
        kept = list(log.people)[:users_limit]
        log = FileLog({user: log.people[user] for user in kept}, log.source, log.notes)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True) as bar:
        task = bar.add_task("people", total=len(log.people))
        report = evaluate_files(
            log, budgets, zone, judged_share=judged_share,
            progress=lambda done, whole: bar.update(task, completed=done, total=whole),
        )  # fmt: skip
    console = err if str(json_to) == "-" else out
    console.print(files_table(report))
    for sentence in (*files_sentences(report), *report.notes):
        console.print(sentence, markup=False, highlight=False)
    if json_to is not None:
        write_json(
            {"source": str(file) if file else "this service", "report": report, "rates": _rates(report)},
            json_to,
            sys.stdout,
        )


def _own_log(settings: Settings) -> FileLog:
    """What is kept of everybody; raises `ConfigError` where that is nothing."""
    histories, now_s = file_histories(settings), time.time()
    people = {str(user): histories.load(user, now_s).opens for user in histories.users()}
    if not any(people.values()):
        raise ConfigError("This service has learnt of no opened files.", "Give a log: user,time,app,path,size_bytes.")
    return FileLog(people, "", ("Judged is what this service keeps, of people who agree to it.",))


def files_table(report: FilesReport) -> Table:
    """Each way at each budget."""
    made_up = f" ({report.source})" if report.source else ""
    table = Table(title=f"Files loaded ahead{made_up}", title_justify="left")
    table.add_column("MiB a session", justify="right")
    table.add_column("way")
    for heading in ("hits %", "hits while warming %", "loaded MiB a session", "wasted %"):
        table.add_column(heading, justify="right")
    for budget in dict.fromkeys(score.budget_bytes for score in report.scores):
        rows = [score for score in report.scores if score.budget_bytes == budget]
        for place, score in enumerate(rows):
            table.add_row(
                f"{budget / MIB:g}" if place == 0 else "", score.way, f"{100 * score.hit_rate:.1f}",
                f"{100 * score.warm_hits / max(score.opens, 1):.1f}",
                f"{score.loaded_bytes / MIB / max(score.sessions, 1):.2f}", f"{100 * score.wasted_share:.1f}",
                end_section=place == len(rows) - 1,
            )  # fmt: skip
    return table


def files_sentences(report: FilesReport) -> list[str]:
    """What goes with the table."""
    first = report.scores[0]
    said = [
        f"{first.opens:,} first openings in {first.sessions:,} sessions of {report.people:,} people were judged; "
        f"{100 * first.known / max(first.opens, 1):.1f} % were of files that the person had opened before: no history "
        "can tell of the others.",
        "Forecast and observed, by bins of probability: "
        + ", ".join(f"{100 * b.forecast:.1f} % was {100 * b.observed:.1f} % ({b.files:,})" for b in report.calibration),
    ]
    if report.source:
        said.append(f"The log says that it is {report.source}.")
    return said


def _rates(report: FilesReport) -> list[dict[str, object]]:
    return [
        {"way": one.way, "budget_bytes": one.budget_bytes, "hit_rate": one.hit_rate, "wasted_share": one.wasted_share}
        for one in report.scores
    ]


def _numbers(text: str) -> list[float]:
    try:
        found = [float(part) for part in text.split(",") if part.strip()]
    except ValueError:
        found = []
    if not found or not all(0.0 < one < 1e6 for one in found):
        raise ConfigError(f"--budgets {text!r} is no list of sizes.", f"Give MiB, such as {_BUDGETS_MIB}.")
    return found
