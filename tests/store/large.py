"""A store of any size with something of everything in it, sound, for tests that copy and check."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from tests.store.conformance import T0, leased, queued
from understudy.coordinator.changes import Event
from understudy.coordinator.nouns import Attempt, Daemon, Memory, Period, Result, TaskBody, Usage
from understudy.store.base import Store
from understudy.store.sqlite import SqliteStore

TASKS_A_BATCH = 500
TEXTS = ("眠い 😀", "plain", "\x1b[31mred", "' OR 1=1; --", "\ud7ff\ue000\uffff")


def fill(store: Store, tasks: int, *, large_rows: int = 0) -> None:
    """So many tasks, a fifth of each kind; `large_rows` of them with a content of a MiB."""
    for first in range(0, tasks, TASKS_A_BATCH):
        numbers = range(first, min(first + TASKS_A_BATCH, tasks))
        batch = [row for n in numbers for row in task_rows(n, 1 << 20 if n < large_rows else 300)]
        events = [event(n) for n in numbers]
        store.transaction(lambda tx: (tx.save_many(batch), tx.append_events(events)))  # noqa: B023
    open_tasks = sum(n % 5 != 0 for n in range(tasks))
    daemons = [Daemon(f"mini-{n}", state="healthy") for n in range(tasks // 100)]
    periods = [Period(daemon.id, T0 + n, "healthy", T0 + n + 1) for daemon in daemons for n in range(5)]
    store.transaction(lambda tx: tx.save_many([Usage("", open_tasks, 10 * tasks), *daemons, *periods]))


def task_rows(n: int, size: int) -> Iterator[Struct]:
    """All rows of one task."""
    name, text = f"task-{n:08}", TEXTS[n % len(TEXTS)]
    yield TaskBody(name, f'{{"content":"{"x" * size}"}}')
    yield Memory(f"{name}:ask", "u", "c", "user", text, "", "", T0 + n)
    kind, token = n % 5, T0 + n
    if kind in (1, 2):
        yield queued(name, n, source=text, size_bytes=10)
        return
    yield Attempt(name, token - 1, "w", "mini-1", "b", T0, T0 + 1, "lost")
    if kind == 0:
        yield queued(name, n, status="done", ready=0, token=token, finished_at=T0 + n, ended="done", size_bytes=10)
        yield Attempt(name, token, "w", "mini-1", "b", T0, T0 + 1, "done")
        yield Result(name, 1, output=f'"{text}"'.replace("\x1b", ""), token=token)
    elif kind == 3:
        yield leased(name, order_key=n, token=token, hard_end_h=T0 + 99, size_bytes=10)
        yield Attempt(name, token, "w", "mini-1", "b", T0)
    else:
        yield queued(name, n, ready=0, waiting_for="mini-1", ended="expired", token=token, size_bytes=10, claimed_at=T0)
        yield Attempt(name, token, "w", "mini-1", "b", T0, T0 + 1, "expired")


def event(n: int) -> Event:
    """One of the story of a task."""
    return Event(T0 + n, "info", "task.queued", "TaskQueue", TEXTS[n % len(TEXTS)], {"n": n}, f"task-{n:08}")


def made(path: Path, tasks: int, *, large_rows: int = 0) -> Path:
    """The same as a file."""
    store = SqliteStore(path)
    fill(store, tasks, large_rows=large_rows)
    store.close()
    return path
