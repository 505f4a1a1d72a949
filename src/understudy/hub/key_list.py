"""Keys and sessions as a person looks through them: those that are good, those that are over, whose they are."""

from __future__ import annotations

from collections import Counter

from msgspec import Struct

from understudy.coordinator.nouns import Key, Session
from understudy.coordinator.sessions import is_good
from understudy.hub.keys import listed_keys
from understudy.hub.views import SESSIONS_MAX, View
from understudy.store.queries import SESSIONS
from understudy.wire.answers.keys import KeyJson, key_json
from understudy.wire.answers.sessions import SessionJson, session_json

KEYS_SHOWN = 50
SESSIONS_SHOWN = 50
ENDED_SHOWN = 20
USER, ENVIRONMENT = "user:", "env:"


class KeyShown(Struct, frozen=True):
    """A key, and the number of sessions that end with it."""

    key: KeyJson
    sessions: int


class KeysShown(Struct, frozen=True):
    """A page of keys, newest first."""

    rows: list[KeyShown]
    next: str  # the cursor of the older ones; "" if there are none
    good: int
    revoked: int


class SessionShown(Struct, frozen=True):
    """A session, and the key or person that it was begun with."""

    session: SessionJson
    origin: str  # key | environment | user
    name: str


class SessionsShown(Struct, frozen=True):
    """Sessions that are held, the latest seen first, and those that have ended."""

    rows: list[SessionShown]
    more: int
    ended: list[SessionShown]


def keys_shown(view: View, *, is_revoked: bool, before: tuple[int, str]) -> KeysShown:
    """The keys that are good, or those that are revoked; `before` is a cursor."""
    keys = listed_keys(view.reader)
    wanted = [key for key in keys if bool(key.revoked_at) == is_revoked and (not before[0] or _place(key) < before)]
    page = sorted(wanted, key=_place, reverse=True)[:KEYS_SHOWN]
    counts = Counter(session.key_id for session in _held(view))
    revoked = sum(bool(key.revoked_at) for key in keys)
    rows = [KeyShown(key_json(key), counts[key.id]) for key in page]
    after = f"{page[-1].created_at}~{page[-1].id}" if len(wanted) > len(page) else ""
    return KeysShown(rows, after, len(keys) - revoked, revoked)


def _place(key: Key) -> tuple[int, str]:
    return key.created_at, key.id


def sessions_shown(view: View) -> SessionsShown:
    """The sessions of browsers."""
    held = _held(view)
    ids = {session.id for session in held}
    over = [session for session in view.reader.find(SESSIONS, limit=SESSIONS_MAX) if session.id not in ids]
    names = {key.id: key.name for key in view.reader.load_many(Key, {session.key_id for session in (*held, *over)})}
    rows = [_shown(session, names) for session in held[:SESSIONS_SHOWN]]
    ended = [_shown(session, names) for session in over[:ENDED_SHOWN]]
    return SessionsShown(rows, len(held) - len(rows), ended)


def _held(view: View) -> list[Session]:
    """Those that are held now, as far as the store knows: a proxy in front may know better of its own."""
    rows = [row for row in view.reader.find(SESSIONS, limit=SESSIONS_MAX) if is_good(row, view.now)]
    stored = {key.id for key in view.reader.load_many(Key, {row.key_id for row in rows}) if not key.revoked_at}
    marks = {key.id: key.mark for key in view.environment_keys}
    return [
        row
        for row in rows
        if row.key_id in stored or row.key_id.startswith(USER) or marks.get(row.key_id) == row.key_mark
    ]


def _shown(session: Session, names: dict[str, str]) -> SessionShown:
    key_id = session.key_id
    if key_id.startswith(USER):
        return SessionShown(session_json(session), "user", key_id.removeprefix(USER))
    if key_id.startswith(ENVIRONMENT):
        return SessionShown(session_json(session), "environment", key_id.removeprefix(ENVIRONMENT))
    return SessionShown(session_json(session), "key", names.get(key_id, key_id))
