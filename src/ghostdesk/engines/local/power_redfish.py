"""A management controller over HTTPS by Redfish (DMTF DSP0266 and the Power schema): two or three GETs, nothing else.

The certificate is checked, the password comes from a file that only its owner can read, and neither it nor the
header that carries it appears in any message. Links in answers are followed on the same server alone.
"""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ghostdesk.engines.local.power import Covers, Sample
from ghostdesk.kernel.errors import ConfigError

TIMEOUT_S = 5.0
MOST_BYTES = 1_000_000
MOST_CHASSIS = 32


@dataclass(frozen=True, slots=True)
class RedfishAddress:
    """Where the controller is, and who we are there.

    Args:
        url: "https://bmc.example.org", with a port if needed.
        user: an account that may read; it needs no more.
        password_file: whose first line is the password.
        ca_file: certificates to trust; None for the system's.
        chassis: the id of the chassis to read, where there are several; "".
    """

    url: str
    user: str
    password_file: Path
    ca_file: Path | None = None
    chassis: str = ""

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        try:
            port = parts.port
        except ValueError:
            port = -1
        if parts.scheme != "https" or not parts.hostname or parts.path.strip("/") or parts.username or port == -1:
            raise ConfigError(
                "power.redfish_url is no address of a controller.",
                'Write it as "https://HOST" or "https://HOST:PORT", without user or path: only HTTPS is used.',
            )
        if not self.user or ":" in self.user or not self.user.isprintable():
            raise ConfigError("power.redfish_user is missing or holds a colon.", "Name an account that may read.")


class _Failed(Exception):
    """Something went wrong; the text is for people, and holds no secret."""


class Redfish:
    """Asks the controller; takes up to some seconds: ask it in the background."""

    name = "Redfish"

    def __init__(self, address: RedfishAddress) -> None:
        self._address = address

    def sample(self) -> Sample:
        """The watts of the chassis, or why there are none."""
        try:
            return Sample(self.name, Covers.HOST, self._read())
        except _Failed as error:
            return Sample(self.name, Covers.HOST, None, str(error))

    def _read(self) -> float:
        parts = urlsplit(self._address.url)
        context = self._context()
        header = {"Authorization": self._authorization(), "Accept": "application/json"}
        connection = http.client.HTTPSConnection(
            parts.hostname or "", parts.port or 443, timeout=TIMEOUT_S, context=context
        )
        try:
            members = _member_links(_get(connection, "/redfish/v1/Chassis", header))
            wanted = self._address.chassis
            if wanted:
                members = [link for link in members if link.rstrip("/").rsplit("/", 1)[-1] == wanted]
            found = {link: watts for link in members if (watts := _chassis_power(connection, link, header)) is not None}
        except ssl.SSLCertVerificationError as error:
            raise _Failed(
                f"its certificate is not trusted ({error.verify_message}); see power.redfish_ca_file"
            ) from None
        except (OSError, http.client.HTTPException) as error:
            raise _Failed(f"cannot be asked ({type(error).__name__}: {str(error)[:120]})") from None
        finally:
            connection.close()
        if not found:
            raise _Failed(f"no chassis{' ' + wanted if wanted else ''} tells its power")
        if len(found) > 1:
            names = ", ".join(sorted(link.rstrip("/").rsplit("/", 1)[-1] for link in found))
            raise _Failed(f"several chassis tell their power: set power.redfish_chassis to one of {names[:200]}")
        return next(iter(found.values()))

    def _context(self) -> ssl.SSLContext:
        file = self._address.ca_file
        try:
            return ssl.create_default_context(cafile=str(file) if file else None)
        except (OSError, ssl.SSLError) as error:
            raise _Failed(f"power.redfish_ca_file cannot be used ({type(error).__name__})") from None

    def _authorization(self) -> str:
        file = self._address.password_file
        try:
            if file.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise _Failed(f"others can read {file}: chmod 600 it")
            with file.open(encoding="utf-8") as stream:
                password = stream.readline().rstrip("\r\n")
        except (OSError, ValueError) as error:
            raise _Failed(f"{file} cannot be read ({getattr(error, 'strerror', None) or 'no text'})") from None
        if not password:
            raise _Failed(f"{file} is empty")
        return "Basic " + base64.b64encode(f"{self._address.user}:{password}".encode()).decode()


def _get(connection: http.client.HTTPSConnection, path: str, header: Mapping[str, str]) -> Mapping[str, Any]:
    connection.request("GET", path, headers=dict(header))
    answer = connection.getresponse()
    body = answer.read(MOST_BYTES + 1)
    if len(body) > MOST_BYTES:
        raise _Failed(f"{path[:80]}: the answer is larger than {MOST_BYTES} bytes")
    if answer.status in {401, 403}:
        raise _Failed("it refuses power.redfish_user with the password in power.redfish_password_file")
    if answer.status != 200:
        raise _Failed(f"{path[:80]}: status {answer.status}")
    try:
        table = json.loads(body)
    except (ValueError, RecursionError):
        raise _Failed(f"{path[:80]}: the answer is no JSON") from None
    if not isinstance(table, dict):
        raise _Failed(f"{path[:80]}: the answer is no object")
    return table


def _own_link(value: object) -> str:
    """The path of a link on the same server; "" for anything else."""
    link = value.get("@odata.id") if isinstance(value, dict) else None
    if not isinstance(link, str) or not link.startswith("/redfish/v1/") or len(link) > 300:
        return ""
    return link if link.isascii() and link.isprintable() and " " not in link and ".." not in link else ""


def _member_links(table: Mapping[str, Any]) -> list[str]:
    members = table.get("Members")
    links = [_own_link(member) for member in members] if isinstance(members, list) else []
    return [link for link in links if link][:MOST_CHASSIS]


def _chassis_power(connection: http.client.HTTPSConnection, link: str, header: Mapping[str, str]) -> float | None:
    """Watts of one chassis by its Power, or the newer EnvironmentMetrics; None when it tells neither."""
    chassis = _get(connection, link, header)
    if power := _own_link(chassis.get("Power")):
        controls = _get(connection, power, header).get("PowerControl")
        first = controls[0] if isinstance(controls, list) and controls else None
        watts = _watts(first.get("PowerConsumedWatts") if isinstance(first, dict) else None)
        if watts is not None:
            return watts
    if metrics := _own_link(chassis.get("EnvironmentMetrics")):
        told = _get(connection, metrics, header).get("PowerWatts")
        return _watts(told.get("Reading") if isinstance(told, dict) else None)
    return None


def _watts(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
