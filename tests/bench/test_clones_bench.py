"""What `ghostdesk bench clones` says of its trials."""

from ghostdesk.bench.clones import CLONED, ClonesReport, Trial, Way, in_words
from ghostdesk.bench.host import Provenance
from ghostdesk.cli.bench_clones import drawn

ORIGIN = Provenance("a processor", 2, 2**34, "Linux", "2026-11-26", "ghostdesk bench clones", synthetic=True)


def report(*trials: Trial) -> ClonesReport:
    return ClonesReport(ORIGIN, "editor", trials, 5.0, 2**26, (1.0, 2.0))


def test_each_way_has_its_median_and_extremes_and_how_many_there_were() -> None:
    rows = {
        row[0]: row[1:]
        for row in in_words(report(*(Trial(Way.CLONE, 0.1 * n, 0.2 * n, 0.01 * n, n * 2**20) for n in (1, 2, 6))))
    }
    assert rows["cloned, n = 3"] == ("200 (100-600)", "400 (200-1200)", "20 (10-60)", "2 (1-6)", "0 (0-0)")
    assert rows["booted, n = 0"] == ("-",) * 5
    assert len(rows) == len(Way)


def test_the_table_holds_every_way_and_the_image() -> None:
    assert drawn(report(Trial(Way.BOOT, 1.0, 1.0, 1.0, 1))).row_count == len(Way) + 2


def test_an_engine_with_clones_is_needed_for_half_of_the_ways() -> None:
    assert {Way.CLONE, Way.IMAGE} == CLONED
