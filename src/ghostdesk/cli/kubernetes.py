"""`ghostdesk kubernetes`: what an operator applies to a cluster once."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated, Any

import typer

from ghostdesk.cli.common import out, print_json
from ghostdesk.engines.kubernetes import manifests as all_manifests
from ghostdesk.engines.kubernetes.image import APPLICATIONS, write_context
from ghostdesk.kernel.errors import ConfigError, MissingRequirement

_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]+")
app = typer.Typer(
    no_args_is_help=True, rich_markup_mode="markdown", help="What a Kubernetes cluster needs before desktops run in it."
)


@app.command("manifests")
def manifests(
    namespace: Annotated[str, typer.Option("--namespace", help="Where the desktops will run.")] = "ghostdesk",
    only: Annotated[str, typer.Option("--only", help="namespace, priorities, access or networks; else all.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, which kubectl takes too.")] = False,
) -> None:
    """Print the namespace, priority classes, account with its rights, and network policies, for `kubectl apply -f -`.

    Everything is the least that ghostdesk needs. Read it before you apply it: two of the files are for the whole
    cluster (priorities and a role that lists nodes).
    """
    found = all_manifests.files(namespace)
    if only and f"{only}.yaml" not in found:
        known = ", ".join(name.removesuffix(".yaml") for name in found)
        raise ConfigError(f"There is no part {only!r}.", f"Parts: {known}.")
    wanted = [one for name, held in found.items() if not only or name == f"{only}.yaml" for one in held]
    if as_json:
        print_json({"apiVersion": "v1", "kind": "List", "items": wanted})
        return
    out.print(as_yaml(wanted), end="", markup=False, highlight=False, soft_wrap=True)


@app.command("image")
def image(
    folder: Annotated[Path, typer.Argument(help="Where to write it; a new or empty folder.")],
    applications: Annotated[
        list[str] | None, typer.Option("--app", help="A Debian package with an application; say it again for more.")
    ] = None,
) -> None:
    """Write what the desktops' image is built from: a Containerfile and ghostdesk's own part of the desktop.

    Then, for example: `podman build -t registry.example.org/ghostdesk-desktop:1 FOLDER`, push it, and name it in
    `engine.kubernetes.image`.
    """
    chosen = tuple(applications or APPLICATIONS)
    if bad := [one for one in chosen if not _PACKAGE.fullmatch(one)]:
        raise ConfigError(f"{bad[0]!r} is no name of a Debian package.", "For example: --app libreoffice-writer.")
    try:
        write_context(folder, chosen)
    except OSError as error:
        raise ConfigError(f"{folder} cannot be written: {error}.", "Name a new folder.") from None
    out.print(f"Build it with: podman build -t NAME {folder}", markup=False, highlight=False, soft_wrap=True)


def as_yaml(objects: list[dict[str, Any]]) -> str:
    """The objects as one file of YAML documents; raises `MissingRequirement` without the library for it."""
    try:
        import yaml
    except ImportError:
        raise MissingRequirement(
            "The YAML library is not installed.", "Use --json, or: pip install 'ghostdesk[kubernetes]'."
        ) from None
    apart = json.loads(json.dumps(objects))  # parts that are shared would be written as references
    told: str = yaml.safe_dump_all(apart, sort_keys=False, width=120)
    return told
