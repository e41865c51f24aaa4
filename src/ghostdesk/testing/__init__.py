"""The conformance suite that every engine passes, ours and yours. See docs/how-to/test-your-engine.md.

Subclass `EngineConformance` in a pytest module (with ``pytest-asyncio`` and ``asyncio_mode = "auto"``) and give it one
fixture, `make_engine`:

    from functools import partial

    import pytest
    from ghostdesk.testing import EngineConformance
    from my_engine import MyEngine

    class TestMyEngine(EngineConformance):
        @pytest.fixture
        def make_engine(self, tmp_path):
            return partial(MyEngine, tmp_path / "state", tmp_path / "run")

Rules for the fixture: every engine that one `make_engine` makes looks at the same host (the same folders, the same
server), and each test gets a host with no ghosts on it. It has to be picklable, as a `functools.partial` of a class or
of a module's function is: the crash tests hand it to a process of their own, which they kill. Nothing else is needed.
`Conformance` lists the class attributes that say what differs, and the methods that tell what the protocol does not:
where one of those is left as it is, its test skips and says so, as it does where the engine's `abilities()` say that
something cannot be had here.

Each test starts an engine, and ends with ``stop(keep_ghosts=False)``, pass or fail. No test looks at how long anything
takes.
"""

from ghostdesk.testing.base import Conformance
from ghostdesk.testing.behind import BehindChecks
from ghostdesk.testing.checks import ConformanceFailure, MakeEngine, numbers_of
from ghostdesk.testing.crash import CrashChecks
from ghostdesk.testing.errors import ErrorChecks
from ghostdesk.testing.life import LifeChecks
from ghostdesk.testing.warm import WarmChecks

__all__ = [
    "BehindChecks",
    "Conformance",
    "ConformanceFailure",
    "CrashChecks",
    "EngineConformance",
    "ErrorChecks",
    "LifeChecks",
    "MakeEngine",
    "WarmChecks",
    "numbers_of",
]


class EngineConformance(LifeChecks, ErrorChecks, BehindChecks, WarmChecks, CrashChecks):
    """All that any engine promises. Subclass it and give it a `make_engine` fixture (see the module's text)."""
