"""Daemons for lists of them: read in parts, and no more in one answer than one may hold."""

from __future__ import annotations

from collections.abc import Iterator

from understudy.coordinator.nouns import Daemon
from understudy.store.base import Reader

LIST_BYTES_MAX = 8 << 20  # of one page, whatever its limit in rows
READ_AT_ONCE = 1_000
ROW_BYTES = 700  # of a daemon's JSON, besides what it says of itself


def each_daemon(reader: Reader, after: str = "") -> Iterator[Daemon]:
    """All of them by id, from the beginning or after one."""
    while part := reader.load_all(Daemon, READ_AT_ONCE, after or None):
        yield from part
        if len(part) < READ_AT_ONCE:
            return
        after = part[-1].id


def daemons_that_fit(reader: Reader, after: str = "", *, more_bytes: int = 0) -> tuple[list[Daemon], str]:
    """As many as one answer may hold, and the last one if there are more; `more_bytes`: that is said of each."""
    found: list[Daemon] = []
    room = LIST_BYTES_MAX
    for daemon in each_daemon(reader, after):
        room -= size_of(daemon) + more_bytes
        if room < 0 and found:
            return found, found[-1].id
        found.append(daemon)
    return found, ""


def size_of(daemon: Daemon) -> int:
    """About the bytes of a daemon as JSON."""
    said = (daemon.provides, daemon.running, daemon.loops, daemon.auth, daemon.capabilities, daemon.current_task)
    return ROW_BYTES + sum(len(text.encode()) for text in said)
