"""Weights in huge pages: a processor then looks up fewer addresses, which saves up to a tenth of a tower's time (docs/bench.md).

glibc does so for a whole process that starts with GLIBC_TUNABLES=glibc.malloc.hugetlb=1. A program cannot ask for it later, but it can
let the heap grow by what it is about to need and tell Linux that this part may lie in huge pages.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import sys
from collections.abc import Iterator
from pathlib import Path

SIZE = Path("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size")
LARGEST = (
    4 << 20
)  # bytes of a page: a kernel of 16 KiB pages has huge ones of 32 MiB, and half a page lost is too much on a board
_MMAP_THRESHOLD, _TOP_PAD, _TRIM_THRESHOLD = -3, -2, -1  # mallopt's numbers, from malloc.h
_MOST = 32 << 20  # glibc's own limit of the mmap threshold
_MADV_HUGEPAGE = 14


@contextlib.contextmanager
def huge_pages(size: int) -> Iterator[None]:
    """What the body allocates through malloc lies in huge pages, up to about `size` bytes.

    Changes nothing for less than a page, and where there is no glibc, no Linux, or no huge page of a size for it.
    """
    library = None if size < LARGEST else _glibc()
    if library is None:
        yield
        return
    library.mallopt(_MMAP_THRESHOLD, _MOST)  # large pieces too come from the heap, one behind the other
    library.mallopt(_TOP_PAD, size)
    start = library.sbrk(0)
    library.free(library.malloc(_MOST - (1 << 20)))  # more than lies free: the heap grows, and keeps `size` bytes of it
    end, small = library.sbrk(0), mmap.PAGESIZE
    if end > start:
        start -= start % small
        library.madvise(start, end - start, _MADV_HUGEPAGE)
    try:
        yield
    finally:
        # Where glibc itself comes to once pieces of that size were freed; its own steps towards it end with the first mallopt.
        library.mallopt(_TRIM_THRESHOLD, 2 * _MOST)
        library.mallopt(_TOP_PAD, 128 << 10)


def _glibc() -> ctypes.CDLL | None:
    """The C library with the functions' types set; None where it is not glibc's or huge pages are not for this machine."""
    try:
        if sys.platform != "linux" or int(SIZE.read_text()) > LARGEST:
            return None
        library = ctypes.CDLL(None)
        library.mallopt.argtypes = (ctypes.c_int, ctypes.c_int)
        library.malloc.restype, library.malloc.argtypes = ctypes.c_void_p, (ctypes.c_size_t,)
        library.free.argtypes = (ctypes.c_void_p,)
        library.sbrk.restype, library.sbrk.argtypes = ctypes.c_size_t, (ctypes.c_ssize_t,)
        library.madvise.argtypes = (ctypes.c_size_t, ctypes.c_size_t, ctypes.c_int)
    except (OSError, ValueError, AttributeError):
        return None
    return library
