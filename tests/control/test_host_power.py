"""Putting hosts to sleep and waking them: packets on a real socket, programs that fail, the operator's switch."""

import asyncio
import base64
import shutil
import socket
import sys
import threading
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghostdesk.allocator.energy_hosts import HostState
from ghostdesk.control.host_power import CommandPower, LocalSuspend, TwoWays, WakeOnLan, ipmi, magic_packet, redfish
from ghostdesk.kernel.errors import ConfigError, EngineError, MissingRequirement
from ghostdesk.kernel.ids import HostId

A = HostId("a")
MAC = "52:54:00:12:34:56"


def test_a_magic_packet_is_six_bytes_of_ones_and_the_address_sixteen_times() -> None:
    packet = magic_packet(MAC)
    assert len(packet) == 102
    assert packet[:6] == b"\xff" * 6
    assert packet[6:] == bytes.fromhex("525400123456") * 16
    assert magic_packet("52-54-00-12-34-56") == magic_packet("525400123456") == packet


@given(st.text(max_size=30))
def test_what_is_no_address_is_refused(text: str) -> None:
    try:
        packet = magic_packet(text)
    except ConfigError:
        return
    assert len(packet) == 102


async def test_a_host_is_woken_by_packets_that_arrive() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as card:
        card.bind(("127.0.0.1", 0))
        card.setblocking(False)
        await WakeOnLan({A: MAC}, "127.0.0.1", card.getsockname()[1]).wake(A)
        async with asyncio.timeout(5):
            heard = [await asyncio.get_running_loop().sock_recv(card, 200) for _ in range(3)]
    assert heard == [magic_packet(MAC)] * 3
    with pytest.raises(EngineError, match="not known"):
        await WakeOnLan({}).wake(A)


async def test_programs_are_run_with_the_host_in_their_words(tmp_path: Path) -> None:
    told = tmp_path / "told"
    script = f"import sys; open({str(told)!r}, 'a').write(' '.join(sys.argv[1:]) + '\\n'); print('Chassis Power is on')"
    base = (sys.executable, "-c", script)
    power = CommandPower((*base, "off", "{host}"), (*base, "on", "{host}"), (*base, "ask", "{host}"))
    await power.suspend(A)
    await power.wake(A)
    assert await power.state(A) is HostState.ON
    assert told.read_text() == "off a\non a\nask a\n"


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("import sys; sys.exit(3)", "failed"),
        ("import time; time.sleep(60)", "in time"),
        ("print('maybe')", "cannot be told"),
    ],
)
async def test_programs_that_fail_hang_or_babble_are_errors(script: str, why: str) -> None:
    power = CommandPower(state_command=(sys.executable, "-c", script), timeout_s=2.0)
    with pytest.raises(EngineError, match=why):
        await power.state(A)


async def test_hostile_names_missing_programs_and_unset_commands_are_errors() -> None:
    with pytest.raises(EngineError, match="no name of a host"):
        await CommandPower(wake_command=("true", "{host}")).wake(HostId("-rf /"))
    with pytest.raises(MissingRequirement, match="cannot be started"):
        await CommandPower(wake_command=("/nowhere/ipmitool", "{host}")).wake(A)
    with pytest.raises(EngineError, match="no command is set"):
        await CommandPower().suspend(A)


def test_the_password_of_ipmi_is_never_an_argument() -> None:
    power = ipmi("operator", "/etc/ghostdesk/bmc")
    assert all("-f" in words and "-P" not in words for words in (power.suspend_command, power.wake_command))


async def test_a_redfish_system_tells_its_power_state_among_much_else() -> None:
    for told, state in (("On", HostState.ON), ("Off", HostState.SUSPENDED)):
        answer = f'{{"IndicatorLED": "Off", "Boot": "on", "PowerState": "{told}"}}'
        power = CommandPower(state_command=(sys.executable, "-c", f"print({answer!r})"))
        assert await power.state(A) is state


async def test_redfish_calls_go_over_https_and_hold_no_password(tmp_path: Path) -> None:
    power = redfish("/etc/ghostdesk/bmc.curl", "System.Embedded.1")
    assert power.wake_command[-1] == "https://{host}/redfish/v1/Systems/System.Embedded.1/Actions/ComputerSystem.Reset"
    assert '{"ResetType": "On"}' in power.wake_command
    assert "=https" in power.state_command
    with pytest.raises(ConfigError, match="no id"):
        redfish("x", "../Managers/1")


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
async def test_a_real_redfish_like_server_is_asked_with_the_account_of_the_file(tmp_path: Path) -> None:
    """curl itself, against a server that stands in for a controller (plain HTTP on loopback, so `=https` is lifted)."""
    asked: list[tuple[str, str, bytes]] = []

    class Controller(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(b'{"PowerState": "Off", "IndicatorLED": "On"}')

        def do_POST(self) -> None:
            self._answer(b"{}")

        def _answer(self, body: bytes) -> None:
            asked.append(
                (self.path, self.headers["Authorization"], self.rfile.read(int(self.headers["Content-Length"] or 0)))
            )
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    config = tmp_path / "bmc.curl"
    config.write_text('user = "operator:secret"\n')
    with ThreadingHTTPServer(("127.0.0.1", 0), Controller) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()

        def here(words: Sequence[str]) -> list[str]:
            told = [word.replace("https://", "http://").replace("=https", "=http") for word in words]
            return [word.replace("{host}", f"{{host}}:{server.server_port}") for word in told]

        real = redfish(str(config))
        power = CommandPower(here(real.suspend_command), here(real.wake_command), here(real.state_command))
        host = HostId("127.0.0.1")
        assert await power.state(host) is HostState.SUSPENDED
        await power.wake(host)
        await power.suspend(host)
        server.shutdown()
    account = "Basic " + base64.b64encode(b"operator:secret").decode()
    system = "/redfish/v1/Systems/1"
    assert asked == [
        (system, account, b""),
        (f"{system}/Actions/ComputerSystem.Reset", account, b'{"ResetType": "On"}'),
        (f"{system}/Actions/ComputerSystem.Reset", account, b'{"ResetType": "GracefulShutdown"}'),
    ]


async def test_this_machine_is_suspended_only_when_allowed_and_nobody_works(tmp_path: Path) -> None:
    told = tmp_path / "suspended"
    command = (sys.executable, "-c", f"open({str(told)!r}, 'w')")
    with pytest.raises(EngineError, match="did not switch it on"):
        await LocalSuspend(False, command=command).suspend(A)
    with pytest.raises(EngineError, match="2 desktops are in use"):
        await LocalSuspend(True, lambda: 2, command).suspend(A)
    assert not told.exists()
    await LocalSuspend(True, lambda: 0, command).suspend(A)
    assert told.exists()


async def test_two_ways_together_remember_what_was_asked_for(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as card:
        card.bind(("127.0.0.1", 0))
        power = TwoWays(
            CommandPower(suspend_command=("true", "{host}")), WakeOnLan({A: MAC}, "127.0.0.1", card.getsockname()[1])
        )
        assert await power.state(A) is HostState.ON
        await power.suspend(A)
        assert await power.state(A) is HostState.SUSPENDED
        await power.wake(A)
        assert await power.state(A) is HostState.ON
