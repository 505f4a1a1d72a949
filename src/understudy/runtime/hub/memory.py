"""Gives the memory that a large answer needed back to the system, because a hub runs for months."""

from __future__ import annotations

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h of glibc
LARGE_BLOCK_BYTES = 128 << 10  # glibc's own default, before it adapts


def give_back_large_blocks() -> None:
    """Keep glibc from raising its threshold for mapped blocks to the largest one ever freed.

    It does so by default, and then such blocks stay in each thread's heap: 100,000 fuzzed requests grew by 15 MiB
    from the 20,000th on, with fixed thresholds by 6 (tests/soak/test_fuzz.py). Other C libraries need no word.
    """
    if sys.platform != "linux":
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):  # musl
        return
    for parameter in (_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD):
        mallopt(parameter, LARGE_BLOCK_BYTES)
