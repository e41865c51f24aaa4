"""Opening history files: every compression, and every way a file can be broken."""

import bz2
import gzip
import lzma
import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from ghostdesk.kernel.errors import ImportFileError
from ghostdesk.telemetry.importers.opening import HistoryFile
from ghostdesk.telemetry.importers.protocol import MAX_LINE_CHARS

PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gz": gzip.compress,
    "xz": lzma.compress,
    "bz2": bz2.compress,
    "zst": zstandard.ZstdCompressor().compress,
}
COMPRESSED = sorted(set(PACKERS) - {"plain"})
_random = random.Random(7)
TEXT = "".join(f"line {number} {_random.random()}\n" for number in range(20_000))


def read(path: Path) -> tuple[list[str], str | None]:
    with HistoryFile(path) as file:
        return list(file.lines()), file.broken


@pytest.mark.parametrize("packing", PACKERS)
def test_every_compression_is_told_by_its_bytes(packing: str, tmp_path: Path) -> None:
    path = tmp_path / "misleading.txt"
    path.write_bytes(PACKERS[packing](TEXT.encode()))
    with HistoryFile(path) as file:
        assert file.head() == TEXT[: len(file.head())]
        digest = file.digest()
        assert "\n".join(file.lines()) + "\n" == TEXT
        assert file.broken is None
        assert file.bytes_done == file.bytes_total == path.stat().st_size
        assert "".join(file.chunks()) == TEXT  # each reading starts over
        assert file.digest() == digest


@pytest.mark.parametrize("packing", COMPRESSED)
def test_a_file_made_of_several_streams_is_read_whole(packing: str, tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"".join(PACKERS[packing](f"{n}\n".encode()) for n in range(5)))
    assert read(path) == (["0", "1", "2", "3", "4"], None)


@pytest.mark.parametrize("packing", COMPRESSED)
@pytest.mark.parametrize("share", [0.3, 0.7, 0.999])
def test_a_file_cut_short_gives_whole_lines_and_says_so(packing: str, share: float, tmp_path: Path) -> None:
    packed = PACKERS[packing](TEXT.encode())
    path = tmp_path / "log"
    path.write_bytes(packed[: int(len(packed) * share)])
    lines, broken = read(path)
    assert broken is not None
    assert "cut short" in broken
    assert lines == TEXT.split("\n")[: len(lines)]
    if share > 0.5 and packing != "bz2":
        assert len(lines) > 5_000


@pytest.mark.parametrize("packing", COMPRESSED)
def test_a_flipped_byte_is_said(packing: str, tmp_path: Path) -> None:
    packed = bytearray(PACKERS[packing](TEXT.encode()))
    packed[len(packed) * 2 // 3] ^= 0xFF
    path = tmp_path / "log"
    path.write_bytes(bytes(packed))
    _, broken = read(path)
    if packing != "zst":  # its frames carry no checksum unless asked to
        assert broken is not None


@given(data=st.binary(max_size=400), packing=st.sampled_from(["none", *COMPRESSED]))
@settings(max_examples=150)
def test_no_bytes_raise(data: bytes, packing: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    magic = {"none": b"", "gz": b"\x1f\x8b", "xz": b"\xfd7zXZ\x00", "bz2": b"BZh", "zst": b"\x28\xb5\x2f\xfd"}[packing]
    path = tmp_path_factory.getbasetemp() / "rubbish"
    path.write_bytes(magic + data or b"x")
    lines, _ = read(path)
    assert all("\n" not in line for line in lines)


@given(line=st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\r\n\ufeff"), max_size=50))
def test_text_comes_back_with_any_line_end_and_mark(line: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "text"
    for end in ("\n", "\r\n", "\r"):
        for encoding in ("utf-8", "utf-8-sig", "utf-16"):
            path.write_bytes(f"first{end}{line}{end}last".encode(encoding))
            assert read(path) == (["first", line, "last"], None)


def test_a_line_without_end_takes_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "log.gz"
    with gzip.open(path, "wb", compresslevel=1) as out:
        out.write(b"first\n")
        for _ in range(40):
            out.write(b"x" * (1 << 20))
        out.write(b"\nlast\n")
    with HistoryFile(path) as file:
        lengths = [len(line) for line in file.lines()]
    assert lengths == [5, MAX_LINE_CHARS + 1, 4]


def test_bytes_that_are_no_utf8_are_marked(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"caf\xe9\n")
    assert read(path) == (["caf\ufffd"], None)


def test_what_cannot_be_opened_is_told(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.touch()
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path, words in ((empty, "is empty"), (tmp_path, "folder"), (tmp_path / "no", "No such"), (pipe, "plain file")):
        with pytest.raises(ImportFileError, match=words) as caught:
            HistoryFile(path)
        assert caught.value.mend
    with pytest.raises(ImportFileError):
        HistoryFile(Path("a\0b"))


def test_progress_grows_while_reading(tmp_path: Path) -> None:
    path = tmp_path / "log.xz"
    path.write_bytes(lzma.compress(TEXT.encode()))
    seen = []
    with HistoryFile(path) as file:
        for number, _ in enumerate(file.lines()):
            if number % 1000 == 0:
                seen.append(file.bytes_done)
    assert seen == sorted(seen)
    assert 0 < seen[0] < seen[-1] <= path.stat().st_size
