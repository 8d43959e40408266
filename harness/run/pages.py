"""Library pages: why a forked worker's memory seemed to rise more, and what makes both isolation modes agree.

A fork copies the page tables of private memory but not those of mapped files: a worker forked from the preloaded
server has every library, yet none of their pages counts as resident until it is touched. So the code that the work
runs through looked like memory of the work (161-173 MiB forked, 144-150 MiB fresh for the same small training). The
server notes which file pages it holds, and each worker maps the same ones again before its runtime memory is read;
then both took 144-151 MiB above 510.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from array import array
from collections.abc import Iterator
from pathlib import Path

Range = tuple[int, int]

_MADV_POPULATE_READ = 22  # Linux 5.14; older kernels refuse it, and the pages then count as they are touched
_PRESENT = 1 << 63
_PAGE = os.sysconf("SC_PAGE_SIZE")


def resident_file_ranges() -> list[Range]:
    """Address ranges (start, bytes) of mapped files whose pages this process holds now; empty where that is secret."""
    found: list[Range] = []
    with contextlib.suppress(OSError), Path("/proc/self/pagemap").open("rb", buffering=0) as pagemap:
        for start, end in _file_mappings():
            pagemap.seek(start // _PAGE * 8)
            entries = array("Q", pagemap.read((end - start) // _PAGE * 8))
            found += _runs(start, entries)
    return found


def map_again(ranges: list[Range]) -> None:
    """Map the pages of ``ranges`` into this process as if it had read them."""
    madvise = ctypes.CDLL(None).madvise
    madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    for start, length in ranges:
        madvise(start, length, _MADV_POPULATE_READ)


def _file_mappings() -> Iterator[Range]:
    """Readable mappings of files, from /proc/self/maps: address, rights, offset, device, inode, path."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        addresses, rights, _offset, _device, inode, *_path = line.split(maxsplit=5)
        if inode != "0" and rights[0] == "r":
            start, _, end = addresses.partition("-")
            yield int(start, 16), int(end, 16)


def _runs(start: int, entries: array[int]) -> list[Range]:
    """Join neighbouring present pages."""
    runs: list[Range] = []
    begin: int | None = None
    for index, entry in enumerate(entries):
        if entry & _PRESENT:
            begin = index if begin is None else begin
        elif begin is not None:
            runs.append((start + begin * _PAGE, (index - begin) * _PAGE))
            begin = None
    if begin is not None:
        runs.append((start + begin * _PAGE, (len(entries) - begin) * _PAGE))
    return runs
