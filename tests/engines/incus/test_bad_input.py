"""What goes wrong with a real server: each is a typed error with its cause and mend, and nothing of ours is left."""

import asyncio
import contextlib
import os
import socket
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from ghostdesk.engines.images.build import BuiltImage, read_image
from ghostdesk.engines.incus.api import IncusApi, instance_path
from ghostdesk.engines.incus.engine import IncusEngine
from ghostdesk.engines.incus.errors import ImageUnsuitable, NameTaken, NotTrusted, WrongServer
from ghostdesk.engines.incus.image import thin_image
from ghostdesk.engines.incus.importing import checked_image, find_image, set_alias
from ghostdesk.engines.incus.render import instance_name
from ghostdesk.engines.incus.server import check_told
from ghostdesk.ghosts.commands import AttachHome, Build, Destroy, Freeze, SetLimits, Thaw
from ghostdesk.ghosts.ghost import DesktopTemplate
from ghostdesk.kernel.errors import Conflict, EngineError, InsufficientCapacity, MissingRequirement, NotFound
from ghostdesk.kernel.ids import GhostId, TemplateId, UserId
from ghostdesk.kernel.resources import MIB, Resources

pytestmark = pytest.mark.desktop
G, TEMPLATE = GhostId("g1"), DesktopTemplate(TemplateId("t"), width_px=800, height_px=600)
LIMITS = Resources(cpu_cores=1.0, memory_bytes=512.0 * MIB)
Make = Callable[..., IncusEngine]


@pytest.fixture
async def api(incus_socket: str) -> AsyncIterator[IncusApi]:
    api = IncusApi(incus_socket)
    yield api
    await api.close()


@pytest.fixture
async def make(incus_socket: str, open_dir: Path) -> AsyncIterator[Make]:
    """Makes engines of one ghostdesk, and stops them."""
    made: list[IncusEngine] = []

    def engine(*, project: str = "default", storage: str = "desks", **options: Any) -> IncusEngine:
        one = IncusEngine(
            open_dir / "state",
            open_dir / "run",
            api=IncusApi(incus_socket, project=project),
            storage=storage,
            **options,
        )
        made.append(one)
        return one

    yield engine
    for one in made:
        with contextlib.suppress(EngineError):
            await one.stop(keep_ghosts=False)


async def _error(engine: IncusEngine, *commands: Any) -> Any:
    """What the last of these commands fails with; those before it must not fail."""
    outcomes = [await engine.apply(command) for command in commands]
    assert [outcome.error for outcome in outcomes[:-1]] == [None] * (len(outcomes) - 1)
    error = outcomes[-1].error
    assert error is not None and error.cause and error.mend
    return error


async def test_changed_and_removed_behind_our_back(make: Make, api: IncusApi) -> None:
    engine = make()
    await engine.start()
    other = GhostId("g2")
    for ghost in (G, other):
        assert (await engine.apply(Build(ghost, TEMPLATE, LIMITS))).error is None
    path = instance_path(instance_name(engine.plan.pool, G))
    # Frozen and given away by somebody else: the next command goes by what is there, not by what we did last.
    await api.change("PUT", f"{path}/state", {"action": "freeze", "timeout": 30})
    await api.change("PATCH", path, {"config": {"user.ghostdesk.owner": "bob"}})
    seen = {one.ghost: one for one in await engine.observe()}
    assert seen[G].frozen and seen[G].owner == "bob" and not seen[other].frozen
    assert isinstance(await _error(engine, Thaw(G), AttachHome(G, UserId("ann"))), Conflict)
    await api.change("PUT", f"{path}/state", {"action": "stop", "force": True, "timeout": 30})
    assert not {one.ghost: one for one in await engine.observe()}[G].alive
    for command in (Freeze(G), Thaw(G), SetLimits(G, LIMITS), AttachHome(G, UserId("bob"))):
        assert isinstance(await _error(engine, command), NotFound)
    await api.change("DELETE", path)
    assert [one.ghost for one in await engine.observe()] == [other]
    assert isinstance(await _error(engine, Freeze(G)), NotFound)
    assert (await engine.apply(Destroy(G))).error is None
    # What has a ghost's name and is not ours is neither taken over nor destroyed.
    await api.change(
        "POST",
        "/1.0/instances",
        {"name": instance_name(engine.plan.pool, G), "source": {"type": "none"}, "profiles": [],
         "devices": {"root": {"type": "disk", "path": "/", "pool": "desks"}}},
    )  # fmt: skip
    error = await _error(engine, Destroy(G), Build(G, TEMPLATE, LIMITS))
    assert isinstance(error, NameTaken) and "did not make" in error.cause
    assert (await api.get(path))["status"] == "Stopped"
    await api.change("DELETE", path)


def _fill(path: Path) -> None:
    """Write until there is no more room."""
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            file.write(os.urandom(MIB))
            os.fsync(file.fileno())


async def test_a_quota_is_reached(make: Make, api: IncusApi) -> None:
    config = {"features.images": "false", "features.profiles": "false", "limits.containers": "0"}
    await api.change("POST", "/1.0/projects", {"name": "full", "config": config})
    engine = make(project="full")
    await engine.start()
    error = await _error(engine, Build(G, TEMPLATE, LIMITS))
    assert isinstance(error, InsufficientCapacity) and "quota" in error.cause and "project" in error.mend
    assert list(await engine.observe()) == []
    await engine.stop(keep_ghosts=False)
    await api.change("DELETE", "/1.0/projects/full")


async def test_a_pool_is_full(make: Make, api: IncusApi, incus_folder: Path, incus_pid: int) -> None:
    driver = (await api.get("/1.0/storage-pools/desks"))["driver"]
    if driver != "btrfs":
        pytest.skip("needs a pool of its own size (btrfs)")
    pool = {"name": "small", "driver": driver, "config": {"size": "200MiB"}}
    await api.change("POST", "/1.0/storage-pools", pool)
    engine = make(storage="small")
    await engine.start()
    inside = Path(f"/proc/{incus_pid}/root{incus_folder}/storage-pools/small/fill")
    await asyncio.to_thread(_fill, inside)
    error = await _error(engine, Build(G, TEMPLATE, LIMITS))
    assert isinstance(error, InsufficientCapacity) and "pool" in error.mend
    assert list(await engine.observe()) == []
    told = await engine.conditions()
    assert len(error.cause) < 500
    assert told.disk_free_bytes < 0.5 * told.disk_bytes  # what btrfs keeps for itself counts as free
    inside.unlink()
    assert (await engine.apply(Build(G, TEMPLATE, LIMITS))).error is None  # and once there is room, it goes on
    await engine.stop(keep_ghosts=False)
    for image in await api.get("/1.0/images", recursion="1"):
        await api.change("DELETE", f"/1.0/images/{image['fingerprint']}")
    await api.change("DELETE", "/1.0/storage-pools/small")


async def test_image_and_pool_that_are_not_there(make: Make) -> None:
    with pytest.raises(ImageUnsuitable, match="no image 'nosuch'") as told:
        await make(image="nosuch").start()
    assert "ghostdesk image build" in told.value.mend
    with pytest.raises(MissingRequirement, match="no storage pool 'nosuch'") as missing:
        await make(storage="nosuch").start()
    assert "engine.storage_pool" in missing.value.mend


async def test_an_image_for_another_architecture(api: IncusApi) -> None:
    foreign = thin_image(machine="s390x")
    try:
        await api.upload("/1.0/images", foreign, {"X-LXD-filename": "foreign.tar"})
    except EngineError as error:
        assert isinstance(error, ImageUnsuitable)
        return
    (found,) = [one for one in await api.get("/1.0/images", recursion="1") if one["architecture"] == "s390x"]
    await set_alias(api, "foreign", found["fingerprint"])
    with pytest.raises(ImageUnsuitable, match=r"is for s390x, and the server runs .*x86_64"):
        await find_image(api, "foreign", frozenset({"x86_64", "i686"}))
    await api.change("DELETE", f"/1.0/images/{found['fingerprint']}")


def test_images_by_what_the_server_tells() -> None:
    told = {"fingerprint": "f", "architecture": "aarch64", "properties": {"ghostdesk.binds": "/usr /opt/x"}}
    assert checked_image(told, "x", frozenset({"aarch64"})).binds == ("/usr", "/opt/x")
    assert checked_image({"fingerprint": "f", "properties": None}, "x", frozenset()).binds == ()
    with pytest.raises(ImageUnsuitable, match="aarch64"):
        checked_image(told, "x", frozenset({"x86_64"}))


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"auth": "untrusted"}, "does not trust us"),
        ({"auth": "trusted", "api_version": "2.0"}, "version 2.0"),
        ({"auth": "trusted"}, "version unknown"),
        ({"auth": "trusted", "api_version": "1.0", "api_status": "deprecated"}, "deprecated"),
        ({"auth": "trusted", "api_version": "1.0", "api_status": "stable"}, "too old"),
    ],
)
def test_servers_that_will_not_do(told: dict[str, str], said: str) -> None:
    with pytest.raises((WrongServer, NotTrusted), match=said) as error:
        check_told(told, "https://x")
    assert error.value.mend


def _certificate(folder: Path, name: str) -> tuple[Path, Path]:
    paths = folder / f"{name}.crt", folder / f"{name}.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", f"/CN={name}", "-out", paths[0], "-keyout", paths[1]],
        check=True, capture_output=True,
    )  # fmt: skip
    return paths


async def test_certificates_of_both_sides(api: IncusApi, incus_folder: Path, tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        where = f"127.0.0.1:{probe.getsockname()[1]}"
    await api.change("PATCH", "/1.0", {"config": {"core.https_address": where}})
    try:
        ours, key = await asyncio.to_thread(_certificate, tmp_path, "ours")
        other, _ = await asyncio.to_thread(_certificate, tmp_path, "other")
        server = incus_folder / "server.crt"

        async def start(trusted: Path | None) -> None:
            far = IncusApi(f"https://{where}", certificate=ours, key=key, trusted=trusted)
            engine = IncusEngine(tmp_path / "s", tmp_path / "r", api=far, storage="desks")
            try:
                await engine.start()
            finally:
                await engine.stop(keep_ghosts=True)

        for wrong in (other, None):
            with pytest.raises(NotTrusted, match=r"certificate of https://.* is not trusted") as told:
                await start(wrong)
            assert "engine.server_certificate" in told.value.mend
        with pytest.raises(NotTrusted, match="does not trust us") as refused:
            await start(server)
        assert "config trust add-certificate" in refused.value.mend
        text = "".join(line for line in ours.read_text().splitlines() if "--" not in line)
        await api.change("POST", "/1.0/certificates", {"type": "client", "certificate": text, "name": "ours"})
        await start(server)
    finally:
        await api.change("PATCH", "/1.0", {"config": {"core.https_address": ""}})


def test_a_built_image_is_read_from_its_folder(tmp_path: Path) -> None:
    (tmp_path / "image.json").write_text('{"for": "incus", "name": "x"}')
    assert read_image(tmp_path) == BuiltImage(tmp_path, {"for": "incus", "name": "x"})
