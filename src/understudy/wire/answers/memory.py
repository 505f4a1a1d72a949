"""Answers about memory."""

from __future__ import annotations

from understudy.clock import iso
from understudy.coordinator.nouns import Memory
from understudy.wire.answers.base import Answer, Instant, Yes


class MessageJson(Answer, frozen=True, rename=None):
    """One message, in snake_case as old daemons send and read it."""

    id: str
    user_id: str
    channel: str
    role: str
    content: str
    source: str | None
    created_at: Instant


class HistoryAnswer(Answer, frozen=True):
    """A user's messages, oldest first."""

    history: list[MessageJson]
    count: int


class ContextAnswer(Answer, frozen=True):
    """The most recent messages that fit, as one text."""

    context: str
    user_id: str


class Forgotten(Answer, frozen=True):
    """The number of deleted messages."""

    success: Yes
    deleted: int


def message_json(message: Memory) -> MessageJson:
    """One message."""
    return MessageJson(
        message.id,
        message.user_id,
        message.channel,
        message.role,
        message.content,
        message.source or None,
        iso(message.created_at),
    )
