"""Sessions of the pages: begun by a one-time link, a key or a proxy's word; held for 30 days, 7 of them unused."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from understudy.coordinator.changes import Change, Event, make_event
from understudy.coordinator.nouns import Link, Now, Session

KEPT_MS = 30 * 86_400_000
IDLE_MS = 7 * 86_400_000
SEEN_EVERY_MS = 60_000
LOGIN_MS = 600_000  # a login link works for so long, once
AHEAD_MAX_MS = 86_400_000  # a clock that is put right by less, as after a wrong time zone, ends no session
LOGIN = "login"


def is_good(session: Session, now: Now) -> bool:
    """True if it is held; whether its key still is, the edge knows. Bounds are half-open.

    One that began while the clock was far ahead is not: it would be held until that time.
    """
    if session.ended_at or session.created_at > now.wall + AHEAD_MAX_MS:
        return False
    return now.wall < min(session.expires_at, session.seen_at + IDLE_MS)


def start(session: Session, now: Now) -> Change[Session]:
    """A new one, from now on."""
    held = replace(session, created_at=now.wall, seen_at=now.wall, expires_at=now.wall + KEPT_MS)
    return Change(held, (), (_event(held, now, "session.started"),))


def is_noted(session: Session, wall: int) -> bool:
    """True if a request at this instant need not be written down; after the clock was set back it is."""
    return 0 <= wall - session.seen_at < SEEN_EVERY_MS


def see(session: Session, now: Now) -> Session | None:
    """A request was made with it; None if that is written down already, to the minute."""
    if not is_good(session, now) or is_noted(session, now.wall):
        return None
    return replace(session, seen_at=now.wall)


def end(session: Session, by: str, now: Now) -> Change[Session] | None:
    """It is refused from now on; None if it has ended already."""
    if session.ended_at:
        return None
    return Change(replace(session, ended_at=now.wall), (), (_event(session, now, "session.ended", by=by),))


def end_all(held: Iterable[Session], by: str, now: Now) -> list[Change[Session]]:
    """All of these that have not ended."""
    changes = (end(session, by, now) for session in held)
    return [change for change in changes if change is not None]


def login_link(secret_hash: str, scope: str, owner: str, by: str, mark: str, now: Now) -> Change[Link]:
    """A link that logs a browser in with this scope, in the name of the key that asked for it.

    `mark` tells that key's secret from another one of its name.
    """
    link = Link(secret_hash, LOGIN, f"{scope} {owner} {by} {mark}", now.wall, now.wall + LOGIN_MS)
    message = f"A login link with the scope {scope} was made"
    return Change(
        link, (), (make_event(now, "session.link_made", message, {"scope": scope, "by": by}, component="Keys"),)
    )


def _event(session: Session, now: Now, name: str, **fields: object) -> Event:
    about = {"sessionId": session.id, "keyId": session.key_id, "scopes": session.scopes, **fields}
    return make_event(now, name, f"Session {session.id} {name.partition('.')[2]}", about, component="Keys")
