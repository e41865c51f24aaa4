"""Expected resources and their quantiles."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghostdesk.kernel.ids import AppId, UserId
from ghostdesk.kernel.resources import NOTHING
from ghostdesk.profiles.resources import KINDS, ResourceUse
from ghostdesk.telemetry.events import EventKind, UsageEvent

ANN, BOB, NEW = UserId("ann"), UserId("bob"), UserId("new")


def sample(kind: EventKind, value: float, user: UserId = ANN, app: AppId | None = None) -> UsageEvent:
    return UsageEvent(1.7e9, kind, user=user, value=value, app=app)


def test_nothing_is_expected_where_nobody_was_measured() -> None:
    use = ResourceUse()
    assert use.expected(ANN) == NOTHING
    assert use.quantile(ANN, 0.9) == NOTHING


def test_means_and_quantiles_follow_the_samples() -> None:
    use = ResourceUse()
    generator = np.random.default_rng(3)
    drawn = generator.lognormal(0.0, 0.5, 3000)
    for value in drawn:
        use.observe(sample(EventKind.CPU, float(value)))
        use.observe(sample(EventKind.MEMORY, float(value) * 1e9))
    latest = drawn[-600:]
    assert use.expected(ANN).cpu_cores == pytest.approx(latest.mean(), rel=0.1)
    assert use.expected(ANN).memory_bytes == pytest.approx(latest.mean() * 1e9, rel=0.1)
    for share in (0.1, 0.5, 0.9):
        assert use.quantile(ANN, share).cpu_cores == pytest.approx(np.quantile(latest, share), rel=0.25)
    assert use.expected(ANN).network_bytes_per_s == 0.0


def test_a_user_grows_away_from_everyone() -> None:
    use = ResourceUse()
    for _ in range(200):
        use.observe(sample(EventKind.CPU, 1.0, BOB))
    assert use.expected(NEW).cpu_cores == pytest.approx(1.0)
    use.observe(sample(EventKind.CPU, 4.0, ANN))
    little = use.expected(ANN).cpu_cores
    for _ in range(100):
        use.observe(sample(EventKind.CPU, 4.0, ANN))
    assert 1.0 < little < 1.6
    assert use.expected(ANN).cpu_cores > 3.5


def test_parts_negatives_and_unclaimed_desktops_are_left_out() -> None:
    use = ResourceUse()
    use.observe(sample(EventKind.CPU, 2.0, app=AppId("gimp")))
    use.observe(sample(EventKind.CPU, -2.0))
    use.observe(UsageEvent(1.7e9, EventKind.CPU, value=3.0))
    use.observe(UsageEvent(1.7e9, EventKind.SIGN_OUT, user=ANN))
    use.observe(sample(EventKind.CPU, 5.0))
    assert use.samples == 0
    use.observe(UsageEvent(1.7e9, EventKind.SIGN_IN, user=ANN))
    use.observe(sample(EventKind.CPU, 5.0))
    assert use.count(ANN) == 1


@given(st.lists(st.tuples(st.sampled_from(KINDS), st.floats(0.0, 1e15)), max_size=30), st.floats(0, 1), st.floats(0, 1))
def test_quantiles_grow_with_the_share(samples: list[tuple[EventKind, float]], one: float, other: float) -> None:
    use = ResourceUse()
    for kind, value in samples:
        use.observe(sample(kind, value))
    low, high = sorted((one, other))
    for user in (ANN, NEW):
        assert use.quantile(user, low).fits_in(use.quantile(user, high))
        assert all(amount >= 0.0 for amount in use.expected(user).as_tuple())
