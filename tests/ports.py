"""Ports for servers that are started later, or again: the kernel lends none of these to anybody's connection."""

from __future__ import annotations

import random
import socket

FIRST, LAST = 20_000, 32_000  # below what Linux (32768) and macOS (49152) give to connections
TRIES_MAX = 100


def free_port() -> int:
    """One that nobody listens on now. Chosen at random, because several suites may run on one machine."""
    chance = random.SystemRandom()
    for _ in range(TRIES_MAX):
        port = chance.randrange(FIRST, LAST)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError(f"no free port among {TRIES_MAX}")
