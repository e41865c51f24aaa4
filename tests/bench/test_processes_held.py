import os
import subprocess
import sys

from ghostdesk.bench.processes import Held, cpu_s_of, held_by, parse_cpu_s, parse_rollup, pids_of_uid

ROLLUP = """\
55d0c4a00000-7ffd5e9f6000 ---p 00000000 00:00 0                          [rollup]
Rss:                3568 kB
Pss:                 710 kB
Pss_Dirty:           404 kB
SwapPss:              12 kB
"""


def test_a_rollup_gives_proportional_memory_not_its_dirty_part() -> None:
    assert parse_rollup(ROLLUP) == Held(1, 710 * 1024, 12 * 1024)


def test_cpu_time_of_a_process_with_an_odd_name() -> None:
    stat = "7 (a) b (c) S " + " ".join(["0"] * 10) + " 150 50 0 0"
    assert parse_cpu_s(stat) == 200 / os.sysconf("SC_CLK_TCK")


def test_this_process_is_found_and_holds_memory() -> None:
    assert os.getpid() in pids_of_uid(os.getuid())
    held = held_by([os.getpid()])
    assert held.processes == 1
    assert held.pss_bytes > 1024 * 1024
    assert cpu_s_of([os.getpid()])[os.getpid()] > 0


def test_processes_that_are_gone_hold_nothing() -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    assert held_by([gone.pid]) == Held()
    assert cpu_s_of([gone.pid]) == {}
