"""Images and what clones are restored with: names, maps, arguments, and descriptions that cannot be read."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghostdesk.engines.local.clone_plan import (
    FRESH,
    INSIDE_ROOT_OFFSET,
    ImageBroken,
    ImageInfo,
    dump_arguments,
    id_map,
    image_key,
    mount_names,
    restore_arguments,
    root_entries,
    with_host_name,
    with_ids,
)
from ghostdesk.engines.local.sandbox import INSIDE_UID
from ghostdesk.ghosts.ghost import DesktopTemplate
from ghostdesk.kernel.ids import TemplateId

MAGIC = bytes.fromhex("1943565406494755")
PLAIN = DesktopTemplate(TemplateId("plain"))


def fields_of(message: bytes) -> list[tuple[int, int | bytes]]:
    """A protocol buffer's fields, read without its schema."""
    found: list[tuple[int, int | bytes]] = []
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                return value

    while at < len(message):
        key = varint()
        if key & 7 == 0:
            found.append((key >> 3, varint()))
        else:
            length = varint()
            found.append((key >> 3, message[at : at + length]))
            at += length
    return found


@given(st.integers(1, 2**31))
def test_a_clone_gets_the_maps_of_its_own_uid_and_keeps_the_magic(uid: int) -> None:
    image = with_ids(MAGIC + b"\x02\0\0\0\x0a\0", uid)
    assert image[:8] == MAGIC
    assert int.from_bytes(image[8:12], "little") == len(image) - 12
    maps = [(place, dict(fields_of(extent))) for place, extent in fields_of(image[12:]) if isinstance(extent, bytes)]
    wanted = [{1: 0, 2: uid + INSIDE_ROOT_OFFSET, 3: 1}, {1: INSIDE_UID, 2: uid, 3: 1}]
    assert maps == [(place, extent) for place in (1, 2) for extent in wanted]
    assert id_map(uid) == f"0 {uid + INSIDE_ROOT_OFFSET} 1\n{INSIDE_UID} {uid} 1\n"


@given(st.from_regex(r"[a-z0-9]{1,32}", fullmatch=True))
def test_a_clone_gets_its_own_host_name(name: str) -> None:
    image = with_host_name(MAGIC + b"\0\0\0\0", name)
    assert fields_of(image[12:])[0] == (1, name.encode())


@pytest.mark.parametrize("image", [b"", MAGIC, MAGIC + b"\0\0\0"])
def test_a_cut_file_is_a_broken_image(image: bytes) -> None:
    with pytest.raises(ImageBroken, match="bytes"):
        with_ids(image, 1)
    with pytest.raises(ImageBroken, match="bytes"):
        with_host_name(image, "a")


@given(
    st.dictionaries(st.text(min_size=1), st.text(), max_size=4),
    st.dictionaries(st.from_regex(r"app-[0-9]", fullmatch=True), st.lists(st.integers(1, 99)), max_size=3),
    st.integers(0, 2**40),
)
def test_a_description_comes_back_as_it_was(mounts: dict[str, str], groups: dict[str, list[int]], size: int) -> None:
    info = ImageInfo("key", mounts, groups, size, 5.0)
    assert ImageInfo.of_text(info.to_text()) == info


@given(st.one_of(st.text(), st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps)))
def test_rubbish_is_a_broken_image(text: str) -> None:
    with pytest.raises(ImageBroken):
        ImageInfo.of_text(text)


def test_an_image_of_another_format_is_refused() -> None:
    table = json.loads(ImageInfo("key", {}).to_text()) | {"format": 99}
    with pytest.raises(ImageBroken, match="format 99"):
        ImageInfo.of_text(json.dumps(table))


def test_an_image_depends_on_template_applications_runtime_and_host() -> None:
    keys = {
        image_key(PLAIN, [], "r1", ["6.1"]),
        image_key(DesktopTemplate(TemplateId("plain"), width_px=800), [], "r1", ["6.1"]),
        image_key(PLAIN, ["gimp"], "r1", ["6.1"]),
        image_key(PLAIN, [], "r2", ["6.1"]),
        image_key(PLAIN, [], "r1", ["6.2"]),
    }
    assert len(keys) == 5
    assert image_key(PLAIN, [], "r1", ["6.1"]) in keys


MOUNTINFO = """\
77 43 0:40 /newroot / ro - tmpfs tmpfs rw
78 77 254:0 /usr /usr ro - ext4 /dev/vda rw
79 77 0:41 / /proc rw - proc proc rw
80 77 0:42 / /dev rw - tmpfs tmpfs rw
81 80 0:6 /null /dev/null rw - devtmpfs devtmpfs rw
87 80 0:43 / /dev/pts rw - devpts devpts rw
90 77 0:44 / /tmp rw - tmpfs tmpfs rw
91 77 254:0 /my\\040fonts /etc/my\\040fonts ro - ext4 /dev/vda rw
92 77 254:0 /s/slot /home rw master:5 - ext4 /dev/vda rw
"""


def test_every_mount_that_is_not_the_clones_own_is_bound_from_the_host() -> None:
    mounts = mount_names(MOUNTINFO)
    assert set(mounts) == {"/usr", "/dev/null", "/etc/my fonts", "/home"}
    assert len(set(mounts.values())) == len(mounts)
    dump = dump_arguments(42, mounts)
    assert f"mnt[/etc/my fonts]:{mounts['/etc/my fonts']}" in dump
    assert dump[dump.index("--tree") + 1] == "42"
    restore = restore_arguments(Path("/images/a/root"), "pid", {mounts["/home"]: "/s/clone/slot"})
    assert f"mnt[{mounts['/home']}]:/s/clone/slot" in restore
    assert restore[restore.index("--root") + 1] == "/images/a/root"


def test_a_root_has_a_place_for_each_mount_and_nothing_in_dev() -> None:
    entries = root_entries(mount_names(MOUNTINFO))
    assert {"usr", "etc/my fonts", "home", "proc", "dev", "tmp", "run/user/1000"} == set(entries)
    assert all(f"/{entry}" in FRESH or not entry.startswith("dev") for entry in entries)
