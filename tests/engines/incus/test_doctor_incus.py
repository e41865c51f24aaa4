"""`ghostdesk doctor` on a real server of Incus or LXD, and on one that is not there."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from ghostdesk.config import EngineSettings, Settings, StateSettings
from ghostdesk.doctor.report import Finding, Report, State, Verdict
from ghostdesk.engines.incus.api import IncusApi
from ghostdesk.wiring.doctor import examine

pytestmark = pytest.mark.desktop


def settings_of(folder: Path, address: str) -> Settings:
    return Settings(
        state=StateSettings(folder / "s", folder / "r"),
        engine=EngineSettings(name="incus", address=address, storage_pool="desks"),
    )


def run(settings: Settings) -> tuple[Report, dict[str, Finding]]:
    report = asyncio.run(examine(settings, lambda step: None, desktop=True, patience_s=60.0))
    return report, {one.step: one for one in report.findings}


def test_a_desktop_is_built_painted_typed_into_and_destroyed(incus_socket: str, open_dir: Path) -> None:
    report, found = run(settings_of(open_dir, incus_socket))
    assert report.verdict is Verdict.WELL, report
    for step in ("build", "picture", "agent", "key", "home", "limits", "freeze", "wake", "destroy", "leave"):
        assert found[step].state is State.WELL, found[step]
    assert found["park"].detail  # it depends on the swap of this machine
    assert next(one for one in report.abilities if one.name == "server").available
    assert not (open_dir / "s").exists() and not (open_dir / "r").exists()

    async def instances() -> list[object]:
        api = IncusApi(incus_socket)
        try:
            return list(await api.get("/1.0/instances"))
        finally:
            await api.close()

    assert asyncio.run(instances()) == []


@pytest.mark.parametrize(
    ("change", "cause"), [({"address": "/nobody"}, "/nobody"), ({"storage_pool": "nonesuch"}, "nonesuch")]
)
def test_what_is_wrong_with_a_server_is_said(
    incus_socket: str, open_dir: Path, change: dict[str, str], cause: str
) -> None:
    settings = settings_of(open_dir, incus_socket)
    report, found = run(replace(settings, engine=replace(settings.engine, **change)))
    assert report.verdict is Verdict.BROKEN
    assert cause in found["start"].cause and found["start"].mend
    assert found["build"].state is State.SKIPPED
