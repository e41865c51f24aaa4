"""libvirt for the tests: its pretended host, and a real daemon with QEMU, started and stopped here."""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from libvirt_daemon import DaemonProblem, LibvirtDaemon
from small_image import ImageProblem, small_image

from ghostdesk.engines.libvirt.connection import binding
from ghostdesk.engines.libvirt.engine import LibvirtEngine
from ghostdesk.engines.libvirt.render import MachinePlan, volume_xml
from ghostdesk.kernel.errors import MissingRequirement
from ghostdesk.kernel.resources import MIB
from ghostdesk.testing import MakeEngine

PRETENDED = "test:///default"


@pytest.fixture
def open_dir() -> Iterator[Path]:
    """A folder with a short path that other uids may pass."""
    folder = Path(tempfile.mkdtemp(prefix="gd-", dir="/tmp"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def pretended_host() -> Iterator[Any]:
    """libvirt's own test driver with an image in its pool; its state lasts as long as this connection."""
    try:
        libvirt = binding()
    except MissingRequirement as problem:
        pytest.skip(str(problem))
    connection = libvirt.open(PRETENDED)
    pool = connection.storagePoolLookupByName("default-pool")
    image = pool.createXML(volume_xml("desktop.qcow2", 1 << 30, "qcow2"), 0)
    yield connection
    image.delete(0)
    connection.close()


@pytest.fixture
def pretended_engine(pretended_host: Any, open_dir: Path) -> MakeEngine:
    """Makes engines on the pretended host."""
    plan = MachinePlan("", "", "i686", 4 << 30, 2, "default-pool", "desktop.qcow2")
    return lambda: LibvirtEngine(open_dir / "state", open_dir / "run", uri=PRETENDED, plan=plan)


@pytest.fixture(scope="session")
def daemon() -> Iterator[LibvirtDaemon]:
    """A real libvirtd with QEMU, and the small image in its pool."""
    folder = Path(tempfile.mkdtemp(prefix="gdv", dir="/var/tmp"))
    folder.chmod(0o711)
    daemon = LibvirtDaemon(folder)
    try:
        binding()
        daemon.start()
        image = small_image()
        for source, name in ((image.disk, "desktop.raw"), (image.kernel, "vmlinuz"), (image.initrd, "initrd")):
            subprocess.run(["cp", "--sparse=always", source, folder / "pool" / name], check=True)
    except (DaemonProblem, ImageProblem, MissingRequirement) as problem:
        daemon.stop()
        pytest.skip(str(problem))
    yield daemon
    daemon.stop()


@pytest.fixture(scope="session")
def machine_plan(daemon: LibvirtDaemon) -> MachinePlan:
    """Small machines, emulated by software: a host may offer KVM and not be able to run anything with it."""
    pool = daemon.folder / "pool"
    return MachinePlan(
        "", "qemu", "x86_64", 512 * MIB, 1, "desks", "desktop.raw",
        kernel=str(pool / "vmlinuz"), first_root=str(pool / "initrd"),
    )  # fmt: skip


@pytest.fixture
def emulated_engine(daemon: LibvirtDaemon, machine_plan: MachinePlan) -> MakeEngine:
    """Makes engines on the daemon; the base that ghosts are copies of is booted by the first test that needs it."""
    folder = daemon.folder
    return partial(
        LibvirtEngine,
        folder / "state",
        folder / "g",
        uri=daemon.uri,
        plan=machine_plan,
        build_timeout_s=120,
        boot_timeout_s=600,
    )
