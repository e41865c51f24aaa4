"""Bringing a built image to a server of Incus or LXD, under an alias; and finding the image that a setting names."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ghostdesk.engines.images.recipe import BINDS, RUNTIME
from ghostdesk.engines.incus.api import IncusApi
from ghostdesk.engines.incus.errors import ImageUnsuitable
from ghostdesk.kernel.errors import EngineError, NotFound

PARTS: Mapping[str, str] = {"metadata": "metadata.tar", "rootfs": "rootfs.tar"}
_CHUNK_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class ServerImage:
    """An image on a server.

    Args:
        fingerprint: by which the server knows it.
        binds: folders of the server that its instances must see.
        runtime: which version of the agent and the session is in it; empty when it does not say.
        machine: its instances are virtual machines, not containers.
    """

    fingerprint: str
    binds: tuple[str, ...] = ()
    runtime: str = ""
    machine: bool = False


def fingerprint_of(folder: Path) -> str:
    """By which a server knows the image in this folder: the SHA-256 of its parts one after the other."""
    digest = hashlib.sha256()
    for name in PARTS.values():
        with (folder / name).open("rb") as stream:
            while chunk := stream.read(_CHUNK_BYTES):
                digest.update(chunk)
    return digest.hexdigest()


async def import_image(api: IncusApi, folder: Path, alias: str) -> str:
    """Give the server the image in this folder, and the alias to it, taking the alias from an older image.

    Returns:
        the image's fingerprint.

    Raises:
        EngineError: the server refuses it, has no room (`InsufficientCapacity`), or cannot be reached.
    """
    print_of = await asyncio.to_thread(fingerprint_of, folder)
    try:
        await api.get(f"/1.0/images/{print_of}")
    except NotFound:
        parts = {part: folder / name for part, name in PARTS.items()}
        await api.upload_parts("/1.0/images", parts, {"X-LXD-filename": "metadata.tar"})
    await set_alias(api, alias, print_of)
    return print_of


async def set_alias(api: IncusApi, alias: str, target: str) -> None:
    """Have the alias mean this image; said twice it changes nothing."""
    path = f"/1.0/images/aliases/{quote(alias, safe='')}"
    try:
        now = await api.get(path)
    except NotFound:
        body = {"name": alias, "target": target, "type": "container", "description": "a ghostdesk desktop"}
        await api.change("POST", "/1.0/images/aliases", body)
        return
    if now.get("target") != target:
        await api.change("PATCH", path, {"target": target})


async def find_image(api: IncusApi, wanted: str, machines: frozenset[str]) -> ServerImage:
    """The image that a setting names, by alias or by (the beginning of) its fingerprint.

    Args:
        api: the server.
        wanted: alias or fingerprint.
        machines: names of the architectures that the server can run.

    Raises:
        ImageUnsuitable: there is none, or it is for another architecture.
    """
    try:
        target = str((await api.get(f"/1.0/images/aliases/{quote(wanted, safe='')}"))["target"])
    except NotFound:
        target = wanted
    try:
        told = await api.get(f"/1.0/images/{quote(target, safe='')}")
    except NotFound:
        raise ImageUnsuitable(
            f"{api.address} has no image {wanted!r}.",
            "Make it and bring it there: `ghostdesk image build --for incus --import`, or set engine.image.",
        ) from None
    except EngineError as error:
        if "more than one" in str(error).lower():
            raise ImageUnsuitable(f"{wanted!r} is the beginning of several images.", "Set engine.image.") from None
        raise
    return checked_image(told, wanted, machines)


def checked_image(told: Mapping[str, Any], wanted: str, machines: frozenset[str]) -> ServerImage:
    """What the server tells of an image; raises `ImageUnsuitable` when it cannot run it."""
    machine = str(told.get("architecture", ""))
    if machines and machine not in machines:
        raise ImageUnsuitable(
            f"Image {wanted!r} is for {machine or 'no known architecture'}, and the server runs "
            f"{', '.join(sorted(machines))}.",
            "Build one for it: `ghostdesk image build --architecture`.",
        )
    properties = told.get("properties") or {}
    return ServerImage(
        str(told["fingerprint"]),
        tuple(str(properties.get(BINDS) or "").split()),
        str(properties.get(RUNTIME) or ""),
        told.get("type") == "virtual-machine",
    )
