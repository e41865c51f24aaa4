"""Reaching a server of Incus or LXD, and seeing that it has what ghosts need before the first is made."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from ghostdesk.engines.images.files import runtime_version
from ghostdesk.engines.incus import image as images
from ghostdesk.engines.incus.api import IncusApi
from ghostdesk.engines.incus.errors import ImageUnsuitable, NotTrusted, WrongServer
from ghostdesk.engines.incus.importing import ServerImage, find_image
from ghostdesk.kernel.errors import MissingRequirement, NotFound

USUAL_SOCKETS = (
    "/var/lib/incus/unix.socket",
    "/run/incus/unix.socket",
    "/var/lib/lxd/unix.socket",
    "/var/snap/lxd/common/lxd/unix.socket",
)
API_VERSION = "1.0"
NEEDED_EXTENSIONS: Mapping[str, str] = {
    "instances": "containers and virtual machines under one address",
    "container_full": "all instances with their state in one answer",
    "resources": "what a machine has",
}
"""What of the API is used that a very old server lacks (doc/api-extensions.md)."""


class ServerSettings(Protocol):
    """The settings that this engine needs (see `config.EngineSettings`)."""

    @property
    def address(self) -> str: ...
    @property
    def certificate(self) -> Path | None: ...
    @property
    def key(self) -> Path | None: ...
    @property
    def server_certificate(self) -> Path | None: ...
    @property
    def project(self) -> str: ...
    @property
    def storage_pool(self) -> str: ...
    @property
    def network_name(self) -> str: ...
    @property
    def cluster_group(self) -> str: ...
    @property
    def image(self) -> str: ...
    @property
    def reach(self) -> str: ...
    @property
    def build_timeout_s(self) -> float: ...


def api_from(settings: ServerSettings) -> IncusApi:
    """The server that the settings name; raises `MissingRequirement` where none is named and none is found."""
    address = settings.address or next((path for path in USUAL_SOCKETS if Path(path).is_socket()), "")
    if not address:
        raise MissingRequirement(
            f"No server of Incus or LXD was found at {' or '.join(USUAL_SOCKETS)}.",
            "Install Incus, or set engine.address.",
        )
    return IncusApi(
        address,
        certificate=settings.certificate,
        key=settings.key,
        trusted=settings.server_certificate,
        project=settings.project,
    )


async def checked_server(api: IncusApi) -> dict[str, Any]:
    """What the server tells of itself; raises `WrongServer` or `NotTrusted`."""
    told: dict[str, Any] = await api.get("/1.0")
    check_told(told, api.address)
    return told


def check_told(told: Mapping[str, Any], address: str) -> None:
    """Raise `NotTrusted` for a server that does not trust us, `WrongServer` for one whose API is another."""
    if told.get("auth") != "trusted":
        raise NotTrusted(
            f"{address} does not trust us.", "Add our certificate: `incus config trust add-certificate FILE`."
        )
    version, status = str(told.get("api_version", "")), str(told.get("api_status", ""))
    if version != API_VERSION:
        raise WrongServer(
            f"{address} speaks version {version or 'unknown'} of the API, and this engine {API_VERSION}.",
            "Use Incus 6 or LXD 5.",
        )
    if status not in ("stable", ""):
        raise WrongServer(f"{address} says that its API is {status}.", "Use Incus 6 or LXD 5.")
    offered = set(told.get("api_extensions") or ())
    if missing := [f"{name} ({what})" for name, what in NEEDED_EXTENSIONS.items() if name not in offered]:
        raise WrongServer(
            f"The server at {address} is too old: it lacks {', '.join(missing)}.", "Use Incus 6 or LXD 5."
        )


async def check_storage(api: IncusApi, pool: str) -> None:
    """Raise `MissingRequirement` when the server has no such storage pool, or does not use it now."""
    try:
        told = await api.get(f"/1.0/storage-pools/{pool}")
    except NotFound:
        raise MissingRequirement(
            f"{api.address} has no storage pool {pool!r}.",
            f"Make it (`incus storage create {pool} btrfs`), or set engine.storage_pool.",
        ) from None
    status = str(told.get("status", "Created"))
    if status not in ("Created", ""):
        raise MissingRequirement(
            f"Storage pool {pool!r} is {status.lower()}.",
            f"See `incus storage show {pool}`, or set engine.storage_pool.",
        )


def runs_machines(environment: Mapping[str, Any]) -> bool:
    """Whether the server can run virtual machines, by the drivers that it names."""
    return "qemu" in str(environment.get("driver", ""))


def check_kind(image: ServerImage, wanted: str, can_run: bool, *, over_api: bool) -> None:
    """Raise `ImageUnsuitable` for an image of virtual machines where they cannot run, or could not be reached."""
    if not image.machine:
        return
    if not can_run:
        raise ImageUnsuitable(
            f"Image {wanted!r} is for virtual machines, which the server cannot run.",
            "Its host needs /dev/kvm and QEMU; or set engine.image to one for containers.",
        )
    if not over_api:
        raise ImageUnsuitable(
            f"Image {wanted!r} is for virtual machines, which see no sockets of the host.", 'Set engine.reach = "api".'
        )


async def ready_image(api: IncusApi, wanted: str, told: Mapping[str, Any], *, over_api: bool = False) -> ServerImage:
    """The image that ghosts are made from: the one that is wanted, or one of our own, which is brought there."""
    environment = told.get("environment") or {}
    if wanted:
        found = await find_image(api, wanted, frozenset(environment.get("architectures") or ()))
        check_kind(found, wanted, runs_machines(environment), over_api=over_api)
        return found
    content = await asyncio.to_thread(images.thin_image)
    print_of = images.fingerprint(content)
    try:
        await api.get(f"/1.0/images/{print_of}")
    except NotFound:
        await api.upload("/1.0/images", content, {"X-LXD-filename": "ghostdesk.tar"})
    return ServerImage(print_of, images.THIN_BINDS, runtime_version())
