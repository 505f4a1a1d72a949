"""Pauses move with the wall clock when somebody sets it; instants that an owner named do not.

What a notice waits for is not in its row: the end of quiet hours or maintenance, which stays where it is, or what is
left of a pause. So each is due at once, and the rules put it off anew (`coordinator/due_notices.py`). One that was
tried before is due after an hour at the latest, which is the longest pause between tries. What is no notice moves as it
is: it waits for pauses alone.
"""

from __future__ import annotations

from typing import NamedTuple

from understudy.coordinator.outbox import RETRY_AFTER_MAX_MS

RECENT_MS = 3_600_000  # what was sent that long ago still counts for the pace of a channel


class Pause(NamedTuple):
    """The rows of one table that wait, and what of them moves."""

    table: str
    changes: str
    where: str

    @property
    def statement(self) -> str:
        """All of them at once."""
        return f"UPDATE {self.table} SET {self.changes} WHERE {self.where}"  # noqa: S608 - ours


# what waits, and what somebody is sending
_NOTICES = Pause(
    "notice",
    f"""next_at = :by + CASE WHEN kind = 'notice'
    THEN least(next_at, :before + CASE WHEN attempts > 0 THEN {RETRY_AFTER_MAX_MS} ELSE 0 END) ELSE next_at END,
    due_at = due_at + :by, created_at = created_at + :by,
    taken_until = CASE WHEN taken_until > 0 THEN greatest(taken_until + :by, 1) ELSE 0 END""",
    "state = 'waiting'",
)
_SENT = Pause("notice", "sent_at = sent_at + :by", "sent_at > :before - :recent")
# delays and backoff; `availableAt` is an instant
_TASKS = Pause(
    "task",
    "available_at = available_at + :by",
    """status = 'queued' AND ready = 0 AND waiting_for = ''
    AND (attempts > 0 OR NOT EXISTS (SELECT 1 FROM task_body b WHERE b.task_id = task.id
    AND named_instant(b.spec) IS NOT NULL))""",
)
_SNOOZES = Pause("incident", "snoozed_until = snoozed_until + :by", "snoozed_until > :before")
_LINKS = Pause("link", "expires_at = expires_at + :by", "expires_at > :before")

PAUSES = (_NOTICES, _SENT, _TASKS, _SNOOZES, _LINKS)
