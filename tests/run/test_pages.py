"""Library pages: those that this process holds are found, and mapping them again is harmless."""

from __future__ import annotations

import os

from harness.run import memory
from harness.run.pages import map_again, resident_file_ranges


def test_the_ranges_hold_as_much_as_the_kernel_counts() -> None:
    found = sum(length for _, length in resident_file_ranges())
    counted = memory.status_bytes("RssFile")
    assert 0.8 * counted <= found <= 1.2 * counted


def test_a_forked_child_holds_them_again() -> None:
    ranges = resident_file_ranges()
    expected = sum(length for _, length in ranges)
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        before = memory.status_bytes("RssFile")
        map_again(ranges)
        os.write(write, f"{before} {memory.status_bytes('RssFile')}".encode())
        os._exit(0)
    os.waitpid(pid, 0)
    before, after = map(int, os.read(read, 100).split())
    os.close(read)
    os.close(write)
    assert after >= 0.8 * expected
    assert after > before
