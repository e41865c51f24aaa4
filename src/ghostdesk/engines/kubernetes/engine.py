"""The engine for Kubernetes: ghosts are pods. See docs/how-to/kubernetes.md and, for homes, docs/designs."""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from ghostdesk.engines.kubernetes import cluster as clusters
from ghostdesk.engines.kubernetes import reading, render
from ghostdesk.engines.kubernetes.api import KubernetesApi
from ghostdesk.engines.kubernetes.doors import Doors
from ghostdesk.engines.kubernetes.errors import Changed, FeatureMissing
from ghostdesk.engines.kubernetes.identity import Identity
from ghostdesk.engines.kubernetes.making import Maker
from ghostdesk.engines.kubernetes.names import AWAKE, FROZEN, STATE, pool_name, selector
from ghostdesk.engines.kubernetes.pods import Pods
from ghostdesk.engines.local.sandbox import common_environment
from ghostdesk.engines.protocol import FREEZING, PARKING, RESIZING, Ability, Endpoint, ObservedGhost
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
from ghostdesk.kernel.conditions import HostConditions, HostFault
from ghostdesk.kernel.errors import (
    Conflict,
    EngineError,
    GhostdeskError,
    InsufficientCapacity,
    MissingRequirement,
    NotFound,
)
from ghostdesk.kernel.ids import GhostId, ghost_id, user_id
from ghostdesk.kernel.resources import Priority, Resources

Object = dict[str, Any]
BUILDS_AT_ONCE = 8
_TRIES_WHEN_CHANGED = 3
_RESIZE_WITHIN_S = 1.0
_UNLIMITED = (("network_bytes_per_s", "network"), ("storage_bytes_per_s", "storage"), ("gpu_share", "gpu"))


class ClusterSettings(Protocol):
    """The settings of this engine alone (see `config.KubernetesSettings`)."""

    @property
    def kubeconfig(self) -> Path | None: ...
    @property
    def context(self) -> str: ...
    @property
    def namespace(self) -> str: ...
    @property
    def pool(self) -> str: ...
    @property
    def image(self) -> str: ...
    @property
    def pull_policy(self) -> str: ...
    @property
    def pull_secret(self) -> str: ...
    @property
    def transport(self) -> str: ...
    @property
    def request_share(self) -> float: ...
    @property
    def storage_class(self) -> str: ...
    @property
    def home_bytes(self) -> float: ...
    @property
    def home_access(self) -> str: ...
    @property
    def node_selector(self) -> Mapping[str, str]: ...
    @property
    def runtime_class(self) -> str: ...


class SomeSettings(Protocol):
    """The settings that this engine needs (see `config.EngineSettings`)."""

    @property
    def kubernetes(self) -> ClusterSettings: ...
    @property
    def build_timeout_s(self) -> float: ...


class KubernetesEngine:
    """Ghosts as pods of a cluster.

    Args:
        state_dir: where the key is kept that the ghosts' credentials are derived from; its path tells our pods.
        run_dir: the sockets on this machine.
        api: the cluster.
        plan: what all pods have in common.
        build_timeout_s: how long a new desktop's screen may take to answer.
    """

    def __init__(
        self, state_dir: Path, run_dir: Path, *, api: KubernetesApi, plan: render.PodPlan, build_timeout_s: float = 60.0
    ) -> None:
        self._state_dir, self._run_dir = state_dir.absolute(), run_dir.absolute()
        # Pods belong to the ghostdesk of this state folder (a doctor beside it has one of its own), homes to the pool.
        place = hashlib.sha256(os.fsencode(os.path.realpath(state_dir))).hexdigest()[:6]
        self._api = api
        self._plan = replace(plan, pool=f"{pool_name(plan.pool)}-{place}", homes=plan.pool)
        self._build_timeout_s = build_timeout_s
        self._path = f"/api/v1/namespaces/{plan.namespace}/pods"
        self._builds = asyncio.Semaphore(BUILDS_AT_ONCE)
        self._turns = Turns((OSError, ValueError, KeyError))
        self._cluster: clusters.Cluster | None = None
        self._pods: Pods | None = None
        self._doors: Doors | None = None
        self._maker: Maker | None = None

    @classmethod
    def from_settings(cls, settings: SomeSettings, state_dir: Path, run_dir: Path) -> KubernetesEngine:
        """The engine that the settings describe; raises `MissingRequirement` without an image."""
        told = settings.kubernetes
        if not told.image:
            raise MissingRequirement(
                "No image for the desktops is named.", "Set engine.kubernetes.image (docs/how-to/kubernetes.md)."
            )
        plan = render.PodPlan(
            told.namespace,
            told.pool,
            told.image,
            told.pull_policy,
            told.pull_secret,
            told.transport,
            told.request_share,
            Resources(),
            told.storage_class,
            told.home_bytes,
            told.home_access,
            told.node_selector,
            told.runtime_class,
            "",
            {name: value for name, value in common_environment().items() if name != "GHOSTDESK_TOKEN_FILE"},
        )
        api = KubernetesApi(told.kubeconfig, told.context)
        return cls(state_dir, run_dir, api=api, plan=plan, build_timeout_s=settings.build_timeout_s)

    async def start(self) -> None:
        """See that the cluster is there, lets us, and has what we need; raises `EngineError`."""
        if self._pods is not None:
            return
        try:
            await self._start_up()
        except BaseException:
            await self._leave()
            raise

    async def _start_up(self) -> None:
        identity = await asyncio.to_thread(Identity.kept_in, self._state_dir, self._plan.pool)
        forwards = self._plan.transport == "port-forward"
        self._cluster = await clusters.inspect(self._api, self._plan.namespace, forwards=forwards)
        self._plan = replace(self._plan, whole_node=self._cluster.largest)
        await asyncio.to_thread(self._run_dir.mkdir, mode=0o711, parents=True, exist_ok=True)
        self._pods = Pods(self._api, self._path, selector(pool=self._plan.pool))
        self._doors = Doors(self._api, self._plan, self._run_dir, identity)
        self._maker = Maker(self._api, self._plan, self._pods, self._doors, identity, self._build_timeout_s)
        await self._pods.start()
        await self.observe()

    def _started(self) -> tuple[clusters.Cluster, Pods, Doors, Maker]:
        if self._cluster is None or self._pods is None or self._doors is None or self._maker is None:
            raise EngineError("The Kubernetes engine has not been started.")
        return self._cluster, self._pods, self._doors, self._maker

    async def observe(self) -> Sequence[ObservedGhost]:
        """Every ghost of ours in the cluster, whoever made it; those that run get their sockets here."""
        _, pods, doors, _ = self._started()
        seen = []
        for found in reading.by_ghost(await pods.now()).values():
            one = reading.observed(found)
            if one is None:
                continue
            seen.append(one)
            chosen = reading.newest(found)
            if one.alive and chosen is not None and not self._turns.busy(one.ghost):
                await doors.open(one.ghost, chosen)
        there = {one.ghost for one in seen}
        for ghost in doors.ghosts():
            if ghost not in there and not self._turns.busy(ghost):
                await doors.close(ghost, remove=True)
        return seen

    async def apply(self, command: EngineCommand) -> Outcome:
        """Carry out one command; commands for one ghost one after another."""
        return await self._turns.take(command, lambda: self._carry_out(command))

    async def _carry_out(self, command: EngineCommand) -> Facts:  # noqa: PLR0911 - one line a command
        ghost_id(command.ghost)
        match command:
            case CacheTemplate():
                return {"why": "nodes keep the image once they have it"}
            case Build(priority=Priority.GHOST):
                async with self._builds:
                    return await self._build(command)
            case Build():  # somebody waits
                return await self._build(command)
            case AttachHome():
                return await self._attach(command)
            case SetLimits():
                return await self._set_limits(command)
            case Freeze():
                return await self._freeze(command.ghost)
            case Thaw():
                return await self._thaw(command.ghost)
            case ReclaimMemory():
                await self._living(command.ghost)
                return {"reclaimed_bytes": 0.0, "why": "Kubernetes has no call that pushes memory out"}
            case CallBackMemory():
                await self._living(command.ghost)
                return {"called_back_bytes": 0.0}
            case Destroy():
                await self._destroy(command.ghost)
                return {}

    async def _all_of(self, ghost: GhostId) -> list[Object]:
        """The ghost's pods, read from the cluster now."""
        found, _ = await self._api.items(self._path, labelSelector=selector(pool=self._plan.pool, ghost=ghost))
        return found

    async def _living(self, ghost: GhostId) -> Object:
        """The pod that is the ghost, running; raises `NotFound` with what became of it."""
        found = reading.newest(await self._all_of(ghost))
        if found is None:
            raise NotFound(f"There is no ghost {ghost} in the cluster.", "It was destroyed, or never built.")
        if not reading.runs(found):
            trouble = reading.trouble(found)
            why = f"{trouble.reason}: {trouble.text}" if trouble else "its pod does not run"
            raise NotFound(f"Ghost {ghost} does not run ({why}).", "Destroy it and build another.")
        return dict(found)

    async def _build(self, command: Build) -> Facts:
        _, _, doors, maker = self._started()
        found = reading.newest(await self._all_of(command.ghost))
        if found is not None and reading.runs(found):
            await doors.open(command.ghost, found)
            return {"path": "already"}
        if found is not None:
            await self._destroy(command.ghost)
        amounts = render.resource_amounts(command.limits, self._plan)
        made = render.pod(self._plan, command.ghost, command.template, amounts)
        running = await maker.make(command.ghost, made)
        await doors.open(command.ghost, running)
        return {"location": str(running["spec"].get("nodeName") or "unknown"), **_not_limited(command.limits)}

    async def _attach(self, command: AttachHome) -> Facts:
        """A volume cannot be added to a running pod: the ghost's next pod has it from the start, and takes over."""
        _, _, doors, maker = self._started()
        user, ghost = user_id(command.user), command.ghost
        before = await self._living(ghost)
        every = await self._all_of(ghost)
        for one in every:
            try:
                owner = reading.owner_of(one)
            except ValueError as error:
                raise Conflict(f"It cannot be told whose ghost {ghost} is: {error}.", "Destroy it.") from None
            if owner is not None and owner != user:
                raise Conflict(
                    f"Ghost {ghost} belongs to another user.", "Destroy it; a ghost is never handed to a second user."
                )
        if reading.owner_of(before) == user:
            await doors.open(ghost, before)
            await self._remove_others(before, every)
            return {"attached": "already"}
        await maker.claim(user)
        made = render.pod(self._plan, ghost, reading.template_of(before), reading.amounts_of(before), user)
        running = await maker.make(ghost, made)
        agent = await doors.switch(ghost, running)
        if reading.label(before, STATE) == FROZEN:
            running = await self._write_state(ghost, running, FROZEN)
            await doors.say(running, ghost, "freeze")
        await self._remove_others(running, every)
        return {"attached": "in a new pod", "agent": "there" if agent else "late"}

    async def _remove_others(self, kept: Object, every: Sequence[Object]) -> None:
        """Of a ghost's pods only the one that is the ghost stays, whatever a crash left."""
        _, _, _, maker = self._started()
        others = [one for one in every if one["metadata"]["uid"] != kept["metadata"]["uid"]]
        await asyncio.gather(*(maker.remove(one) for one in others))

    async def _set_limits(self, command: SetLimits) -> Facts:
        cluster, pods, _, _ = self._started()
        pod = await self._living(command.ghost)
        facts = _not_limited(command.limits)
        amounts = render.resource_amounts(command.limits, self._plan)
        before = reading.amounts_of(pod)
        if reading.same_amounts(amounts, before):
            return facts
        if not cluster.resizes:
            raise FeatureMissing(
                f"Kubernetes {cluster.version} cannot resize running pods: it has no pods/resize.",
                "Kubernetes 1.33 can; until then desktops keep the limits that they were built with.",
            )
        amounts, kept = reading.shrinkable(before, amounts, cluster.shrinks_memory)
        resized = pods.note(await self._resize(pod, amounts))
        if command.priority is Priority.GHOST:  # a person does not wait for the node's answer
            await self._resized(resized, before)
        return facts | ({"kept": "memory: this version makes no limit of it smaller"} if kept else {})

    async def _resize(self, pod: Object, amounts: Mapping[str, Any]) -> Object:
        path = f"{self._path}/{pod['metadata']['name']}/resize"
        return await self._api.patch(path, render.resize_patch(amounts), strategic=True)

    async def _resized(self, pod: Object, before: Mapping[str, Any]) -> None:
        """Give the node a moment to say no; then what was asked is taken back, and `InsufficientCapacity`."""
        _, pods, _, _ = self._started()
        try:
            told = await pods.until(pod, lambda one: reading.resize_told(one, pod), _RESIZE_WITHIN_S)
        except (TimeoutError, NotFound):
            return
        trouble = reading.resize_trouble(told)
        if trouble is not None and trouble.final:
            pods.note(await self._resize(pod, before))
            raise InsufficientCapacity(
                f"The node has no room for it: {trouble.text}.", "Smaller limits fit, or a larger node."
            )

    async def _freeze(self, ghost: GhostId) -> Facts:
        """Written down first: a crash in between leaves a desktop that runs and is thawed once too often."""
        _, _, doors, _ = self._started()
        pod = await self._living(ghost)
        await self._write_state(ghost, pod, FROZEN)
        await doors.say(pod, ghost, "freeze")
        return {}

    async def _thaw(self, ghost: GhostId) -> Facts:
        _, _, doors, _ = self._started()
        pod = await self._living(ghost)
        await doors.say(pod, ghost, "thaw")
        await self._write_state(ghost, pod, AWAKE)
        return {}

    async def _write_state(self, ghost: GhostId, pod: Object, state: str) -> Object:
        _, pods, _, _ = self._started()
        for attempt in range(_TRIES_WHEN_CHANGED):
            if reading.label(pod, STATE) == state:
                return pod
            path = f"{self._path}/{pod['metadata']['name']}"
            try:
                return pods.note(await self._api.patch(path, render.state_patch(pod, state)))
            except Changed:
                if attempt + 1 == _TRIES_WHEN_CHANGED:
                    raise
                pod = await self._living(ghost)
        return pod

    async def _destroy(self, ghost: GhostId) -> None:
        _, _, doors, maker = self._started()
        await doors.close(ghost, remove=True)
        await asyncio.gather(*(maker.remove(pod) for pod in await self._all_of(ghost)))

    def endpoint(self, ghost: GhostId) -> Endpoint:
        """Where the desktop answers; raises `NotFound`."""
        _, _, doors, _ = self._started()
        relay = doors.of(ghost)
        if relay is None:
            raise NotFound(f"There is no ghost {ghost} in the cluster.", "It was destroyed, or never built.")
        # What comes from the pod is brought to the agent's socket by this process.
        return Endpoint(str(relay.rfb_path), str(relay.agent_path), doors.token(ghost), os.geteuid())

    def abilities(self) -> Sequence[Ability]:
        """What the cluster lets us do."""
        found = self._cluster
        name = f"Kubernetes {found.version}" if found else "not looked at yet"
        return (
            Ability("server", found is not None, f"{name}, {self._api.address}", "Start the engine."),
            Ability(
                RESIZING, bool(found and found.resizes), f"limits of running desktops ({name})",
                "Kubernetes 1.33 or later; before, desktops keep the limits that they were built with.",
            ),
            Ability(FREEZING, True, "by signals to the pod's processes: Kubernetes itself freezes no pod"),
            Ability(
                PARKING, False, "a stopped pod keeps its memory: Kubernetes has no call that pushes it out",
                "Use the local engine where parking matters.",
            ),
            Ability(
                "homes without a new pod", False, "a volume cannot be added to a running pod: binding makes a new one",
                "Raise pool.warm_lead_s, so that people are bound ahead of time.",
            ),
        )  # fmt: skip

    def capacity(self) -> Resources:
        """What all ready nodes have for pods, as read at the start."""
        return self._cluster.total if self._cluster else Resources()

    async def conditions(self) -> HostConditions:
        """The nodes' memory and what our pods ask of it, as far as the API tells."""
        try:
            _, pods, _, _ = self._started()
            nodes, _ = await self._api.items(clusters.NODES)
            ours = await pods.now()
        except GhostdeskError as error:
            total_bytes = max(self.capacity().memory_bytes, 1.0)
            return HostConditions(
                time.time(), memory_bytes=total_bytes, memory_available_bytes=total_bytes, problems=(str(error),)
            )
        total, _ = reading.allocatable(nodes)
        asked_bytes = sum(reading.asked_memory_bytes(pod) for pod in ours)
        return HostConditions(
            time.time(),
            memory_bytes=max(total.memory_bytes, 1.0),
            memory_available_bytes=min(max(total.memory_bytes - asked_bytes, 1.0), max(total.memory_bytes, 1.0)),
            problems=("the API tells no pressure", "what other pods ask for is not counted"),
            faults=tuple(HostFault("node-lost", f"node {name} is not ready") for name in reading.lost_nodes(nodes)),
        )

    async def stop(self, *, keep_ghosts: bool) -> None:
        """Leave the cluster; with `keep_ghosts` false every pod of ours goes. Homes stay."""
        try:
            if self._pods is not None and not keep_ghosts:
                found, _ = await self._api.items(self._path, labelSelector=selector(pool=self._plan.pool))
                ghosts = [GhostId(name) for name in reading.by_ghost(found)]
                await destroy_all(self.apply, ghosts)
        finally:
            await self._leave()

    async def _leave(self) -> None:
        steps: list[Callable[[], Awaitable[None]]] = [self._api.close]
        if self._doors is not None:
            steps.insert(0, self._doors.close_all)
        if self._pods is not None:
            steps.insert(0, self._pods.stop)
        self._pods = self._doors = self._maker = None
        for step in steps:
            await step()


def _missing(limits: Resources) -> list[str]:
    return [word for field, word in _UNLIMITED if getattr(limits, field)]


def _not_limited(limits: Resources) -> Facts:
    """Kubernetes limits CPU and memory alone."""
    missing = _missing(limits)
    return {"not_limited": ", ".join(missing)} if missing else {}
