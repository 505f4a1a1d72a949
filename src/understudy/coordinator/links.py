"""Links that act: each is used once, and expires."""

from __future__ import annotations

from msgspec.structs import replace

from understudy.coordinator.nouns import Link, Now, Task

LINK_KEPT_MS = 7 * 86_400_000  # how long a link may be followed
SNOOZE_MS = 3_600_000  # without reminders and escalations, after the link that snoozes was followed


def subject_of_answer(task_id: str, queued_at: int | None) -> str:
    """The subject of a link to an answer: the task, and when it was queued; its id may be used again."""
    return task_id if queued_at is None else f"{task_id} {queued_at}"


def task_of(link: Link) -> str:
    """The id of the task whose answer a link shows."""
    return link.subject.partition(" ")[0]


def is_answer_of(link: Link, task: Task) -> bool:
    """True if a link shows the answer of this task, and not of another one that had its id before."""
    return link.subject in (task.id, subject_of_answer(task.id, task.queued_at))


def is_good(link: Link, now: Now) -> bool:
    """True if it may still be followed; bounds are half-open."""
    return now.wall < link.expires_at


def used(link: Link, now: Now) -> Link:
    """The link after it did what it is for."""
    return replace(link, used_at=now.wall)
