"""A failed test with a real ghostdesk says what that ghostdesk said."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest
from running import Running


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Adds the desk's log and status to the report of a test that failed."""
    report = yield
    desk: Any = getattr(item, "funcargs", {}).get("desk")
    if report.failed and isinstance(desk, Running):
        report.sections.append(("what ghostdesk said", desk.told()))
    return report
