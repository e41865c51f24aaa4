"""What is asked of the server and read from it, without one."""

import io
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghostdesk.engines.incus.errors import ImageUnsuitable
from ghostdesk.engines.incus.image import fingerprint, thin_image
from ghostdesk.engines.incus.importing import ServerImage
from ghostdesk.engines.incus.render import (
    InstancePlan,
    host_uid,
    instance_request,
    limit_keys,
    network_device,
    observed,
    root_device,
)
from ghostdesk.engines.incus.server import check_kind, runs_machines
from ghostdesk.engines.incus.states import Usage
from ghostdesk.ghosts.ghost import DesktopTemplate
from ghostdesk.kernel.ids import GhostId, TemplateId
from ghostdesk.kernel.resources import MIB, Priority, Resources

G = GhostId("g1a2b3c4d")
PLAN = InstancePlan("0a1b2c", "f" * 64, "desks", "lan", Path("/run/gd"), ("/usr",), False, {"LANG": "C.UTF-8"})
LIMITS = Resources(0.5, 1024 * MIB, 0.0, 12.5e6, 100e6)


def test_an_instance_is_asked_for_with_everything_that_limits_it() -> None:
    body = instance_request(PLAN, G, DesktopTemplate(TemplateId("office"), 1280, 800), LIMITS)
    assert body["name"] == "gd-0a1b2c-g1a2b3c4d"
    assert body["type"] == "container"
    assert body["source"] == {"type": "image", "fingerprint": "f" * 64}
    assert body["config"] == {
        "user.ghostdesk.pool": "0a1b2c",
        "user.ghostdesk.template": "office",
        "limits.processes": "4096",
        "security.nesting": "false",
        "boot.autostart": "false",
        "environment.LANG": "C.UTF-8",
        "environment.GHOSTDESK_GHOST": G,
        "environment.GHOSTDESK_GEOMETRY": "1280x800",
        "limits.cpu.allowance": "50ms/100ms",
        "limits.cpu.priority": "0",
        "limits.memory": str(1024 * MIB),
    }
    assert body["devices"] == {
        "root": {"type": "disk", "path": "/", "pool": "desks", "limits.read": "100000000", "limits.write": "100000000"},
        "run": {"type": "disk", "source": f"/run/gd/{G}", "path": "/run/ghost"},
        "host0": {"type": "disk", "source": "/usr", "path": "/usr", "readonly": "true"},
        "eth0": {
            "type": "nic",
            "network": "lan",
            "name": "eth0",
            "limits.ingress": "100000000bit",
            "limits.egress": "100000000bit",
        },
    }


def test_isolated_templates_and_lifted_limits() -> None:
    body = instance_request(PLAN, G, DesktopTemplate(TemplateId("t"), network="isolated"), Resources())
    assert "eth0" not in body["devices"]
    assert limit_keys(Resources(), Priority.PERSON) == {
        "limits.cpu.allowance": "",
        "limits.cpu.priority": "10",
        "limits.memory": "",
    }
    assert root_device("desks", Resources()) == {"type": "disk", "path": "/", "pool": "desks"}
    assert network_device("lan", Resources()) == {"type": "nic", "network": "lan", "name": "eth0"}


def test_a_virtual_machine_is_asked_for_with_limits_that_it_can_have() -> None:
    plan = InstancePlan("0a1b2c", "f" * 64, "desks", "lan", None, (), True, {"LANG": "C.UTF-8"})
    body = instance_request(
        plan, G, DesktopTemplate(TemplateId("office"), 1280, 800), Resources(1.5, 2048 * MIB, 0, 1e6)
    )
    assert body["type"] == "virtual-machine"
    assert body["config"]["limits.cpu"] == "2" and body["config"]["limits.memory"] == str(2048 * MIB)
    assert body["config"]["security.secureboot"] == "false"
    assert not {"limits.cpu.allowance", "limits.cpu.priority", "limits.processes"} & body["config"].keys()
    assert body["devices"].keys() == {"root", "eth0"}  # no socket of the host can be seen in there
    lifted = limit_keys(Resources(), Priority.PERSON, machine=True)
    assert lifted == {"limits.cpu": "", "limits.memory": ""}


def test_virtual_machines_need_a_server_that_runs_them_and_the_api() -> None:
    image = ServerImage("f", machine=True)
    with pytest.raises(ImageUnsuitable, match="cannot run") as told:
        check_kind(image, "x", runs_machines({"driver": "lxc"}), over_api=True)
    assert "/dev/kvm" in told.value.mend
    with pytest.raises(ImageUnsuitable, match="no sockets"):
        check_kind(image, "x", runs_machines({"driver": "lxc | qemu"}), over_api=False)
    check_kind(image, "x", runs_machines({"driver": "lxc | qemu"}), over_api=True)
    check_kind(ServerImage("f"), "x", False, over_api=False)


def test_the_host_s_uid_of_a_desktop_s_user() -> None:
    idmap = '[{"Isuid":true,"Isgid":false,"Hostid":100000,"Nsid":0,"Maprange":65536}]'
    assert host_uid({"name": "x", "config": {"volatile.idmap.current": idmap}}) == 101_000
    for nothing in ("[]", "", '[{"Isuid":false,"Hostid":1,"Nsid":0,"Maprange":9}]'):
        with pytest.raises(ValueError, match="maps no uid"):
            host_uid({"name": "x", "config": {"volatile.idmap.current": nothing}})


@given(
    st.text(max_size=40),
    st.sampled_from(["Running", "Frozen", "Freezing", "Stopped", "Error", ""]),
    st.none() | st.text(max_size=8),
)
def test_whatever_is_listed_is_read_or_passed_over(name: str, status: str, owner: str | None) -> None:
    config = {} if owner is None else {"user.ghostdesk.owner": owner}
    seen = observed({"name": name, "status": status, "config": config}, "0a1b2c", Usage(7, 1.5))
    if seen is not None:
        assert seen.alive == (status in ("Running", "Frozen", "Freezing")) and seen.frozen == (status == "Frozen")
        assert (seen.memory_bytes, seen.cpu_s) == (7, 1.5)


def test_the_thin_image_is_the_same_every_time_and_holds_what_starts_a_desktop() -> None:
    first = thin_image()
    assert fingerprint(first) == fingerprint(thin_image())
    with tarfile.open(fileobj=io.BytesIO(first)) as image:
        names = image.getnames()
        assert names[0] == "metadata.yaml"
        assert len(names) == len(set(names))
        for wanted in ("sbin/init", "opt/ghostdesk/ghostdesk/agent/__main__.py", "opt/ghostdesk/desktop/session.sh"):
            assert f"rootfs/{wanted}" in names
        assert image.getmember("rootfs/sbin/init").mode == 0o755
        assert image.getmember("rootfs/home/user").uid == 1000
        assert "rootfs/etc/shadow" not in names and "rootfs/etc/machine-id" not in names
