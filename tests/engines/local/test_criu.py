"""Finding a CRIU that works, with programs that stand in for all others."""

import os
from pathlib import Path

import pytest

from ghostdesk.engines.local import criu
from ghostdesk.engines.local.clone_plan import ImageBroken
from ghostdesk.engines.local.launch import Patience

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def program(folder: Path, text: str) -> str:
    path = folder / "criu"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def root_in(folder: Path) -> Path:
    root = folder / "root"
    root.mkdir()
    return root


def test_one_that_is_new_enough_and_content_with_the_kernel_is_used(tmp_path: Path) -> None:
    path = program(tmp_path, 'case $1 in --version) echo "Version: 4.2.1";; check) exit 0;; esac')
    found, why, mend = criu.find(path)
    assert (found, why, mend) == (criu.Criu(path, (4, 2, 1)), "", "")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('echo "Version: 3.17.1"', "3.17.1, and 4.1 or later is needed"),
        ("echo rubbish", "does not tell its version"),
        ('case $1 in --version) echo "Version: 4.2";; *) echo "no ptrace" >&2; exit 1;; esac', "no ptrace"),
    ],
)
def test_any_other_is_not_with_the_reason(tmp_path: Path, text: str, says: str) -> None:
    found, why, mend = criu.find(program(tmp_path, text))
    assert found is None
    assert says in why
    assert "setup-criu" in mend


def test_one_that_is_set_and_not_there_is_said(tmp_path: Path) -> None:
    found, why, mend = criu.find(str(tmp_path / "criu"))
    assert found is None
    assert "does not exist" in why
    assert "engine.criu" in mend


def test_one_that_cannot_be_run_is_said(tmp_path: Path) -> None:
    path = tmp_path / "criu"
    path.write_text("not a program")
    found, why, _ = criu.find(str(path))
    assert found is None
    assert "cannot be run" in why


def test_a_dump_and_a_restore_that_fail_give_the_first_reason(tmp_path: Path) -> None:
    complaint = "(00.1) Error (criu/util.c:15): rlimit: Can't setup RLIMIT_NOFILE\\n(00.2) Error (criu/a.c:1): no room"
    # `--images-dir FOLDER --log-file NAME` are among the arguments.
    script = f"""
while [ $# -gt 0 ]; do case $1 in --images-dir) folder=$2;; --log-file) log=$2;; esac; shift; done
printf "{complaint}\\n(00.3) Error (criu/b.c:2): so it failed" > "$folder/$log"; exit 1"""
    tool = criu.Criu(program(tmp_path, script), (4, 2, 0))
    with pytest.raises(ImageBroken, match=r"cannot image the desktop: no room; so it failed"):
        tool.dump(["dump"], tmp_path, 20.0)
    with pytest.raises(ImageBroken, match=r"cannot restore the desktop: no room"):
        tool.restore(["restore"], tmp_path, root_in(tmp_path), [], Patience(20.0))


def test_a_restore_that_hangs_is_ended(tmp_path: Path) -> None:
    tool = criu.Criu(program(tmp_path, "exec sleep 1000"), (4, 2, 0))
    with pytest.raises(ImageBroken, match=r"within 0\.3 s"):
        tool.restore(["restore"], tmp_path, root_in(tmp_path), [], Patience(0.3))


def test_no_log_is_no_reason(tmp_path: Path) -> None:
    assert criu.reason(tmp_path / "none.log") == "it does not say why"
