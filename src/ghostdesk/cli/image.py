"""`ghostdesk image`: images of desktops, for servers that have nothing installed."""

from __future__ import annotations

import asyncio
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from ghostdesk.cli.common import ConfigOption, JsonOption, err, out, print_json, settings_of
from ghostdesk.engines.images.build import BuiltImage, build_image, read_image
from ghostdesk.engines.images.recipe import APPS, USUAL_APPS, Content, Form, Recipe, plan_of
from ghostdesk.engines.incus.importing import import_image
from ghostdesk.engines.incus.server import api_from
from ghostdesk.kernel.errors import ConfigError

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Make images of desktops (Debian, the agent, your applications) for Incus, LXD and virtual machines.",
)


class Target(StrEnum):
    """What --for takes."""

    INCUS = "incus"
    VM = "vm"


@app.command("build")
def build(
    target: Annotated[Target, typer.Option("--for", help="incus: containers of Incus or LXD; vm: a machine's disk.")],
    name: Annotated[str, typer.Option(help="The image's name, and its alias on a server.")] = "ghostdesk",
    app_names: Annotated[
        list[str] | None,
        typer.Option("--app", help=f"An application ({', '.join(APPS)}) or a Debian package; repeat it."),
    ] = None,
    output: Annotated[Path | None, typer.Option(help="Folder to make; build/images/NAME by default.")] = None,
    architecture: Annotated[str, typer.Option(help="amd64 or arm64.")] = "amd64",
    mirror: Annotated[str, typer.Option(help="Where Debian's packages come from.")] = "",
    skeleton: Annotated[bool, typer.Option("--skeleton", help="Almost nothing in it: to try the way there.")] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Replace an image that is in the folder.")] = False,
    bring: Annotated[
        bool, typer.Option("--import", help="Bring it to the server of the settings, under NAME.")
    ] = False,
    plan_only: Annotated[bool, typer.Option("--plan", help="Only say what would go in.")] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Build an image with mmdebstrap: minutes, most of it fetching packages.

    For containers it writes metadata.tar and rootfs.tar (`incus image import` takes them, or --import does it), for
    virtual machines disk.raw, vmlinuz and initrd.
    """
    if bring and target is Target.VM:
        raise ConfigError("--import is for --for incus.", "Give the machine's files to its engine's settings.")
    recipe = Recipe(
        Form(target.value),
        name,
        tuple(USUAL_APPS if app_names is None else app_names),
        architecture,
        mirror=mirror,
        content=Content.SKELETON if skeleton else Content.DESKTOP,
    )
    if plan_only:
        _tell(plan_of(recipe), as_json=as_json)
        return
    folder = (output or Path("build/images") / name).absolute()
    with err.status("getting ready") as status:
        built = build_image(recipe, folder, replace=replace, progress=lambda step: _step(status, step))
        told: dict[str, Any] = {"folder": str(built.folder), **built.manifest}
        if bring:
            _step(status, "bringing it to the server")
            told["fingerprint"] = _bring(config, built, name)
    _tell(told, as_json=as_json)


@app.command("import")
def bring_image(
    folder: Annotated[Path, typer.Argument(help="A folder that `ghostdesk image build --for incus` has made.")],
    name: Annotated[str, typer.Option(help="Its alias on the server; its own name by default.")] = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Bring a built image to the server of Incus or LXD that the settings name; then set engine.image to its alias."""
    built = read_image(folder)
    if built.manifest["for"] != Form.INCUS:
        raise ConfigError(f"{folder} holds an image for virtual machines.", "Build one with --for incus.")
    alias = name or str(built.manifest["name"])
    _tell({"alias": alias, "fingerprint": _bring(config, built, alias)}, as_json=as_json)


def _bring(config: Path | None, built: BuiltImage, alias: str) -> str:
    async def work() -> str:
        api = api_from(settings_of(config).engine)
        try:
            return await import_image(api, built.folder, alias)
        finally:
            await api.close()

    return asyncio.run(work())


def _step(status: Any, step: str) -> None:
    status.update(step)
    if not err.is_terminal:
        err.print(step, markup=False, highlight=False)


def _tell(told: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(told)
        return
    for key, value in told.items():
        shown = ", ".join(f"{name} {size}" for name, size in value.items()) if isinstance(value, dict) else value
        shown = ", ".join(map(str, shown)) if isinstance(shown, list) else shown
        out.print(f"{key}: {shown}", markup=False, highlight=False)
