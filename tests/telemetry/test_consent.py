"""Every source is explained, has its kinds, and is off where anybody who may say so says so."""

from hypothesis import given
from hypothesis import strategies as st

from ghostdesk.telemetry.consent import OPT_IN, SOURCE_TEXTS, allowed_sources, kinds_of
from ghostdesk.telemetry.events import SOURCE_OF, TelemetrySource

SOURCES = st.sampled_from(list(TelemetrySource))


def test_every_source_is_explained_and_every_kind_has_one_source() -> None:
    assert set(SOURCE_TEXTS) == set(TelemetrySource)
    assert all(text.label and text.what for text in SOURCE_TEXTS.values())
    found = [kind for source in TelemetrySource for kind in kinds_of(source)]
    assert sorted(found) == sorted(SOURCE_OF)


@given(st.dictionaries(SOURCES, st.booleans()), st.sets(SOURCES))
def test_both_must_agree_and_some_must_be_asked_first(
    choices: dict[TelemetrySource, bool], operator: set[TelemetrySource]
) -> None:
    allowed = allowed_sources(choices, operator)
    for source in TelemetrySource:
        agreed = choices.get(source, source not in OPT_IN)
        assert (source in allowed) == (agreed and source in operator)
