"""Importers are found by entry point, and files by their first characters."""

import json
from pathlib import Path

import pytest

from ghostdesk.kernel.errors import ImportFileError
from ghostdesk.telemetry.importers.opening import HistoryFile
from ghostdesk.telemetry.importers.registry import load_importers, sniff_importer

HEADS = {
    "user,time,event,app\n": "csv",
    "user,time,app\n": "csv",
    "user,utc,tz_min\n": "csv",
    "desktop,state,time\n": "states",
    json.dumps({"buckets": {}}): "activitywatch",
}


def test_the_three_of_ours_are_installed() -> None:
    found = load_importers()
    assert [found[name].name for name in ("activitywatch", "csv", "states")] == ["activitywatch", "csv", "states"]


@pytest.mark.parametrize("head", HEADS)
def test_each_format_is_known_by_its_start_and_by_one_importer_only(head: str, tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text(head)
    with HistoryFile(path) as file:
        assert sniff_importer(file, tuple(load_importers().values())).name == HEADS[head]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"user,draw,split,position,app,day\n", "no known format"),
        (bytes(range(256)) * 40, "is not text"),
        (b"\x1f\x8b\x08\x00cut", "cut short|damaged"),
        (b"\n\n\n", "no known format"),
        (b'{"a": 1}', "no known format"),
    ],
)
def test_other_files_are_refused_with_the_known_formats(data: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(data)
    with HistoryFile(path) as file, pytest.raises(ImportFileError, match=words) as caught:
        sniff_importer(file, tuple(load_importers().values()))
    assert caught.value.mend


def test_a_file_that_fits_several_asks_for_a_choice(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("user,time,app\n")
    csv = load_importers()["csv"]
    with HistoryFile(path) as file, pytest.raises(ImportFileError, match="several"):
        sniff_importer(file, (csv, csv))
