"""Which disk a folder is on."""

import os
from pathlib import Path

from ghostdesk.engines.local.cgroup_limits import BlockDevice
from ghostdesk.engines.local.disks import block_device_of, scheduler_of


def test_a_disk_and_not_its_partition_is_throttled(tmp_path: Path) -> None:
    number = tmp_path.stat().st_dev
    disk, part = tmp_path / "sda", tmp_path / "sda/sda1"
    part.mkdir(parents=True)
    (disk / "dev").write_text("8:0\n")
    (part / "dev").write_text("8:1\n")
    (part / "partition").write_text("1\n")
    table, nowhere = tmp_path / "block", tmp_path / "mountinfo"
    table.mkdir()
    nowhere.write_text("22 1 0:20 / / rw shared:1 - tmpfs tmpfs rw\n")
    assert block_device_of(tmp_path, table, nowhere) is None
    (table / f"{os.major(number)}:{os.minor(number)}").symlink_to(part)
    assert block_device_of(tmp_path, table, nowhere) == BlockDevice(8, 0)


def test_a_file_system_without_a_number_is_on_the_disk_it_was_mounted_from(tmp_path: Path) -> None:
    """As btrfs is: /dev/null stands for the disk, whose numbers nobody needs rights to read."""
    null = Path("/dev/null").stat().st_rdev
    table, mounts = tmp_path / "block", tmp_path / "mountinfo"
    disk = table / f"{os.major(null)}:{os.minor(null)}"
    disk.mkdir(parents=True)
    (disk / "dev").write_text("1:3\n")
    mounts.write_text(
        "22 1 0:20 / / rw shared:1 - tmpfs tmpfs rw\n"
        f"23 22 0:44 / {tmp_path} rw shared:2 - btrfs /dev/null rw\n"
        "24 22 0:45 / /tmp/elsewhere rw - btrfs /dev/zero rw\n"
    )
    assert block_device_of(tmp_path, table, mounts) == BlockDevice(1, 3)
    mounts.write_text("22 1 0:20 / / rw shared:1 - btrfs /dev/no-such-disk rw\n")
    assert block_device_of(tmp_path, table, mounts) is None


def test_a_folder_that_is_gone_is_on_no_disk(tmp_path: Path) -> None:
    assert block_device_of(tmp_path / "gone") is None


def test_the_scheduler_is_the_one_in_brackets(tmp_path: Path) -> None:
    queue = tmp_path / "8:0/queue"
    queue.mkdir(parents=True)
    assert scheduler_of(BlockDevice(8, 0), tmp_path) == ""
    (queue / "scheduler").write_text("none [mq-deadline] kyber bfq\n")
    assert scheduler_of(BlockDevice(8, 0), tmp_path) == "mq-deadline"
