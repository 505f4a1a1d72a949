"""Gives memory that is free again back to the system, because a hub runs for months."""

from __future__ import annotations

import ctypes
import sys
from functools import cache
from typing import Any

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h of glibc
LARGE_BLOCK_BYTES = 128 << 10  # glibc's own default, before it adapts
TRIM_EVERY_MS = 10_000


def give_back_large_blocks() -> None:
    """Keep glibc from raising its threshold for mapped blocks to the largest one ever freed.

    It does so by default, and then such blocks stay in each thread's heap: 100,000 fuzzed requests grew by 15 MiB
    from the 20,000th on, with fixed thresholds by 6 (tests/soak/test_fuzz.py). Other C libraries need no word.
    """
    mallopt = _of_glibc("mallopt")
    if mallopt is not None:
        for parameter in (_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD):
            mallopt(parameter, LARGE_BLOCK_BYTES)


def give_back_free_pages() -> int:
    """Return the free pages within the heaps of all threads; how many ms may pass until the next time.

    glibc returns by itself only what is free at the end of a heap: after 60,000 fuzzed requests 15 MiB lay free
    between blocks in use, of which this gives back 11.
    """
    trim = _of_glibc("malloc_trim")
    if trim is not None:
        trim(0)
    return TRIM_EVERY_MS


def can_give_back() -> bool:
    """True if there is something that `give_back_free_pages` can do."""
    return _of_glibc("malloc_trim") is not None


@cache
def _of_glibc(name: str) -> Any:
    """A function of glibc, which is called without the interpreter's lock; None where the C library is another one."""
    if sys.platform != "linux":
        return None
    try:
        return getattr(ctypes.CDLL(None), name)
    except (AttributeError, OSError):  # musl
        return None
