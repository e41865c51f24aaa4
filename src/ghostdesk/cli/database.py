"""`ghostdesk database`: which version the database has, and the way forward and back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from ghostdesk.cli.common import ConfigOption, JsonOption, out, print_json, settings_of
from ghostdesk.store.migrations import Migrated, SchemaState
from ghostdesk.wiring import open_as_it_is, sole_control_plane

app = typer.Typer(
    no_args_is_help=True,
    help="""The database's version: show it, bring it forward, or back before an older ghostdesk is installed again.

Whatever opens the database brings it forward by itself. The way back:

    ghostdesk database downgrade --to 2 --dump kept.jsonl    # with the newer program, nothing else running

    ghostdesk database upgrade --restore kept.jsonl          # later, with the newer one again, before it runs""",
)
_WORDS = {
    SchemaState.EMPTY: "is empty",
    SchemaState.OLDER: "is older than this program, and is brought forward when it is next used",
    SchemaState.CURRENT: "is as this program wants it",
    SchemaState.NEWER: "was written by a newer ghostdesk, and cannot be used by this one",
}


@app.command("show")
def show(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Say which version the database has and which this program knows. Changes nothing."""
    with open_as_it_is(settings_of(config)) as (name, store):
        report = store.schema_report()
    if as_json:
        print_json({"database": name, "report": report})
        return
    table = Table("version", "what it brought", "here")
    for number, step in enumerate(report.steps, start=1):
        table.add_row(str(number), step, "yes" if number <= report.version else "no")
    out.print(table)
    out.print(f"{name} has version {report.version}: it {_WORDS[report.state]}.", markup=False, highlight=False)


@app.command("upgrade")
def upgrade(
    restore: Annotated[
        Path | None, typer.Option(help="Put back what a downgrade kept in this file.", show_default=False)
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Bring the database to the newest version that this program knows, all or nothing."""
    settings = settings_of(config)
    with sole_control_plane(settings.state.run_directory), open_as_it_is(settings) as (name, store):
        done = store.upgrade(restore)
    _tell(name, done, as_json=as_json)


@app.command("downgrade")
def downgrade(
    to: Annotated[int, typer.Option(min=1, help="The version that the older program knows.", show_default=False)],
    dump: Annotated[
        Path | None,
        typer.Option(help="Keep what goes in this new file, for `upgrade --restore`.", show_default=False),
    ] = None,
    drop: Annotated[bool, typer.Option("--drop", help="Lose what the older version has no place for.")] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Bring the database back to an older version, all or nothing; what would be lost is named first.

    Without --dump or --drop it only goes back when nothing would be lost. The dump holds personal data: keep it as you
    keep the database, and delete it when it is not wanted any more.
    """
    settings = settings_of(config)
    with sole_control_plane(settings.state.run_directory), open_as_it_is(settings) as (name, store):
        done = store.downgrade(to, dump_to=dump, drop=drop)
    _tell(name, done, as_json=as_json)


def _tell(name: str, done: Migrated, *, as_json: bool) -> None:
    if as_json:
        print_json({"database": name, "done": done})
        return
    if done.before == done.after:
        out.print(f"{name} has version {done.after} already.", markup=False, highlight=False)
        return
    out.print(f"{name}: version {done.before} is now {done.after}.", markup=False, highlight=False)
    for loss in done.lost:
        out.print(f"  gone: {loss.rows:,} rows of {loss.what}", markup=False, highlight=False)
    if done.dump:
        out.print(f"  kept in {done.dump}: it holds personal data", markup=False, highlight=False)
    if done.restored:
        out.print(f"  put back: {done.restored:,} rows", markup=False, highlight=False)
