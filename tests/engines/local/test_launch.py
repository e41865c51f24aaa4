"""Programs get the descriptors that they were promised, whatever numbers those have here."""

import os
from pathlib import Path

from ghostdesk.engines.local.launch import spawn


def _free_pair() -> tuple[int, int]:
    return next((n, n + 1) for n in range(30, 60) if not any(Path(f"/proc/self/fd/{n + m}").exists() for m in (0, 1)))


def test_descriptors_whose_numbers_are_promised_to_others_arrive_all_the_same(tmp_path: Path) -> None:
    """One of ours has the number that another is given: nothing may be overwritten before it was passed on."""
    low, high = _free_pair()
    crossed = {high: low, low: high}
    for ours, text in zip(crossed, (b"first ", b"second"), strict=True):
        read_end, write_end = os.pipe()
        os.write(write_end, text)
        os.close(write_end)
        os.dup2(read_end, ours, inheritable=False)
        os.close(read_end)
    log = tmp_path / "log"
    try:
        command = ["cat", f"/proc/self/fd/{low}", f"/proc/self/fd/{high}"]
        pid = spawn(command, env={"PATH": os.defpath}, log=log, inherit=crossed)
    finally:
        os.close(low)
        os.close(high)
    os.waitpid(pid, 0)
    assert log.read_text() == "first second"
