"""Links that act: each is used once, and expires."""

from __future__ import annotations

from msgspec.structs import replace

from understudy.coordinator.nouns import Link, Now, Task
from understudy.coordinator.sessions import AHEAD_MAX_MS

LINK_KEPT_MS = 7 * 86_400_000  # how long a link may be followed
SNOOZE_MS = 3_600_000  # without reminders and escalations, after the link that snoozes was followed


def is_answer_of(link: Link, task: Task) -> bool:
    """True if a link shows the answer of this task, and not of one before it that had its id: it is as old as its task.

    A link that an earlier version made is as old as its message.
    """
    return link.created_at >= task.queued_at


def is_good(link: Link, now: Now) -> bool:
    """True if it may still be followed; not if it was made while the clock was far ahead. Bounds are half-open."""
    return link.created_at <= now.wall + AHEAD_MAX_MS and now.wall < link.expires_at


def used(link: Link, now: Now) -> Link:
    """The link after it did what it is for."""
    return replace(link, used_at=now.wall)
