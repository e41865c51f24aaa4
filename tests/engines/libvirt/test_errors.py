"""libvirt's errors become ours: answers recorded from real drivers, and calls to them."""

import json
from pathlib import Path
from typing import Any

import pytest

from ghostdesk.engines.libvirt import errors
from ghostdesk.engines.libvirt.connection import (
    Connection,
    binding,
    check_uri,
    is_remote,
    open_connection,
    shown,
    typed,
)
from ghostdesk.engines.libvirt.errors import NameTaken, NotSupported, Unreachable, error_of
from ghostdesk.kernel.errors import (
    BuildFailed,
    ConfigError,
    EngineError,
    GhostdeskError,
    InsufficientCapacity,
    MissingRequirement,
    NotFound,
)

KINDS: dict[str, type[GhostdeskError]] = {
    one.__name__: one
    for one in (
        BuildFailed, EngineError, InsufficientCapacity, MissingRequirement, NameTaken, NotFound, NotSupported,
        Unreachable,
    )
}  # fmt: skip
_RECORDED = json.loads((Path(__file__).parent / "driver_errors.json").read_text())["errors"]


@pytest.mark.parametrize("answer", _RECORDED, ids=[f"{one['from']}-{one['what']}" for one in _RECORDED])
def test_a_recorded_answer_is_told_with_cause_and_mend(answer: dict[str, Any]) -> None:
    error = error_of(answer["code"], answer["said"], answer["uri"])
    assert type(error) is KINDS[answer["means"]]
    assert answer["said"] in error.cause and error.mend
    assert answer["mend"] in error.mend


def test_the_numbers_are_libvirt_s() -> None:
    try:
        libvirt = binding()
    except MissingRequirement as problem:
        pytest.skip(str(problem))
    theirs = {"INTERNAL": "INTERNAL_ERROR", "SYSTEM": "SYSTEM_ERROR", "GNUTLS": "GNUTLS_ERROR"}
    ours = {name: value for name, value in vars(errors).items() if name.isupper() and isinstance(value, int)}
    assert len(ours) > 20
    for name, value in ours.items():
        assert getattr(libvirt, f"VIR_ERR_{theirs.get(name, name)}") == value, name


@pytest.mark.parametrize("uri", ["", "nonsense", "http://host/", "qemu:", "xen:///system", "test:", "//", "ssh://h/"])
def test_no_address_of_libvirt_is_refused_at_once(uri: str) -> None:
    with pytest.raises(ConfigError, match="is no address of libvirt") as told:
        check_uri(uri)
    assert "qemu:///system" in told.value.mend


def test_addresses() -> None:
    for uri in ("qemu:///system", "qemu+unix:///system?socket=/x", "test:///default"):
        check_uri(uri)
        assert not is_remote(uri)
    for uri in ("esx://root@host/?no_verify=1", "vpx://host/dc/cluster/host", "hyperv://host/", "qemu+ssh://h/system"):
        check_uri(uri)
        assert is_remote(uri)
    assert shown("esx://root:secret@host/") == "esx://host/"


@pytest.mark.parametrize(
    ("uri", "kind", "mend"),
    [
        ("qemu+unix:///system?socket=/nonexistent", Unreachable, "daemon running"),
        ("esx://127.0.0.1/?no_verify=1", MissingRequirement, "authfile"),
    ],
)
def test_a_real_driver_that_cannot_connect(uri: str, kind: type[GhostdeskError], mend: str) -> None:
    try:
        binding()
    except MissingRequirement as problem:
        pytest.skip(str(problem))
    with pytest.raises(kind) as told:
        typed(lambda: open_connection(uri), uri)
    assert mend in told.value.mend


def test_wrong_credentials_of_vmware_reach_nobody(tmp_path: Path) -> None:
    """The real driver for ESXi, with a file of passwords, at an address where nobody listens."""
    try:
        binding()
    except MissingRequirement as problem:
        pytest.skip(str(problem))
    passwords = tmp_path / "auth.conf"
    passwords.write_text("[credentials-a]\nusername=u\npassword=p\n[auth-esx-127.0.0.1]\ncredentials=a\n")
    uri = f"esx://127.0.0.1:1/?no_verify=1&authfile={passwords}"
    with pytest.raises(Unreachable, match="cannot be reached"):
        typed(lambda: open_connection(uri), uri)


async def test_a_host_that_never_answers_is_told_and_asked_anew(pretended_host: Any) -> None:
    import threading

    connection = Connection("test:///default")
    stuck = threading.Event()
    with pytest.raises(Unreachable, match="has not answered"):
        await connection.call(lambda _: stuck.wait(30), timeout_s=0.05)
    stuck.set()
    assert await connection.call(lambda c: c.getType()) == "TEST"
    await connection.close()
