"""What of an error reaches a browser."""

import pytest

from ghostdesk.engines.incus.errors import NotTrusted, Unreachable
from ghostdesk.engines.kubernetes.errors import FeatureMissing
from ghostdesk.kernel.errors import EngineError, GhostdeskError
from ghostdesk.server.errors import OPERATORS_ONLY, SignInRequired, TooMany, body_of, status_of


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (EngineError("lxd at 10.0.0.7 failed."), 502, "engine"),
        (Unreachable("lxd at 10.0.0.7 does not answer."), 502, "engine"),
        (NotTrusted("The certificate of 10.0.0.7 is not ours.", "Pin it."), 503, "missing"),
    ],
)
def test_an_engines_own_errors_are_treated_as_their_kind_and_name_no_host_to_people(
    error: GhostdeskError, status: int, kind: str
) -> None:
    assert status_of(error) == status
    told = body_of(error, "r1", operator=False)["error"]
    assert (told["code"], told["cause"]) == (error.code, OPERATORS_ONLY[kind])
    assert "10.0.0.7" in body_of(error, "r1", operator=True)["error"]["cause"]


def test_errors_that_people_can_mend_keep_their_words() -> None:
    for error, status in ((SignInRequired("Sign in."), 401), (TooMany("Too often.", "Wait.", 3.0), 429)):
        assert status_of(error) == status
        assert body_of(error, "r1", operator=False)["error"]["cause"] == error.cause
    assert status_of(FeatureMissing("Too old.")) == 502
