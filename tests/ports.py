"""Ports for servers that are started later, or again: the kernel lends none of these to anybody's connection.

A hub that is killed and started again has nothing at its port in between. So no port is given twice: each worker of a
run has ports of its own, and gives each of them once; several suites on one machine begin at random places.
"""

from __future__ import annotations

import os
import random
import socket
from functools import cache

FIRST, LAST = 20_000, 32_000  # below what Linux (32768) and macOS (49152) give to connections


@cache
def _ours() -> list[int]:
    """Those of this worker that are left, in the order of giving them."""
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    count = max(int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")), number + 1)
    ports = list(range(FIRST + number, LAST, count))
    random.SystemRandom().shuffle(ports)
    return ports


def free_port() -> int:
    """One that nobody listens on now, and that nobody else of this run is given."""
    while True:
        port = _ours().pop()
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
