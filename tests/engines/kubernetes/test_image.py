"""What the desktops' image is built from."""

from pathlib import Path

from typer.testing import CliRunner

from ghostdesk.cli import made
from ghostdesk.engines.kubernetes.image import DESKTOP, containerfile, write_context

ROOT = Path(__file__).parents[3]


def test_the_desktop_has_what_the_local_one_has() -> None:
    told = (ROOT / "scripts" / "packages-run.txt").read_text()
    known = {line.split("#")[0].strip() for line in told.splitlines()}
    assert set(DESKTOP) <= known, "one list grew and the other did not"
    ours = {"bubblewrap", "slirp4netns", "iproute2"}  # of the machine that runs ghostdesk
    before_applications = told.split("# applications")[0]
    needed = {line.strip() for line in before_applications.splitlines() if line.strip() and "#" not in line}
    assert needed - ours == set(DESKTOP)


def test_the_context_holds_the_agent_and_the_session(tmp_path: Path) -> None:
    write_context(tmp_path / "image", ("mousepad",))
    inside = tmp_path / "image" / "opt" / "ghostdesk"
    for name in ("ghostdesk/agent/pod.py", "ghostdesk/agent/__main__.py", "desktop/session.sh", "desktop/inside.sh"):
        assert (inside / name).is_file(), name
    told = (tmp_path / "image" / "Containerfile").read_text()
    assert "mousepad" in told and "USER 1000:1000" in told
    assert 'CMD ["/usr/bin/python3", "-m", "ghostdesk.agent.pod"]' in told


def test_the_command_writes_it_and_overwrites_nothing(tmp_path: Path) -> None:
    words = ["kubernetes", "image", str(tmp_path / "image"), "--app", "mousepad"]
    assert CliRunner().invoke(made("kubernetes"), words).exit_code == 0
    before = containerfile(("mousepad",))
    assert (tmp_path / "image" / "Containerfile").read_text() == before
    assert CliRunner().invoke(made("kubernetes"), words).exit_code != 0
    bad = ["kubernetes", "image", str(tmp_path / "other"), "--app", "x; rm"]
    assert CliRunner().invoke(made("kubernetes"), bad).exit_code != 0
    assert not (tmp_path / "other").exists()
