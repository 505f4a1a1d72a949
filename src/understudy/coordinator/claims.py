"""Claims: who may have which tasks, and the same lease again for the same request."""

from __future__ import annotations

import json
from collections.abc import Iterable

from msgspec import Struct

from understudy.coordinator import leases, tasks
from understudy.coordinator.changes import Change
from understudy.coordinator.leases import Grant
from understudy.coordinator.nouns import LEASED, QUEUED, Daemon, Now, Policy, Task

MACHINE = "machine"
NO_WORK_IN = frozenset({"paused", "draining", "stopped"})
ANSWER_CHARS_MAX = 8 << 20  # about as much as one answer may carry; the rest waits for the next claim


class Claimable(Struct, frozen=True):
    """A task that a claim may look at, in the order of the queue."""

    task: Task
    chars: int = 0  # of what was asked
    is_readable: bool = True


def tags_of(provides: str, capabilities: str) -> frozenset[str]:
    """The tags that a daemon covers: legacy ones name capabilities, and always offer their machine."""
    try:
        tags = frozenset(json.loads(provides)) | frozenset(json.loads(capabilities))
    except (ValueError, TypeError):  # what cannot be read covers no more than its machine
        return frozenset({MACHINE})
    return tags | {MACHINE} if provides == '["machine"]' else tags


def is_barred(daemon: Daemon) -> bool:
    """True if a daemon gets no work at all: its owner or itself wants none."""
    return bool(daemon.paused) or daemon.state in NO_WORK_IN


def may_have(task: Task, names: frozenset[str]) -> bool:
    """True if a worker with these names may have a task that it covers."""
    return task.status == QUEUED and (bool(task.ready) or task.waiting_for in names)


def is_granted(task: Task, grant: Grant) -> bool:
    """True if this very request was granted the task, and its worker and boot still hold it."""
    holder = (task.worker_id, task.daemon_id, task.boot_id, task.request_id)
    return task.status == LEASED and holder == (grant.worker_id, grant.daemon_id, grant.boot_id, grant.request_id)


def lease(
    candidates: Iterable[Claimable], grant: Grant, names: frozenset[str], count: int, now: Now, policy: Policy
) -> list[Change[Task]]:
    """Lease up to `count` of the candidates, as many as one answer carries; set aside what cannot be read."""
    changes: list[Change[Task]] = []
    room = ANSWER_CHARS_MAX
    for candidate in candidates:
        if not may_have(candidate.task, names):
            continue
        if not candidate.is_readable:
            changes.append(tasks.set_aside(candidate.task, now))
            continue
        changes.append(leases.claim(candidate.task, grant, now, policy))
        count, room = count - 1, room - candidate.chars
        if not count or room <= 0:
            break
    return changes
