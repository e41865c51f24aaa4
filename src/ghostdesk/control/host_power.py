"""Putting hosts to sleep and waking them: the seam, and the ways that there are.

Each way is small and does one thing; `HostKeeper` (control.host_keeper) decides nothing either, but sees to it that a
host that does not wake is replaced by another. Nothing here runs unless the operator set it up.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

from ghostdesk.allocator.energy_hosts import HostState
from ghostdesk.kernel.clock import Clock
from ghostdesk.kernel.errors import ConfigError, EngineError, MissingRequirement
from ghostdesk.kernel.ids import HostId

WAKE_PORT = 9
"""Discard: where magic packets go by custom. The network card looks at every frame, whatever its port."""
_COMMAND_TIMEOUT_S = 20.0
_MAC = re.compile(r"[0-9a-f]{2}([:-]?)[0-9a-f]{2}(\1[0-9a-f]{2}){4}", re.IGNORECASE)
_MOST_OUTPUT_BYTES = 256_000
_POWER_STATE = re.compile(r'"powerstate"\s*:\s*"(\w+)"')
_SYSTEM = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


class HostPower(Protocol):
    """Suspends and wakes hosts. Each call may be repeated; none blocks the event loop.

    A call that returns has been sent, not carried out: ask for the state.
    """

    async def suspend(self, host: HostId) -> None:
        """Begin to suspend it; raises `EngineError` where that cannot be asked for."""
        ...

    async def wake(self, host: HostId) -> None:
        """Begin to wake it; raises `EngineError` where that cannot be asked for."""
        ...

    async def state(self, host: HostId) -> HostState:
        """What it is doing, as far as can be told; raises `EngineError` for an unknown host."""
        ...


class WakesHosts(Protocol):
    """The waking half."""

    async def wake(self, host: HostId) -> None:
        """See `HostPower.wake`."""
        ...


class SuspendsHosts(Protocol):
    """The suspending half."""

    async def suspend(self, host: HostId) -> None:
        """See `HostPower.suspend`."""
        ...


def magic_packet(mac: str) -> bytes:
    """Six bytes of ones and the card's address sixteen times (AMD, "Magic Packet Technology", 1995): 102 bytes.

    Raises:
        ConfigError: it is no address of a network card.
    """
    if not _MAC.fullmatch(mac.strip()):
        raise ConfigError(f"{mac!r} is no address of a network card.", "Write it as 52:54:00:12:34:56.")
    return b"\xff" * 6 + bytes.fromhex(re.sub("[:-]", "", mac.strip())) * 16


@dataclass(frozen=True)
class WakeOnLan:
    """Wakes by magic packets, three in a row, as UDP may lose one.

    Args:
        macs: of each host's network card that listens.
        address: where packets go: the broadcast address of the hosts' network.
        port: see `WAKE_PORT`.
    """

    macs: Mapping[HostId, str]
    address: str = "255.255.255.255"
    port: int = WAKE_PORT
    packets: int = 3

    async def wake(self, host: HostId) -> None:
        """Send the packets."""
        if host not in self.macs:
            raise EngineError(f"The network card of {host} is not known.", "Give its MAC address.")
        packet = magic_packet(self.macs[host])
        try:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                sender.setblocking(False)
                sender.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
                for _ in range(self.packets):
                    await asyncio.get_running_loop().sock_sendto(sender, packet, (self.address, self.port))
        except OSError as error:
            raise EngineError(
                f"{host} cannot be woken over the network: {error.strerror}.", "Check the broadcast address."
            ) from None


@dataclass(frozen=True)
class CommandPower:
    """Suspends, wakes and asks by programs: ipmitool, a Redfish client, or the operator's own script.

    Args:
        suspend_command, wake_command, state_command: programs with their arguments; `{host}` becomes the host's name.
            The state command prints a line that has "on" or "off" in it, or a Redfish system. Empty: it cannot be done.
        timeout_s: after which a program is ended.
    """

    suspend_command: Sequence[str] = ()
    wake_command: Sequence[str] = ()
    state_command: Sequence[str] = ()
    timeout_s: float = _COMMAND_TIMEOUT_S

    async def suspend(self, host: HostId) -> None:
        """See `HostPower.suspend`."""
        await self._run(self.suspend_command, host, "be suspended")

    async def wake(self, host: HostId) -> None:
        """See `HostPower.wake`."""
        await self._run(self.wake_command, host, "be woken")

    async def state(self, host: HostId) -> HostState:
        """See `HostPower.state`."""
        told = (await self._run(self.state_command, host, "be asked")).lower()
        redfish = _POWER_STATE.search(told)
        told = redfish.group(1) if redfish is not None else told
        if re.search(r"\bon\b", told):
            return HostState.ON
        if re.search(r"\b(off|suspended|standby|sleep(ing)?)\b", told):
            return HostState.SUSPENDED
        raise EngineError(f"Whether {host} is on cannot be told from {told[:60]!r}.", "Check the command.")

    async def _run(self, command: Sequence[str], host: HostId, what: str) -> str:
        if not command:
            raise EngineError(f"{host} cannot {what}: no command is set.", "Set one in [energy].")
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.:-]*", host):  # it must not pass for an option
            raise EngineError(f"{host!r} is no name of a host.", "Use letters, digits, and . _ : -")
        words = [word.replace("{host}", host) for word in command]
        try:
            process = await asyncio.create_subprocess_exec(
                *words,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
            )
        except OSError as error:
            raise MissingRequirement(f"{words[0]} cannot be started: {error.strerror}.", "Install it.") from None
        try:
            async with asyncio.timeout(self.timeout_s):
                told, _ = await process.communicate()
        except TimeoutError:
            raise EngineError(f"{host} cannot {what}: {words[0]} did not end in time.", "It is tried again.") from None
        finally:
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        if process.returncode:
            raise EngineError(f"{host} cannot {what}: {words[0]} failed ({process.returncode}).", "Run it by hand.")
        return told[:_MOST_OUTPUT_BYTES].decode("utf-8", "replace")


def ipmi(user: str, password_file: str) -> CommandPower:
    """Power calls by ipmitool to the controller named as the host is; the password stays in its file."""
    base = ("ipmitool", "-I", "lanplus", "-H", "{host}", "-U", user, "-f", password_file, "chassis", "power")
    return CommandPower((*base, "soft"), (*base, "on"), (*base, "status"))


def redfish(curl_config: str, system: str = "1", timeout_s: float = _COMMAND_TIMEOUT_S) -> CommandPower:
    """Power calls by curl to the Redfish service of the controller named as the host is (DMTF DSP0266): a graceful
    shutdown, a start, and the system's power state.

    Args:
        curl_config: a file of curl's that holds the account (`user = "NAME:PASSWORD"`) and, where needed, `cacert`;
            readable for its owner only. So the password is on no command line.
        system: the id of the computer system.
        timeout_s: see `CommandPower`.

    Raises:
        ConfigError: the id could name something else.
    """
    if not _SYSTEM.fullmatch(system):
        raise ConfigError(f"{system!r} is no id of a Redfish system.", "It is the last part of its address, such as 1.")
    base = ("curl", "--silent", "--fail", "--proto", "=https", "--max-time", f"{timeout_s:g}", "--config", curl_config)
    url = f"https://{{host}}/redfish/v1/Systems/{system}"

    def reset(kind: str) -> tuple[str, ...]:
        body = ("--header", "Content-Type: application/json", "--data", f'{{"ResetType": "{kind}"}}')
        return (*base, *body, f"{url}/Actions/ComputerSystem.Reset")

    return CommandPower(reset("GracefulShutdown"), reset("On"), (*base, url), timeout_s + 1.0)


@dataclass(frozen=True)
class LocalSuspend:
    """Suspends the machine that ghostdesk runs on, by `systemctl suspend`: only where the operator switched it on.

    While it sleeps nobody is served: it has to be woken from outside (a packet, an alarm clock, its power button).

    Args:
        allowed: the operator's switch.
        claimed: how many desktops are people's; with any, it refuses.
        command: what suspends.
    """

    allowed: bool
    claimed: Callable[[], int] = lambda: 0
    command: Sequence[str] = ("systemctl", "suspend")

    async def suspend(self, host: HostId) -> None:
        """See `HostPower.suspend`."""
        if not self.allowed:
            raise EngineError(
                "This machine is not suspended: the operator did not switch it on.", "Set energy.suspend_this_host."
            )
        in_use = self.claimed()
        if in_use:
            raise EngineError(f"This machine is not suspended: {in_use} desktops are in use.", "")
        await CommandPower(suspend_command=self.command).suspend(host)


@dataclass(frozen=True)
class TwoWays:
    """One way to suspend, another to wake: a command and a magic packet, say. States are what was asked for last."""

    sleep: SuspendsHosts
    rouse: WakesHosts
    ask: HostPower | None = None
    _asked: dict[HostId, HostState] = field(default_factory=dict)

    async def suspend(self, host: HostId) -> None:
        """See `HostPower.suspend`."""
        await self.sleep.suspend(host)
        self._asked[host] = HostState.SUSPENDED

    async def wake(self, host: HostId) -> None:
        """See `HostPower.wake`."""
        await self.rouse.wake(host)
        self._asked[host] = HostState.ON

    async def state(self, host: HostId) -> HostState:
        """See `HostPower.state`."""
        return await self.ask.state(host) if self.ask is not None else self._asked.get(host, HostState.ON)


@dataclass
class SimulatedHostPower:
    """Hosts that exist in memory: for replay and tests.

    Args:
        clock: tells the time.
        suspend_time_s, wake_time_s: how long either takes.
        broken: hosts that never wake.
        asleep: hosts that sleep when it begins; the others are awake.
    """

    clock: Clock
    suspend_time_s: float = 10.0
    wake_time_s: float = 60.0
    broken: frozenset[HostId] = frozenset()
    asleep: frozenset[HostId] = frozenset()
    calls: list[tuple[str, HostId]] = field(default_factory=list)
    _until: dict[HostId, tuple[HostState, float]] = field(default_factory=dict)

    async def suspend(self, host: HostId) -> None:
        """See `HostPower.suspend`."""
        self.calls.append(("suspend", host))
        self._until[host] = (HostState.SUSPENDING, self.clock.now_s() + self.suspend_time_s)

    async def wake(self, host: HostId) -> None:
        """See `HostPower.wake`."""
        self.calls.append(("wake", host))
        if host not in self.broken:
            self._until[host] = (HostState.WAKING, self.clock.now_s() + self.wake_time_s)

    async def state(self, host: HostId) -> HostState:
        """See `HostPower.state`."""
        at_first = HostState.SUSPENDING if host in self.asleep else HostState.WAKING
        doing, until_s = self._until.get(host, (at_first, float("-inf")))
        if self.clock.now_s() < until_s:
            return doing
        return HostState.ON if doing is HostState.WAKING else HostState.SUSPENDED
