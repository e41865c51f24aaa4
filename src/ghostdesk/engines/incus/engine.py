"""The engine for Incus and LXD: one server, or a cluster. See docs/explanation/incus.md."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import secrets
import shutil
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ghostdesk.engines.incus.api import IncusApi, instance_path
from ghostdesk.engines.incus.errors import Busy, NameTaken
from ghostdesk.engines.incus.fleet import Fleet
from ghostdesk.engines.incus.importing import ServerImage
from ghostdesk.engines.incus.parking import ELSEWHERE, Payload, call_back, park, parking_ability, payload_of
from ghostdesk.engines.incus.reach import Reach
from ghostdesk.engines.incus.render import (
    AGENT_UID,
    ALIVE,
    INSIDE_UID,
    OWNER,
    POOL,
    SETTLED,
    InstancePlan,
    ghost_of,
    home_device,
    host_uid,
    instance_name,
    instance_request,
    limit_keys,
    network_device,
    root_device,
)
from ghostdesk.engines.incus.server import (
    ServerSettings,
    api_from,
    check_storage,
    checked_server,
    ready_image,
    runs_machines,
)
from ghostdesk.engines.incus.starting import STATE_TIMEOUT_S, Starter
from ghostdesk.engines.local.homes import make_home
from ghostdesk.engines.local.memory import swap_total_bytes
from ghostdesk.engines.local.sandbox import common_environment
from ghostdesk.engines.protocol import Ability, Endpoint, ObservedGhost
from ghostdesk.engines.turns import Facts, Turns, destroy_all
from ghostdesk.ghosts.commands import (
    AttachHome,
    Build,
    CacheTemplate,
    CallBackMemory,
    Destroy,
    EngineCommand,
    Freeze,
    Outcome,
    ReclaimMemory,
    SetLimits,
    Thaw,
)
from ghostdesk.kernel.conditions import HostConditions
from ghostdesk.kernel.errors import BuildFailed, Conflict, EngineError, GhostdeskError, NotFound
from ghostdesk.kernel.ids import GhostId, ghost_id, user_id
from ghostdesk.kernel.resources import Resources

FOLDER, API = "folder", "api"
BUILDS_AT_ONCE = 4

_READ_EVERY_S = 0.02
_LOOK_EVERY_S = 0.5
_REMOVALS = 6


class IncusEngine:
    """Ghosts as system containers of Incus or LXD.

    Args:
        state_dir: homes are in `homes` below it; every member must see it at the same path.
        run_dir: sockets; the same, and short.
        api: the server.
        storage: the storage pool of the ghosts' disks; btrfs, zfs or ceph make a new ghost in no time.
        network: the server's network for templates that ask for outbound; empty for none.
        group: the cluster group that ghosts are placed in; empty leaves the choice to the server.
        image: alias or fingerprint of the image that ghosts are made from; empty for one of our own, which sees the
            server's /usr.
        reach: how desktops' sockets are reached: "folder", where the members see `run_dir`, or "api".
        build_timeout_s: how long a new desktop's screen may take to answer.
    """

    def __init__(
        self,
        state_dir: Path,
        run_dir: Path,
        *,
        api: IncusApi,
        storage: str = "default",
        network: str = "",
        group: str = "",
        image: str = "",
        reach: str = FOLDER,
        build_timeout_s: float = 30.0,
    ) -> None:
        self._state_dir, self._run_dir = state_dir.absolute(), run_dir.absolute()
        self._api = api
        self._build_timeout_s = build_timeout_s
        self._storage, self._network, self._group = storage, network, group
        self._image = image
        self._reach = Reach(api) if reach == API else None
        self._pool = hashlib.sha256(os.fsencode(os.path.realpath(state_dir))).hexdigest()[:6]
        self._plan: InstancePlan | None = None
        self._builds = asyncio.Semaphore(BUILDS_AT_ONCE)
        self._turns = Turns()
        self._uids: dict[GhostId, int] = {}
        self._fleet = Fleet(api, self._pool, group, storage)
        self._server: dict[str, Any] = {}
        self._found: ServerImage | None = None

    @classmethod
    def from_settings(cls, settings: ServerSettings, state_dir: Path, run_dir: Path) -> IncusEngine:
        """The engine that the settings describe; raises `MissingRequirement` without an address."""
        api = api_from(settings)
        return cls(
            state_dir,
            run_dir,
            api=api,
            storage=settings.storage_pool,
            network=settings.network_name,
            group=settings.cluster_group,
            image=settings.image,
            reach=settings.reach,
            build_timeout_s=settings.build_timeout_s,
        )

    @property
    def _homes_dir(self) -> Path:
        return self._state_dir / "homes"

    async def start(self) -> None:
        """See that the server is there, trusts us and has the image; raises `MissingRequirement` or `EngineError`."""
        try:
            await self._start_up()
        except BaseException:
            await self._leave()
            raise

    async def _start_up(self) -> None:
        self._server = await checked_server(self._api)
        await check_storage(self._api, self._storage)
        for folder, mode in ((self._state_dir, 0o711), (self._homes_dir, 0o711), (self._run_dir, 0o711)):
            folder.mkdir(mode=mode, parents=True, exist_ok=True)
        self._found = await ready_image(self._api, self._image, self._server, over_api=self._reach is not None)
        seen_there = self._run_dir if self._reach is None else None
        self._plan = InstancePlan(
            self._pool,
            self._found.fingerprint,
            self._storage,
            self._network,
            seen_there,
            self._found.binds,
            self._found.machine,
            common_environment(),
        )
        await self._fleet.start(self._server)
        await self._note(await self._fleet.instances_now())

    @property
    def plan(self) -> InstancePlan:
        """What all instances have in common; raises `EngineError` before `start`."""
        if self._plan is None:
            raise EngineError("The Incus engine has not been started.")
        return self._plan

    async def observe(self) -> Sequence[ObservedGhost]:
        """Every instance of ours, alive or not, on every member."""
        listed = await self._fleet.instances()
        await self._note(listed)
        return self._fleet.observed(listed)

    async def apply(self, command: EngineCommand) -> Outcome:
        """Carry out one command; commands for one ghost one after another."""
        try:
            return await self._turns.take(command, lambda: self._carry_out(command))
        finally:
            if not isinstance(command, SetLimits | CacheTemplate):  # these change nothing that is observed
                self._fleet.changed(instance_name(self._pool, command.ghost))

    async def _carry_out(self, command: EngineCommand) -> Facts:  # noqa: PLR0911 - one line a command
        ghost_id(command.ghost)
        match command:
            case CacheTemplate():
                return {}
            case Build():
                async with self._builds:
                    return await self._build(command)
            case AttachHome():
                return await self._attach(command)
            case SetLimits():
                return await self._set_limits(command)
            case Freeze():
                return await self._state(command.ghost, "freeze", "Frozen")
            case Thaw():
                return await self._state(command.ghost, "unfreeze", "Running")
            case ReclaimMemory():
                payload = await self._payload(command.ghost)
                if payload is None:
                    return {"reclaimed_bytes": 0.0, "why": ELSEWHERE}
                return await asyncio.to_thread(park, payload)
            case CallBackMemory():
                payload = await self._payload(command.ghost)
                return await asyncio.to_thread(call_back, payload.pids if payload is not None else ())
            case Destroy():
                await self._destroy(command.ghost)
                return {}

    async def _instance(self, ghost: GhostId) -> dict[str, Any]:
        """The ghost's instance as it is now; `NameTaken` when something that is not ours has its name."""
        name = instance_name(self._pool, ghost)
        found: dict[str, Any] = await self._api.get(instance_path(name))
        if (found.get("config") or {}).get(POOL) != self._pool:
            raise NameTaken(
                f"There is an instance {name} that ghostdesk did not make.",
                "Rename or remove it (`incus rename`), or use another engine.project.",
            )
        return found

    async def _payload(self, ghost: GhostId) -> Payload | None:
        """The ghost's processes, where they are on this machine."""
        name = str((await self._living(ghost))["name"])
        if not self._here:
            return None
        state = await self._api.get(instance_path(name, "/state"))
        return await asyncio.to_thread(payload_of, state, name)

    @property
    def _here(self) -> bool:
        """Whether the server is on this machine."""
        return self._reach is None and self._api.address.startswith("/")

    async def _living(self, ghost: GhostId) -> dict[str, Any]:
        deadline_s = time.monotonic() + STATE_TIMEOUT_S
        while True:
            try:
                instance = await self._instance(ghost)
            except NotFound:
                raise NotFound(
                    f"There is no ghost {ghost} on the server.", "It was destroyed, or never built."
                ) from None
            if instance["status"] in SETTLED:
                return instance
            if instance["status"] not in ALIVE:
                raise NotFound(f"Ghost {ghost} is {str(instance['status']).lower()}.", "Destroy it and build another.")
            if time.monotonic() > deadline_s:
                raise EngineError(f"Ghost {ghost} stays {str(instance['status']).lower()}.", "Destroy it.")
            await asyncio.sleep(_READ_EVERY_S)  # frozen or thawed in this moment, by somebody else

    async def _build(self, command: Build) -> Facts:
        ghost = command.ghost
        run = self._run_dir / ghost
        with contextlib.suppress(NotFound):
            there = await self._living(ghost)
            # Without our last mark, a build was cut short; it is begun anew.
            if (uid := there["config"].get(AGENT_UID)) and (run / "agent.token").exists():
                self._uids[ghost] = int(uid)
                return {"path": "already"}
        await self._destroy(ghost)
        try:
            run.mkdir(mode=0o711)
            (run / "agent.token").write_text(secrets.token_urlsafe(32))
            (run / "agent.token").chmod(0o400)
            place = {"target": f"@{self._group}"} if self._group else {}
            body = instance_request(self.plan, ghost, command.template, command.limits)
            await self._api.change("POST", "/1.0/instances", body, **place)
            starter = Starter(self._api, self.plan, self._reach, self._build_timeout_s)
            self._uids[ghost] = await starter.start(ghost, instance_name(self._pool, ghost), run)
            return {"location": str((await self._instance(ghost)).get("location") or "none")}
        except (GhostdeskError, OSError) as error:
            self._fleet.look_again()
            await self._quietly(lambda: self._destroy(ghost))
            if isinstance(error, GhostdeskError):
                raise
            raise BuildFailed(f"The desktop cannot be built: {error}") from error

    async def _attach(self, command: AttachHome) -> Facts:
        user = user_id(command.user)
        instance = await self._living(command.ghost)
        owner = instance["config"].get(OWNER)
        if owner and owner != user:
            raise Conflict(
                f"Ghost {command.ghost} belongs to another user.",
                "Destroy it; a ghost is never handed to a second user.",
            )
        if owner and "home" in instance["devices"]:
            return {"attached": "already"}
        home = self._homes_dir / user
        if not home.exists():
            # A virtual machine sees the host's own uids.
            uid = INSIDE_UID if instance.get("type") == "virtual-machine" else host_uid(instance)
            await asyncio.to_thread(make_home, home, uid)
        changed = {"config": {OWNER: user}, "devices": {"home": home_device(home)}}
        await self._api.change("PATCH", instance_path(instance["name"]), changed)
        return {"attached": "bound"}

    async def _set_limits(self, command: SetLimits) -> Facts:
        instance = await self._living(command.ghost)
        devices = {"root": root_device(self._storage, command.limits)}
        missing = []
        if "eth0" in instance["devices"]:
            devices["eth0"] = network_device(self._network, command.limits)
        elif command.limits.network_bytes_per_s:
            missing.append("network")
        limits = limit_keys(command.limits, command.priority, machine=instance.get("type") == "virtual-machine")
        body: Mapping[str, Any] = {"config": limits, "devices": devices}
        await self._api.change("PATCH", instance_path(instance["name"]), body)
        return {"not_limited": ", ".join(missing)} if missing else {}

    async def _state(self, ghost: GhostId, action: str, wanted: str) -> Facts:
        instance = await self._living(ghost)
        if instance["status"] == wanted:
            return {}
        path = instance_path(instance["name"], "/state")
        await self._api.change("PUT", path, {"action": action, "timeout": STATE_TIMEOUT_S})
        return {}

    async def _destroy(self, ghost: GhostId) -> None:
        name = instance_name(self._pool, ghost)
        if self._reach is not None:
            await self._reach.close(ghost)
        for last in (False,) * _REMOVALS + (True,):
            try:
                await self._remove(name, (await self._instance(ghost))["status"])
            except (NotFound, NameTaken):  # what has the name and is not ours is left alone
                break
            except Busy:  # it was just being started, or stopped by somebody else
                if last:
                    raise
                await asyncio.sleep(_LOOK_EVERY_S)
        self._uids.pop(ghost, None)
        await asyncio.to_thread(shutil.rmtree, self._run_dir / ghost, ignore_errors=True)

    async def _remove(self, name: str, status: str) -> None:
        """Stop the instance, whatever it does, and remove it."""
        path = instance_path(name, "/state")
        if status in ALIVE - {"Running"}:
            await self._api.change("PUT", path, {"action": "unfreeze", "timeout": 5})
        if status != "Stopped":
            stop = {"action": "stop", "force": True, "timeout": STATE_TIMEOUT_S}
            await self._quietly(lambda: self._api.change("PUT", path, stop))
        await self._api.change("DELETE", instance_path(name))

    async def _quietly(self, work: Callable[[], Awaitable[Any]]) -> None:
        try:
            await work()
        except EngineError:
            return

    async def _note(self, listed: Sequence[Mapping[str, Any]]) -> None:
        """Where the ghosts that are there can be reached, whoever built them."""
        for instance in listed:
            uid = (instance.get("config") or {}).get(AGENT_UID)
            ghost = ghost_of(self._pool, instance)
            if uid and instance.get("status") in ALIVE:
                self._uids[ghost] = int(uid)
                if self._reach is not None and (self._run_dir / ghost).is_dir():
                    await self._reach.open(ghost, str(instance["name"]), self._run_dir / ghost)

    def endpoint(self, ghost: GhostId) -> Endpoint:
        """Where the desktop answers; raises `NotFound`."""
        run, uid = self._run_dir / ghost, self._uids.get(ghost)
        try:
            token = (run / "agent.token").read_text()
        except OSError:
            token = ""
        if uid is None or not token:
            raise NotFound(f"There is no ghost {ghost} on the server.", "It was destroyed, or never built.")
        return Endpoint(str(run / "rfb.sock"), str(run / "agent.sock"), token, uid)

    def abilities(self) -> Sequence[Ability]:
        """What the server lets us do."""
        told = self._server.get("environment") or {}
        name = f"{told.get('server', 'Incus or LXD')} {told.get('server_version', '')}".strip()
        cluster = bool(told.get("server_clustered"))
        return (
            Ability("server", bool(self._server), f"{name}, {'a cluster' if cluster else 'one machine'}", "Start it."),
            Ability(
                "virtual machines", runs_machines(told),
                "by an image for them; not run by ghostdesk's own tests" if runs_machines(told) else "containers alone",
                "The server's host needs /dev/kvm and QEMU.",
            ),
            parking_ability(here=self._here, swap_bytes=swap_total_bytes()),
            Ability(
                "network", bool(self._network), self._network or "none: desktops are isolated",
                "Set engine.network_name to a network of the server.",
            ),
        )  # fmt: skip

    def capacity(self) -> Resources:
        """What all members that are there have together."""
        return self._fleet.capacity()

    async def conditions(self) -> HostConditions:
        """The members' memory and storage, as far as the API tells."""
        return await self._fleet.conditions()

    async def _leave(self) -> None:
        if self._reach is not None:
            await self._reach.stop()
        await self._fleet.stop()
        await self._api.close()

    async def stop(self, *, keep_ghosts: bool) -> None:
        """Leave the server; with `keep_ghosts` false every instance of ours goes. Homes stay."""
        try:
            if self._plan is not None and not keep_ghosts:
                ghosts = [ghost_of(self._pool, one) for one in await self._fleet.instances_now()]
                await destroy_all(self.apply, ghosts)
        finally:
            await self._leave()
