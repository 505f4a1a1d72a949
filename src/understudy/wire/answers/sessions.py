"""Answers about sessions of the pages."""

from __future__ import annotations

from understudy.clock import iso
from understudy.coordinator.nouns import Session
from understudy.wire.answers.base import Answer, Instant


class LoginLink(Answer, frozen=True):
    """A link that logs a browser in, once: `path` is shown this once."""

    path: str
    expires_in_sec: int


class SessionJson(Answer, frozen=True):
    """A browser that is or was logged in, without its secret."""

    id: str
    key_id: str
    scopes: list[str]
    browser: str
    created_at: Instant
    seen_at: Instant
    expires_at: Instant
    ended_at: Instant | None


class SessionsAnswer(Answer, frozen=True):
    """All sessions that are kept, the latest seen first."""

    sessions: list[SessionJson]


class EndedSessions(Answer, frozen=True):
    """The number of sessions that have ended with this."""

    ended: int


def session_json(session: Session) -> SessionJson:
    """A session without its secret."""
    return SessionJson(
        session.id,
        session.key_id,
        session.scopes.split(),
        session.browser,
        iso(session.created_at),
        iso(session.seen_at),
        iso(session.expires_at),
        iso(session.ended_at) if session.ended_at else None,
    )
