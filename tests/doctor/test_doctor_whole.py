"""`ghostdesk doctor` for real: a desktop on the local engine, beside a ghostdesk that runs, killed, and with faults."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from running import Running, missing_programs, running, wait_for

from ghostdesk.engines.local.mounts import mounted_under

pytestmark = [
    pytest.mark.desktop,
    pytest.mark.skipif(bool(missing_programs()), reason=f"not installed: {', '.join(missing_programs())}"),
]
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="a mount namespace of its own needs root")


@pytest.fixture
def desk() -> Iterator[Running]:
    with running() as made:
        yield made


def doctor(desk: Running, *options: str, before: tuple[str, ...] = ()) -> tuple[int, dict[str, Any]]:
    """Exit status, and what it says, steps by name."""
    words = [*before, sys.executable, "-m", "ghostdesk", "doctor", "--json", *options, "--config", str(desk.config)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False)
    assert done.stdout, done.stderr
    told = json.loads(done.stdout)
    return done.returncode, told | {"steps": {step["step"]: step for step in told["steps"]}}


def places(desk: Running) -> tuple[Path, Path]:
    return desk.state / "doctor", desk.run / ".doctor"


def in_namespace(script: str) -> tuple[str, ...]:
    """A command that runs the rest where `script` has changed what is mounted."""
    return ("unshare", "--mount", "--propagation", "private", "sh", "-c", f'{script} && exec "$@"', "sh")


def test_it_checks_a_host_end_to_end_beside_a_ghostdesk_that_runs(desk: Running) -> None:
    desk.start()
    wait_for(desk.ghosts, what="a ghost")
    before = desk.record(next(iter(desk.ghosts())))
    code, told = doctor(desk)
    assert (code, told["verdict"]) == (0, "well"), told
    took = {name: step["duration_s"] for name, step in told["steps"].items() if step["state"] == "well"}
    assert {"build", "picture", "agent", "key", "home", "freeze", "wake", "destroy", "leave"} <= set(took)
    assert all(took[name] > 0 for name in ("build", "destroy"))
    assert desk.record(before["ghost"]) == before, "the service's own desktop is as it was"
    os.kill(before["pid"], 0)
    assert not any(place.exists() for place in places(desk))
    assert not (desk.state / "homes" / "doctor").exists()


def test_a_killed_doctor_is_cleaned_up_after_by_clean(desk: Running) -> None:
    record = places(desk)[0] / "ghosts" / "doctor" / "ghost.json"
    words = [sys.executable, "-m", "ghostdesk", "doctor", "--config", str(desk.config)]
    killed = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    first = wait_for(lambda: record.exists() and json.loads(record.read_text())["pid"], 60, "a desktop")
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert psutil.pid_exists(first), "it dies without cleaning up"
    done = desk.command("clean")
    assert done.returncode == 0, done.stderr
    assert "removed 1 desktops" in " ".join(done.stdout.split())
    wait_for(lambda: not psutil.pid_exists(first) or psutil.Process(first).status() == "zombie", what="its end")
    assert not any(place.exists() or mounted_under(place) for place in places(desk))


def test_a_doctor_that_is_told_to_end_leaves_nothing(desk: Running) -> None:
    record = places(desk)[0] / "ghosts" / "doctor" / "ghost.json"
    words = [sys.executable, "-m", "ghostdesk", "doctor", "--config", str(desk.config)]
    told = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(record.exists, 60, "a desktop")
    told.terminate()
    assert told.wait(60) != 0
    assert not any(place.exists() for place in places(desk))


@needs_root
def test_without_a_screen_it_says_what_to_install(desk: Running) -> None:
    screen = os.path.realpath(str(shutil.which("Xvnc")))
    code, told = doctor(desk, before=in_namespace(f"mount --bind /dev/null '{screen}'"))
    start = told["steps"]["start"]
    assert (code, told["verdict"], start["code"]) == (1, "broken", "missing")
    assert "Xvnc" in start["cause"] and "apt-get install tigervnc-standalone-server" in start["mend"]
    assert not any(place.exists() for place in places(desk))


@needs_root
def test_on_a_full_disk_it_says_which(desk: Running) -> None:
    desk.state.mkdir(exist_ok=True)
    fill = (
        f"mount -t tmpfs -o size=64k none '{desk.state}' && (cat /dev/zero > '{desk.state}/fill' 2>/dev/null || true)"
    )
    code, told = doctor(desk, before=in_namespace(fill))
    (failed,) = [step for step in told["steps"].values() if step["state"] == "failed" and step["step"] != "leave"]
    assert code == 1
    assert "full" in failed["cause"] and "Free space" in failed["mend"], failed


@needs_root
def test_a_desktop_that_never_paints_is_told_with_its_log(desk: Running) -> None:
    import ghostdesk.engines.local.engine as local

    wallpaper = Path(local.__file__).parent / "desktop" / "wallpaper.py"
    nothing = [*(str(shutil.which(name)) for name in ("openbox", "tint2", "xsetroot"))]
    binds = " && ".join(f"mount --bind /bin/true '{os.path.realpath(path)}'" for path in nothing)
    code, told = doctor(
        desk, "--patience-s", "5", before=in_namespace(f"{binds} && mount --bind /dev/null '{wallpaper}'")
    )
    picture = told["steps"]["picture"]
    assert (code, picture["state"]) == (1, "failed"), told
    assert "stayed one colour" in picture["cause"] and "window manager" in picture["mend"]
    assert told["steps"]["destroy"]["state"] == "well"
    assert not any(place.exists() for place in places(desk))
