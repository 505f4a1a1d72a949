"""Sessions of the pages: login links and logins, what is seen of them, their end."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from understudy.coordinator import links, sessions
from understudy.coordinator.changes import Decision, Draft
from understudy.coordinator.nouns import Link, Now, Session
from understudy.errors import NotFoundError
from understudy.hub.keys import SCOPES, Caller
from understudy.hub.operation import Operation
from understudy.hub.outbox import hash_of_link
from understudy.hub.working_set import Needs, WorkingSet
from understudy.wire.answers.base import DONE
from understudy.wire.answers.sessions import EndedSessions, LoginLink, session_json

LOGIN_PATH = "/login/"
LINK_GONE = "This login link is unknown, used or has expired"
SCOPES_OF = {"read": frozenset({"read"}), "admin": SCOPES}


class Login(Struct, frozen=True):
    """A session that is about to begin: what the edge knows of it. Its secret stays there."""

    session_id: str
    secret_hash: str
    browser: str

    def session(self, key_id: str, key_mark: str, owner: str, scopes: frozenset[str]) -> Session:
        """The row, not yet begun."""
        shown = " ".join(sorted(scopes))
        return Session(self.session_id, self.secret_hash, key_id, key_mark, owner, shown, self.browser, 0, 0, 0)


class MakeLoginLink(Operation):
    """A link that logs in once. The secret is made at the edge, answered once and never stored."""

    def __init__(self, scope: str, secret: str, caller: Caller) -> None:
        self.scope = scope
        self.secret = secret
        self.caller = caller

    def decide(self, work: WorkingSet, now: Now) -> Decision:
        """Store its hash."""
        by = self.caller
        change = sessions.login_link(hash_of_link(self.secret), self.scope, by.owner, by.key_id, by.mark, now)
        return change.decision(LoginLink(f"{LOGIN_PATH}{self.secret}", sessions.LOGIN_MS // 1000))


class FollowLoginLink(Operation):
    """Use a login link up: a session in the name of the key that made it. NotFoundError for any but a fresh one.

    `is_same(key_id, mark)` is false for a key that is not valid any more, or has another secret by now.
    """

    def __init__(self, secret: str, login: Login, is_same: Callable[[str, str], bool]) -> None:
        self.hash = hash_of_link(secret)
        self.login = login
        self.is_same = is_same

    def needs(self, needs: Needs) -> None:
        """The link."""
        needs.row(Link, self.hash)

    def decide(self, work: WorkingSet, now: Now) -> Decision:
        """Begin the session, and note that the link is used."""
        link = work.get(Link, self.hash)
        if link is None or link.purpose != sessions.LOGIN or link.used_at or not links.is_good(link, now):
            raise NotFoundError(LINK_GONE)
        scope, owner, key_id, mark = link.subject.split(" ")
        if not self.is_same(key_id, mark):
            raise NotFoundError(LINK_GONE)
        draft = Draft()
        fresh = self.login.session(key_id, mark, owner, SCOPES_OF[scope])
        session = draft.take(sessions.start(fresh, now))
        draft.add((links.used(link, now),))
        return draft.decision(session)


class StartSession(Operation):
    """A session of a caller who has shown a key, or whom a proxy in front vouches for."""

    def __init__(self, session: Session, replaces: tuple[str, ...] = ()) -> None:
        self.session = session
        self.replaces = replaces

    def needs(self, needs: Needs) -> None:
        """Those that make room for it."""
        for session_id in self.replaces:
            needs.row(Session, session_id)

    def decide(self, work: WorkingSet, now: Now) -> Decision:
        """Begin it."""
        change = sessions.start(self.session, now)
        return change.decision(change.noun, tuple((Session, session_id) for session_id in self.replaces))


class SeeSession(Operation):
    """A request was made with it; written at most once a minute."""

    def __init__(self, session_id: str) -> None:
        self.session_id = session_id

    def needs(self, needs: Needs) -> None:
        """The session."""
        needs.row(Session, self.session_id)

    def decide(self, work: WorkingSet, now: Now) -> Decision:
        """Note when."""
        session = work.get(Session, self.session_id)
        seen = sessions.see(session, now) if session is not None else None
        return Decision(DONE, (seen,) if seen is not None else ())


class EndSession(Operation):
    """From the commit on its pages and streams end; ending twice changes nothing."""

    def __init__(self, session_id: str, by: str) -> None:
        self.session_id = session_id
        self.by = by

    def needs(self, needs: Needs) -> None:
        """The session."""
        needs.row(Session, self.session_id)

    def decide(self, work: WorkingSet, now: Now) -> Decision:
        """Mark it ended."""
        session = work.get(Session, self.session_id)
        if session is None:
            raise NotFoundError("Session not found")
        change = sessions.end(session, self.by, now)
        return change.decision(session_json(change.noun)) if change is not None else Decision(session_json(session))


class EndSessions(Operation):
    """From the commit on all sessions are over, but for one; "" for none."""

    def __init__(self, keep: str, by: str) -> None:
        self.keep = keep
        self.by = by

    def needs(self, needs: Needs) -> None:
        """All sessions."""
        needs.sessions = True

    def decide(self, work: WorkingSet, now: Now) -> Decision:
        """Mark them ended."""
        draft = Draft()
        others = (session for session in work.sessions() if session.id != self.keep)
        over = [draft.take(change) for change in sessions.end_all(others, self.by, now)]
        return draft.decision(EndedSessions(len(over)))
