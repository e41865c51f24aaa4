"""The head of a saved machine's file: read, and written for a copy."""

import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghostdesk.engines.libvirt.bases import copy_saved
from ghostdesk.engines.libvirt.render import GhostPlaces
from ghostdesk.engines.libvirt.saved import (
    HEADER_BYTES,
    MAGIC,
    SavedHead,
    UnknownFormat,
    head_bytes_wanted,
    paused,
    read_head,
    write_head,
)
from ghostdesk.kernel.errors import EngineError, InsufficientCapacity

_XML = (Path(__file__).parent / "saved_machine.xml").read_text()
_TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=300)


@given(_TEXT, st.binary(max_size=50).map(lambda raw: raw.replace(b"\0", b"x")), st.integers(0, 400), _TEXT)
def test_a_head_that_is_written_is_read_again(name: str, cookie: bytes, spare: int, other: str) -> None:
    xml = f"<domain>{name}</domain>"
    head = SavedHead(xml, cookie, 1, 0, len(xml.encode()) + len(cookie) + 2 + spare)
    written = write_head(head, xml)
    assert len(written) == head.memory_begins == head_bytes_wanted(written[:HEADER_BYTES])
    assert read_head(written) == head
    changed = read_head(write_head(head, f"<domain>{other}</domain>"))
    assert changed.xml == f"<domain>{other}</domain>" and changed.cookie == cookie
    assert changed.data_bytes >= head.data_bytes
    assert read_head(write_head(paused(head), xml)).running == 0


@given(st.binary(max_size=400))
def test_rubbish_is_refused(rubbish: bytes) -> None:
    for start in (rubbish, MAGIC + rubbish, MAGIC + struct.pack("=5I56x", 2, 20, 1, 0, 3) + rubbish[:20]):
        with pytest.raises(UnknownFormat):
            head_bytes_wanted(start)
            read_head(start)


def test_another_version_is_refused_with_what_happens_instead() -> None:
    with pytest.raises(UnknownFormat, match="version 3") as told:
        read_head(MAGIC + struct.pack("=5I56x", 3, 20, 1, 0, 0))
    assert "booted instead" in told.value.mend
    with pytest.raises(UnknownFormat, match="not to its end"):
        read_head(b"LibvirtQemudPart" + bytes(100))


def test_a_copy_has_the_memory_of_the_first_and_a_head_of_its_own(tmp_path: Path) -> None:
    memory = bytes(range(256)) * 5000
    head = SavedHead(_XML, b"<cookie/>", 1, 0, len(_XML.encode()) + 100)
    (tmp_path / "base").write_bytes(write_head(head, _XML) + memory)
    places = GhostPlaces(Path("/run/gd/g7"), Path("/state/machines/g7/slot"))
    xml = copy_saved(tmp_path / "base", tmp_path / "copy", "0a1b2c", "g7", "/pool/g7.qcow2", places)
    written = (tmp_path / "copy").read_bytes()
    copied = read_head(written)
    assert copied.xml == xml and "gd-0a1b2c-g7" in xml and copied.cookie == b"<cookie/>"
    assert written[copied.memory_begins :] == memory
    assert (tmp_path / "copy").stat().st_mode & 0o777 == 0o600


def test_a_copy_of_something_else_or_onto_a_full_disk_is_told(tmp_path: Path) -> None:
    places = GhostPlaces(Path("/run/gd/g7"), None)
    strange = "<domain><name>windows</name></domain>"
    (tmp_path / "base").write_bytes(write_head(SavedHead(strange, b"", 1, 0, 100), strange))
    with pytest.raises(EngineError, match="not one of a ghost"):
        copy_saved(tmp_path / "base", tmp_path / "copy", "p", "g7", "/d", places)
    (tmp_path / "base").write_bytes(write_head(SavedHead(_XML, b"", 1, 0, 100), _XML) + bytes(1 << 20))
    with pytest.raises(InsufficientCapacity, match="full"):
        copy_saved(tmp_path / "base", Path("/dev/full"), "p", "g7", "/d", places)
