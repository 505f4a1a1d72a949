"""Daemons for lists of them: read in parts, and no more in one answer than one may hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from understudy.coordinator.nouns import Daemon
from understudy.store.base import Reader

LIST_BYTES_MAX = 8 << 20  # of one page, whatever its limit in rows
READ_AT_ONCE = 1_000
ROW_BYTES = 700  # of a daemon's JSON, besides what it says of itself and what its owner set


def each_daemon(reader: Reader, after: str = "") -> Iterator[Daemon]:
    """All of them by id, from the beginning or after one; a part may lack rows whose ids cannot be read."""
    while part := reader.load_all(Daemon, READ_AT_ONCE, after or None):
        yield from part
        after = part[-1].id


def size_of(daemon: Daemon) -> int:
    """About the bytes of a daemon as JSON, rather too many."""
    named = (daemon.id, daemon.machine_id, daemon.boot_id, daemon.version, daemon.reason, daemon.current_task)
    said = (daemon.provides, daemon.running, daemon.loops, daemon.auth, daemon.capabilities, daemon.expected_sleep)
    return ROW_BYTES + len(msgspec.json.encode(named)) + sum(len(text.encode()) for text in said)


def daemons_that_fit(
    reader: Reader, after: str = "", bytes_of: Callable[[Daemon], int] = size_of
) -> tuple[list[Daemon], str]:
    """As many as one answer may hold, and the last one if there are more."""
    found: list[Daemon] = []
    room = LIST_BYTES_MAX
    for daemon in each_daemon(reader, after):
        room -= bytes_of(daemon)
        if room < 0 and found:
            return found, found[-1].id
        found.append(daemon)
    return found, ""
