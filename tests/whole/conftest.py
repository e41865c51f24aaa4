"""A failed test with a real ghostdesk says what that ghostdesk said, and what the browser's page showed."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest
from running import Running


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Adds the desk's log and status, and the page's text, to the report of a test that failed."""
    report = yield
    used: dict[str, Any] = getattr(item, "funcargs", {})
    if report.failed and isinstance(used.get("desk"), Running):
        report.sections.append(("what ghostdesk said", used["desk"].told()))
    if report.failed and report.when == "call" and "page" in used:
        page = used["page"]
        hidden, marks = page.evaluate("() => [document.hidden, window.ghostdeskMarks]")
        report.sections.append(("the page", f"{page.url}\nhidden: {hidden}\n{marks}\n{page.inner_text('body')[:3000]}"))
    return report
