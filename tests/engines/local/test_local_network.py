"""A ghost's way to the internet leaves the host's mounts alone."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from ghostdesk.engines.local import network

pytestmark = [
    pytest.mark.desktop,
    pytest.mark.skipif(os.geteuid() != 0, reason="making a mount namespace needs root"),
    pytest.mark.skipif(bool(network.unusable()), reason=f"no outbound network here: {network.unusable()}"),
]
SCRIPT = """
import asyncio, sys
from pathlib import Path
from ghostdesk.engines.local import network
from ghostdesk.engines.local.engine import LocalEngine
from ghostdesk.ghosts.commands import Build
from ghostdesk.ghosts.ghost import DesktopTemplate
from ghostdesk.kernel.ids import GhostId, TemplateId
from ghostdesk.kernel.resources import Resources

def mounts():
    return sorted(line.split()[4] for line in open("/proc/self/mountinfo") if "ghosts" not in line)

async def main(root):
    before = mounts()
    engine = LocalEngine(root / "s", root / "r")
    await engine.start()
    outcome = await engine.apply(Build(GhostId("n1"), DesktopTemplate(TemplateId("t")), Resources()))
    await asyncio.sleep(1)
    after = mounts()
    await engine.stop(keep_ghosts=False)
    print(outcome.error, outcome.facts.get("network"))
    print("lost:", sorted(set(before) - set(after)))

if sys.argv[2] == "root":
    network._runs_as = lambda uid: 0
asyncio.run(main(Path(sys.argv[1])))
"""


@pytest.mark.parametrize("whose", ["root", "the ghost's own"])
def test_the_network_comes_up_and_shared_mounts_of_the_host_stay_where_they_are(whose: str) -> None:
    """As on hosts with systemd, where every mount is shared: what a helper unmounts would be gone for all.

    Where everybody may open the tunnel device, the ghost's own uid runs the helper; else root does.
    """
    if whose != "root" and network.TUN.stat().st_mode & 0o006 != 0o006:
        pytest.skip(f"only root may open {network.TUN} here")
    root = Path(tempfile.mkdtemp(prefix="gdn-", dir="/tmp"))
    root.chmod(0o711)
    try:
        shared = [
            "unshare",
            "--mount",
            "--propagation",
            "private",
            "sh",
            "-c",
            'mount --make-rshared / && exec "$@"',
            "sh",
        ]
        command = [*shared, sys.executable, "-c", SCRIPT, str(root), whose]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines() == ["None outbound", "lost: []"]
    finally:
        shutil.rmtree(root, ignore_errors=True)
