"""For all tests: a slow or busy machine is no failure."""

import os

from hypothesis import HealthCheck, settings

_patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
# The same examples at each run, so that a change alone can break a test; the long form looks for new ones.
settings.register_profile("quick", _patient, max_examples=40, derandomize=True)
settings.register_profile("long", _patient, max_examples=400)
settings.load_profile("long" if os.environ.get("GHOSTDESK_LONG_TESTS") else "quick")
