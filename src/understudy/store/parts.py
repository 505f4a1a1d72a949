"""Parts of long texts: a conversation of megabytes is not read to send its last 8,000 characters."""

from __future__ import annotations

from collections.abc import Collection

from understudy.coordinator.nouns import Memory, Progress
from understudy.store.queries import MESSAGES, Part
from understudy.store.session import SqlSession
from understudy.store.tables import TABLES

MESSAGES_AT_FIRST = 8  # then four times as many: most conversations need few messages, or have short ones
_PROGRESS = (
    "SELECT task_id, token, at, CASE WHEN length(progress) <= ? THEN progress ELSE '' END, '' FROM progress"
    " WHERE task_id IN ?"
)


_CUT = {"content": "substr(content, 1, CAST(? AS integer)) AS content", "metadata": "'' AS metadata"}
LAST_MESSAGES = (  # of a conversation; of each so many characters, and no metadata
    f"SELECT {', '.join(_CUT.get(name, name) for name in TABLES[Memory].columns)} FROM memory"  # noqa: S608 - our own
    f" WHERE {MESSAGES.where} ORDER BY {MESSAGES.order} LIMIT ?"
)


def values_of(conversation: tuple[str, str, str], part: Part, limit: int) -> tuple[str | int, ...]:
    """The values of that statement."""
    owner, user_id, channel = conversation
    return part.message_chars, user_id, owner, channel, channel, limit


class PartQueries(SqlSession):
    """Mixed into the transaction of a backend."""

    def last_said(self, conversation: tuple[str, str, str], part: Part, limit: int) -> list[Memory]:
        """The last messages of a conversation, newest first, as many as `part` has room for."""
        count = MESSAGES_AT_FIRST
        while True:
            count = min(count, limit)
            found = self._fetch(LAST_MESSAGES, values_of(conversation, part, count))
            messages = self._nouns(Memory, found)
            if len(found) < count or count == limit or sum(len(one.content) for one in messages) >= part.chars:
                return within(messages, part.chars)
            count *= 4

    def progress_shown(self, task_ids: Collection[str], chars: int) -> list[Progress]:
        """The progress of these tasks without checkpoints; "" for one that is longer."""
        if not task_ids:
            return []
        query = self.dialect.sql(_PROGRESS)
        return self._nouns(Progress, self._fetch(query, (chars, self.dialect.collection(task_ids))))


def within(newest_first: list[Memory], chars: int) -> list[Memory]:
    """Those before which there is still room."""
    kept: list[Memory] = []
    for message in newest_first:
        if chars <= 0:
            break
        kept.append(message)
        chars -= len(message.content)
    return kept
