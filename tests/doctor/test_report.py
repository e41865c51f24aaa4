"""What findings mean, and what a script reads of it."""

import pytest

from ghostdesk.doctor.report import Finding, Report, State, Verdict
from ghostdesk.engines.protocol import DESKTOPS, Ability

WELL, LEFT_OUT = Finding("build", State.WELL), Finding("park", State.SKIPPED, detail="no swap")
HURT = Finding("build", State.FAILED, code="build", cause="It broke.", mend="Mend it.")
LAME = Finding("limits", State.FAILED, code="engine", cause="It broke.", needed=False)
NO_DESKTOPS = Ability(DESKTOPS, False, "no Xvnc", "apt-get install it")


@pytest.mark.parametrize(
    ("abilities", "findings", "verdict", "code"),
    [
        ((), (WELL, LEFT_OUT), Verdict.WELL, 0),
        ((), (WELL, LAME), Verdict.PARTLY, 3),
        ((), (WELL, LAME, HURT), Verdict.BROKEN, 1),
        ((NO_DESKTOPS,), (WELL,), Verdict.BROKEN, 1),
        ((Ability("gpu", False, "none", "none needed"),), (WELL,), Verdict.WELL, 0),
    ],
)
def test_the_verdict_and_the_exit_status(
    abilities: tuple[Ability, ...], findings: tuple[Finding, ...], verdict: Verdict, code: int
) -> None:
    report = Report("local", abilities, findings)
    assert (report.verdict, report.exit_code) == (verdict, code)
