"""Stores of any size with rows of every kind, and the work that SQLite does in them, counted: no clock is asked.

The work is the number of instructions of SQLite's virtual machine: a row that is read costs some, a row that is
counted too, and so does one that is sorted. It is the same in every run.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from typing import Any

from msgspec import Struct

from tests.hub.conftest import Bench
from understudy.clock import ManualClock
from understudy.coordinator.changes import Event
from understudy.coordinator.nouns import (
    Attempt,
    Boot,
    Daemon,
    Directive,
    Evidence,
    Hearing,
    Incident,
    Memory,
    Notice,
    Period,
    Policy,
    Result,
    Task,
    TaskBody,
    Usage,
)
from understudy.coordinator.samples import Sample
from understudy.coordinator.takeover_nouns import Reservation
from understudy.store.sqlite import SqliteStore

STEPS = 20  # of the virtual machine, to one count
MINUTE_MS = 60_000
STATUSES = ("ready", "ready", "ready", "ready", "done", "done", "done", "done", "failed", "leased")
DAEMON_STATES = ("healthy", "healthy", "healthy", "asleep", "late", "down", "stopped", "paused")
NOTICE_STATES = ("sent", "sent", "sent", "dead", "folded")


class Crowded(Bench):
    """A hub whose store holds `size` tasks, daemons, incidents, notices, events, periods and samples."""

    def __init__(self, size: int, policy: Policy | None = None) -> None:
        super().__init__(policy, SqliteStore(None), ManualClock())
        self.steps = 0
        now = self.clock.now_ms()
        rows = [*(row for n in range(size) for row in (*_task(n, now), *_daemon(n, now), *_others(n, now)))]
        open_tasks = sum(isinstance(row, Task) and not row.finished_at for row in rows)
        rows += [Usage("key", open_tasks, size * 1_000), Hearing(heard_at=now)]
        events = [
            Event(now - size + n, "info", "daemon.late", "Health", "m", {}, f"task-{n}", f"d-{n}") for n in range(size)
        ]
        self.store.transaction(lambda tx: (tx.save_many(rows), tx.append_events(events)))

    def counted(self, work: Callable[[], Any]) -> int:
        """The instructions that SQLite needed for it."""
        connection: sqlite3.Connection = self.store._writer
        self.steps = 0
        connection.set_progress_handler(self._count, STEPS)
        try:
            work()
        finally:
            connection.set_progress_handler(None, 0)
        return self.steps * STEPS

    def _count(self) -> int:
        self.steps += 1
        return 0


def _task(n: int, now: int) -> Iterator[Struct]:
    """One that waits, is done, has failed or runs, with all that belongs to it."""
    name, word, at = f"task-{n}", STATUSES[n % len(STATUSES)], now - n * MINUTE_MS
    fixed = {"order_key": at * 1_000, "queued_at": at, "submitter": "key", "source": "mail", "size_bytes": 1_000}
    yield TaskBody(name, '{"content":"x"}')
    if word == "ready":
        yield Task(name, **fixed)
        return
    lease = {"ready": 0, "token": n + 1, "worker_id": "w", "daemon_id": f"d-{n}", "claimed_at": at, "boot_id": "b"}
    if word == "leased":
        yield Task(name, status=word, expires_h=now + 10**9, hard_end_h=now + 10**9, **fixed, **lease)
        yield Attempt(name, n + 1, "w", f"d-{n}", "b", at)
        return
    yield Task(name, status=word, finished_at=at + 1, ended=word, **fixed, **lease)
    yield Attempt(name, n + 1, "w", f"d-{n}", "b", at, at + 1, word)
    yield Result(name, int(word == "done"), '"y"', token=n + 1, at=at + 1)
    yield Evidence(f"e-{n}", name, 1, "w", at, "late", "{}")


def _daemon(n: int, now: int) -> Iterator[Struct]:
    """In one of the states, with a timeline; who is late or down has an incident that lasts."""
    name, state, at = f"d-{n}", DAEMON_STATES[n % len(DAEMON_STATES)], now - n * MINUTE_MS
    is_silent = state in ("late", "down")
    heard = {"last_seen_at": now, "last_seen_h": now, "since_at": at, "first_seen_at": at, "interval_ms": 10_000}
    incident = f"i-{n}" if is_silent else ""
    yield Daemon(name, state, boot_id="b", incident_id=incident, deadline_h=now + 10**9, **heard)
    yield Boot(name, "a", at)
    yield Period(name, at - MINUTE_MS, "late", at)
    yield Period(name, at, state)
    yield Incident(f"i-{n}", name, state if is_silent else "recovered", at, at, recovered_at=0 if is_silent else at + 1)
    yield Directive(f"r-{n}", name, "restart", state="done", asked_at=at, ended_at=at)


def _others(n: int, now: int) -> Iterator[Struct]:
    """Notices, samples, calls of takeover and messages of as many users."""
    at, state = now - n * MINUTE_MS, NOTICE_STATES[n % len(NOTICE_STATES)]
    yield Notice(
        f"n-{n}", "home", "notice", "daemon.down", "critical", f"i-{n}", "", f"d-{n}", state=state,
        created_at=at, due_at=at, next_at=at, sent_at=at if state == "sent" else 0,
    )  # fmt: skip
    yield Sample(at - at % MINUTE_MS, beats=1)
    yield Reservation(f"c-{n}", f"task-{n}", 1, "hub", "m", 5, 0, at, at, 5, "answered")
    yield Memory(f"m-{n}", f"user-{n}", "c", "user", "x", "", "", at)
