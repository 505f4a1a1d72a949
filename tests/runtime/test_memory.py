"""Free memory between blocks in use goes back to the system."""

from __future__ import annotations

import ctypes
import sys

import psutil
import pytest

from understudy.runtime.hub.memory import TRIM_EVERY_MS, give_back_free_pages

BLOCKS, BYTES = 10_000, 5_000


@pytest.mark.skipif(sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="needs glibc")
def test_pages_that_are_free_between_others_are_given_back() -> None:
    blocks = [ctypes.create_string_buffer(b"x" * (BYTES - 1)) for _ in range(BLOCKS)]
    kept = blocks[::20]
    blocks.clear()
    before = psutil.Process().memory_info().rss
    assert give_back_free_pages() == TRIM_EVERY_MS
    given_back = before - psutil.Process().memory_info().rss
    assert given_back > BLOCKS * BYTES / 2, f"{given_back:,} of {BLOCKS * BYTES:,} bytes"
    assert len(kept) == BLOCKS / 20
