"""Memory of conversations: what was said to whom on which channel."""

from __future__ import annotations

from collections.abc import Sequence

from understudy.clock import parse_iso
from understudy.coordinator.changes import Decision
from understudy.coordinator.nouns import Memory, Now
from understudy.hub.enqueue import INSTANT_MAX, text_of, user_of
from understudy.hub.operation import HEAVY, Operation
from understudy.hub.working_set import Needs, WorkingSet
from understudy.wire.answers.base import DONE
from understudy.wire.answers.memory import Forgotten
from understudy.wire.limits import MEMORY_CONTENT_BYTES_MAX
from understudy.wire.memory import MemorySaveBody, channel_of

CHARS_A_TOKEN = 4
MESSAGE_BYTES = 1_000  # of a message's row and indexes beside its text
CONTEXT_CHARS = 3_000  # old daemons cut context, header and question together at 4,000: the question must have room


class SaveMemory(Operation):
    """Keep one message; the same id again makes no second row."""

    def __init__(self, body: MemorySaveBody, made_id: str) -> None:
        self.body = body
        self.id = body.id or made_id
        self.content = cut(text_of(body.content))

    def needs(self, needs: Needs) -> None:
        """The message of that id."""
        needs.row(Memory, self.id)
        needs.room = True

    def decide(self, work: WorkingSet, now: Now) -> Decision:
        """Keep it unless it is here already."""
        if work.get(Memory, self.id) is not None:
            return Decision(DONE)
        body = self.body
        metadata = "" if body.metadata is None else text_of(body.metadata)
        work.bounds.take(MESSAGE_BYTES + len(self.content.encode()) + len(metadata.encode()))
        message = Memory(
            self.id,
            user_of(body.user_id)[:256],
            channel_of(body.channel),
            body.role,
            self.content,
            body.source or "",
            metadata,
            _created_at(body.created_at, now),
        )
        return Decision(DONE, (message,))


def _created_at(given: str | float | None, now: Now) -> int:
    """The instant that the client names, as text or epoch ms; now where it makes no sense."""
    try:
        at = _instant(given) if isinstance(given, str) else int(given or 0)
    except (ValueError, OverflowError, OSError):
        return now.wall
    return at if 0 < at <= INSTANT_MAX else now.wall


def _instant(text: str) -> int:
    """Milliseconds; what names no zone is UTC: SQLite writes `2026-02-04 14:13:28`. ValueError if it is no instant."""
    try:
        return parse_iso(text)
    except ValueError:
        return parse_iso(f"{text}Z")


def cut(content: str) -> str:
    """At most `MEMORY_CONTENT_BYTES_MAX` bytes of it, whole characters: a long answer must not be lost altogether."""
    raw = content.encode()
    return content if len(raw) <= MEMORY_CONTENT_BYTES_MAX else raw[:MEMORY_CONTENT_BYTES_MAX].decode(errors="ignore")


class ForgetMemory(Operation):
    """Remove all of a user's messages."""

    weight = HEAVY

    def __init__(self, user_id: str) -> None:
        self.user_id = user_id

    def needs(self, needs: Needs) -> None:
        """The ids of all of them."""
        needs.all_messages_of.add(self.user_id)

    def decide(self, work: WorkingSet, now: Now) -> Decision:
        """They are gone with this commit."""
        ids = work.message_ids[self.user_id]
        return Decision(Forgotten(success=True, deleted=len(ids)), delete=tuple((Memory, key) for key in ids))


def context_of(newest_first: Sequence[Memory], tokens_max: int) -> str:
    """The most recent messages that fit (4 characters a token), oldest first, each as `[role] text`."""
    return "\n".join(reversed(lines_that_fit(newest_first, tokens_max)))


def lines_that_fit(newest_first: Sequence[Memory], tokens_max: int, chars_max: int | None = None) -> list[str]:
    """The lines of a context, newest first."""
    room = tokens_max * CHARS_A_TOKEN
    if chars_max is not None:
        room = min(room, chars_max + 1)  # no line break follows the last line
    lines: list[str] = []
    for message in newest_first:
        line = f"[{message.role}] {message.content}"
        room -= len(line) + 1
        if room < 0:
            break
        lines.append(line)
    return lines
